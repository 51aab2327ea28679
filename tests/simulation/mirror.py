"""What the bucket says, record by record, kept up to date as keys change: reading all of it after each step would take too long."""

import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from storage import layout
from storage.records import (
    CatalogMarker,
    Link,
    ManifestHeader,
    ReferrerEntry,
    TagPointer,
    decode,
    decode_manifest,
    is_tombstone,
)
from storage.references import Digest
from tests.simulation.bucket import Bucket

T = TypeVar("T")

_links = partial(decode, kind=Link)
_tags = partial(decode, kind=TagPointer)
_entries = partial(decode, kind=ReferrerEntry)
_markers = partial(decode, kind=CatalogMarker)


@dataclass
class Mirror:
    """The records that are no tombstones, by key.

    `holders` has the links that name each data key; `since` the step from which on a
    link or manifest was never gone; `bytes` the SHA-256 of data, in hex.
    """

    links: dict[str, Link] = field(default_factory=dict)
    holders: dict[str, dict[str, None]] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    manifests: dict[str, tuple[ManifestHeader, bytes]] = field(default_factory=dict)
    tags: dict[str, TagPointer] = field(default_factory=dict)
    entries: dict[str, ReferrerEntry] = field(default_factory=dict)
    markers: dict[str, CatalogMarker] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)
    bytes: dict[str, str] = field(default_factory=dict)

    def take(self, bucket: Bucket, key: str, step: int) -> None:
        """See what lies under a key now; raises CorruptRecord."""
        found = bucket.look(key)
        if found is not None and is_tombstone(found.info.size) and not key.startswith(layout.DATA_PREFIX):
            found = None
        if key.startswith(layout.DATA_PREFIX):
            _put(self.bytes, key, hashlib.sha256(found.body).hexdigest() if found else None)
        elif "/at/" in key:
            _, segment = layout.parse_instance_key(key)
            _put(self.instances, layout.data_key(segment), key if found else None)
        elif "/in/" in key:
            self._take_link(key, _links(found) if found else None, step)
        elif "/_manifests/" in key:
            _put(self.manifests, key, decode_manifest(found) if found else None)
            self._date(key, step, found is not None)
        elif "/_tags/" in key:
            _put(self.tags, key, _tags(found) if found else None)
        elif "/_referrers/" in key:
            _put(self.entries, key, _entries(found) if found else None)
        elif key.startswith(layout.CATALOG_PREFIX):
            _put(self.markers, key, _markers(found) if found else None)

    def _take_link(self, key: str, link: Link | None, step: int) -> None:
        before = self.links.get(key)
        if before is not None:
            self.holders[before.key].pop(key)
        if link is not None:
            self.holders.setdefault(link.key, {})[key] = None
        self._date(key, step, link is not None)
        _put(self.links, key, link)

    def _date(self, key: str, step: int, is_there: bool) -> None:
        if is_there:
            self.since.setdefault(key, step)
        else:
            self.since.pop(key, None)

    def points_to(self, tag_key: str) -> str | None:
        """The digest that a tag resolves to."""
        pointer = self.tags.get(tag_key)
        if pointer is None:
            return None
        name, _ = layout.parse_tag_key(tag_key)
        record = self.manifests.get(layout.manifest_key(name, Digest.parse(pointer.digest)))
        return pointer.digest if record is not None and record[0].generation == pointer.generation else None

    def unsound(self, key: str) -> str | None:
        """What is wrong with a link or instance by itself (I4), None if nothing is."""
        if "/in/" in key:
            link = self.links.get(key)
            if link is None:
                return None
            digest, _ = layout.parse_link_key(key)
            if self.bytes.get(link.key) != digest.hex:
                return f"I1: the link {key} names {link.key}, which is gone or has other bytes"
            if link.key not in self.instances:
                return f"I1: the link {key} names {link.key}, which has no instance record"
            return None
        digest, segment = layout.parse_instance_key(key)
        data_key = layout.data_key(segment)
        if data_key in self.instances and self.bytes.get(data_key) != digest.hex:
            return f"I4: the instance {key} names what is gone or has other bytes"
        return None


def _put(into: dict[str, T], key: str, value: T | None) -> None:
    if value is None:
        into.pop(key, None)
    else:
        into[key] = value
