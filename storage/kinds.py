"""Which kind of record lies under a key, what people call it, and whether it is what moorage writes there."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from storage import layout
from storage.errors import CorruptRecord
from storage.objects.contract import StoredObject
from storage.records import (
    CatalogMarker,
    Instance,
    Link,
    ManifestHeader,
    Record,
    ReferrerEntry,
    TagPointer,
    decode,
    decode_manifest,
)
from storage.references import RepositoryName

OTHERS = ("collector", "keys", "policies", "probe", "retention", "scrub")  # rooms whose keys are not examined here


@dataclass(frozen=True, slots=True)
class Kind:
    """`parse` reads a key of this kind or raises ValueError; `decode` gives None for a tombstone and raises CorruptRecord.

    `words` are what people call it, to be filled with what `parse` gives, among which `owner` is the place of its repository.
    """

    name: str
    parse: Callable[[str], tuple[Any, ...]]
    decode: Callable[[StoredObject], Any]
    words: str
    owner: int | None


def kind_of(key: str) -> Kind | None:
    """The kind of the record under `key`, None for what is no record of these; raises ValueError for a key that is not ours."""
    for prefix, part, kind in _KINDS:
        if key.startswith(prefix) and part in key:
            kind.parse(key)
            return kind
    if key.startswith(layout.DATA_PREFIX):
        layout.upload_of(key)
    elif key != layout.FORMAT_KEY and key.partition("/")[0] not in OTHERS:
        raise ValueError(key)
    return None


def spoken(key: str) -> str:
    """What lies under `key`, as people call it; the key itself, if it is no record of these."""
    kind = _known(key)
    return kind.words.format(*kind.parse(key)) if kind is not None else key


def owner_of(key: str) -> RepositoryName | None:
    """The repository that the record under `key` belongs to, None if that is none."""
    kind = _known(key)
    return kind.parse(key)[kind.owner] if kind is not None and kind.owner is not None else None


def _known(key: str) -> Kind | None:
    try:
        return kind_of(key)
    except ValueError:
        return None


def _instance(found: StoredObject) -> Instance:
    """An instance, which is a function of its key but for the size, and has no tombstone."""
    record = decode(found, Instance)
    _, segment = layout.parse_instance_key(found.info.key)
    if record is None or record.key != layout.data_key(segment):
        raise CorruptRecord(found.info.key, "names other bytes than its key does")
    return record


def _manifest(found: StoredObject) -> ManifestHeader | None:
    decoded = decode_manifest(found)
    if decoded is None:
        return None
    header, content = decoded
    if header.size != len(content):
        raise CorruptRecord(
            found.info.key, f"says that the manifest has {header.size} bytes, but it has {len(content)}"
        )
    return header


def _marker_key(key: str) -> tuple[RepositoryName]:
    return (layout.parse_catalog_key(key),)


def _record(kind: type[Record]) -> Callable[[StoredObject], Record | None]:
    return partial(decode, kind=kind)


_BLOBS, _REPOSITORIES, _CATALOG = layout.BLOBS_PREFIX, layout.REPOSITORIES_PREFIX, layout.CATALOG_PREFIX
_KINDS = (
    (_BLOBS, "/at/", Kind("instance", layout.parse_instance_key, _instance, "bytes of {0}", None)),
    (_BLOBS, "/in/", Kind("link", layout.parse_link_key, _record(Link), "blob {1}@{0}", 1)),
    (_REPOSITORIES, "/_manifests/", Kind("manifest", layout.parse_manifest_key, _manifest, "manifest {0}@{1}", 0)),
    (_REPOSITORIES, "/_tags/", Kind("tag", layout.parse_tag_key, _record(TagPointer), "tag {0}:{1}", 0)),
    (
        _REPOSITORIES,
        "/_referrers/",
        Kind("referrer", layout.parse_referrer_key, _record(ReferrerEntry), "referrer {0}@{2} of {1}", 0),
    ),
    (_CATALOG, "", Kind("marker", _marker_key, _record(CatalogMarker), "repository {0}", 0)),
)
