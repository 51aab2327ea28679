"""Which kind of record lies under a key, and whether it is what moorage writes there."""

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
    ReferrerEntry,
    TagPointer,
    decode,
    decode_manifest,
)

OTHERS = ("collector", "keys", "policies", "probe", "retention", "scrub")  # rooms whose keys are not examined here


@dataclass(frozen=True, slots=True)
class Kind:
    """`parse` reads a key of this kind or raises ValueError; `decode` gives None for a tombstone and raises CorruptRecord."""

    name: str
    parse: Callable[[str], Any]
    decode: Callable[[StoredObject], Any]


def kind_of(key: str) -> Kind | None:
    """The kind of the record under `key`, None for what is no record of these; raises ValueError for a key that is not ours."""
    for prefix, part, kind in _KINDS:
        if key.startswith(prefix) and part in key:
            kind.parse(key)
            return kind
    room = key.partition("/")[0]
    if key != layout.FORMAT_KEY and room not in OTHERS and not (room == "data" and layout.is_upload_key(key)):
        raise ValueError(key)
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


_KINDS = (
    (layout.BLOBS_PREFIX, "/at/", Kind("instance", layout.parse_instance_key, _instance)),
    (layout.BLOBS_PREFIX, "/in/", Kind("link", layout.parse_link_key, partial(decode, kind=Link))),
    (layout.REPOSITORIES_PREFIX, "/_manifests/", Kind("manifest", layout.parse_manifest_key, _manifest)),
    (layout.REPOSITORIES_PREFIX, "/_tags/", Kind("tag", layout.parse_tag_key, partial(decode, kind=TagPointer))),
    (
        layout.REPOSITORIES_PREFIX,
        "/_referrers/",
        Kind("referrer", layout.parse_referrer_key, partial(decode, kind=ReferrerEntry)),
    ),
    (layout.CATALOG_PREFIX, "", Kind("marker", layout.parse_catalog_key, partial(decode, kind=CatalogMarker))),
)
