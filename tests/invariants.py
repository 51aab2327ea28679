"""The invariants of docs/design.md, looked for in a bucket and through a gateway, whatever happened before.

`violations` reads the bucket alone: all that is in it must fit together. `garbage` reads it for what nothing references. `unserved` asks a
gateway for what clients were told they have. They return sentences or keys, one for each thing that is wrong, so that a test shows all of them.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import msgspec

from storage import layout
from storage.documents import read
from storage.errors import MoorageError, NotFound
from storage.objects.contract import ObjectInfo, ObjectStore
from storage.records import (
    CatalogMarker,
    Instance,
    Link,
    ReferrerEntry,
    TagPointer,
    decode,
    decode_manifest,
    is_tombstone,
)
from storage.references import Digest

PARSERS: Mapping[str, Any] = {
    "/at/": layout.parse_instance_key,
    "/in/": layout.parse_link_key,
    "/_manifests/": layout.parse_manifest_key,
    "/_tags/": layout.parse_tag_key,
    "/_referrers/": layout.parse_referrer_key,
    "catalog/": layout.parse_catalog_key,
}
KINDS: Mapping[str, Any] = {
    "/at/": Instance,
    "/in/": Link,
    "/_tags/": TagPointer,
    "/_referrers/": ReferrerEntry,
    "catalog/": CatalogMarker,
}

OTHERS = {"moorage.json", "keys", "data", "collector", "retention", "scrub", "policies"}


@dataclass
class Ledger:
    """What clients were told. Keys are a repository and a digest or tag; what was deleted, or may have been, is not in it.

    `tags` has the digests to which a tag may point, None among them if it may be gone.
    """

    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    blobs: set[tuple[str, str]] = field(default_factory=set)
    tags: dict[tuple[str, str], set[str | None]] = field(default_factory=dict)


@dataclass
class Bucket:
    """What a bucket holds, record by record; tombstones are left out. `records` has all but manifests: what the key says, and the value."""

    instances: dict[Digest, list[Instance]] = field(default_factory=lambda: defaultdict(list))
    links: dict[tuple[Digest, str], Link] = field(default_factory=dict)
    manifests: dict[tuple[str, Digest], bytes] = field(default_factory=dict)
    generations: dict[tuple[str, Digest], str] = field(default_factory=dict)
    records: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


async def violations(store: ObjectStore, *, raced: bool = False) -> list[str]:
    """All that does not fit together in the bucket; `raced` allows a digest that was pushed twice at once to have two instances."""
    bucket = Bucket()
    for info in [info async for info in store.list("")]:
        await _take(store, info, bucket)
    hashes: dict[str, tuple[int, Mapping[str, str]]] = {}
    for digest, instances in bucket.instances.items():
        if len(instances) > 1 and not raced:
            bucket.wrong.append(f"I3: {digest} has {len(instances)} instances")
        for instance in instances:
            bucket.wrong += await _wrong_bytes(store, digest, instance.key, instance.size, hashes)
    for (digest, name), link in bucket.links.items():
        if link.key not in {instance.key for instance in bucket.instances[digest]}:
            bucket.wrong.append(f"{name} links {digest} to {link.key}, which is no instance of it")
        bucket.wrong += await _wrong_bytes(store, digest, link.key, link.size, hashes)
    for (name, digest), content in bucket.manifests.items():
        if Digest.of(content, digest.algorithm) != digest:
            bucket.wrong.append(f"I4: the manifest {digest} of {name} has other bytes")
    return bucket.wrong


async def garbage(store: ObjectStore, *, purged_before: float = 0.0) -> list[str]:
    """The keys of all that nothing references (I5), tombstones last changed before `purged_before` among them, and incomplete uploads.

    A manifest is referenced by being there; all else hangs on manifests, by what they say themselves.
    """
    bucket, infos = Bucket(), [info async for info in store.list("")]
    for info in infos:
        await _take(store, info, bucket)
    named = {(blob, name) for (name, _), content in bucket.manifests.items() for blob in read(content, None).blobs}
    kept = {link.key for at, link in bucket.links.items() if at in named}
    names = {name for name, _ in bucket.manifests}

    def is_needed(parsed: Any, value: Any) -> bool:
        if isinstance(value, Link):
            return bool(parsed in named)
        if isinstance(value, Instance):
            return value.key in kept
        if isinstance(value, CatalogMarker):
            return bool(parsed in names)
        manifest = Digest.parse(value.digest) if isinstance(value, TagPointer) else parsed[2]
        return bool(bucket.generations.get((parsed[0], manifest)) == value.generation)

    found = [key for key, (parsed, value) in bucket.records.items() if not is_needed(parsed, value)]
    found += [each.key for each in infos if each.key.startswith(layout.DATA_PREFIX) and each.key not in kept]
    found += [each.key for each in infos if _is_old_tombstone(each, purged_before)]
    return sorted(found + [f"{each.key}, incomplete" async for each in store.list_incomplete_uploads()])


async def unserved(http: httpx.AsyncClient, ledger: Ledger) -> list[str]:
    """All that a gateway does not serve as clients were told (I1, I2, I4)."""
    wrong: list[str] = []
    pull = partial(_pull, http)
    for (name, digest), content in ledger.manifests.items():
        found = await pull(f"/v2/{name}/manifests/{digest}", wrong)
        if found != content:
            wrong.append(f"I1: {name}@{digest} is not what was pushed")
            continue
        for blob in read(content, None).blobs:
            if not _is(str(blob), await pull(f"/v2/{name}/blobs/{blob}", wrong)):
                wrong.append(f"I1: {name}@{digest} lacks its blob {blob}")
    for name, digest in ledger.blobs:
        if not _is(digest, await pull(f"/v2/{name}/blobs/{digest}", wrong)):
            wrong.append(f"I1: the blob {digest} of {name} is not what was pushed")
    for (name, tag), allowed in ledger.tags.items():
        answer = await http.get(f"/v2/{name}/manifests/{tag}")
        points_to = answer.headers.get("Docker-Content-Digest") if answer.status_code == httpx.codes.OK else None
        if answer.status_code not in {200, 404} or points_to not in allowed:
            wrong.append(f"I2: {name}:{tag} answers {answer.status_code}, {points_to}, and not one of {allowed}")
        if points_to is not None and not _is(points_to, answer.content):
            wrong.append(f"I4: {name}:{tag} serves other bytes than those of {points_to}")
    return wrong


def sealed(fields: Mapping[str, Any]) -> bytes:
    """The bytes of a record with these fields, as moorage would have written it."""
    body = msgspec.json.encode({name: value for name, value in fields.items() if name != "check"}).removesuffix(b"}")
    return body + b',"check":"%s"}' % hashlib.sha256(body).hexdigest()[:16].encode()


async def _take(store: ObjectStore, info: ObjectInfo, bucket: Bucket) -> None:
    """Read one object into its place."""
    if info.key.split("/")[0] in OTHERS:
        return
    kind = next((part for part in PARSERS if part in info.key), None)
    if kind is None:
        bucket.wrong.append(f"{info.key} is no key of moorage")
        return
    if is_tombstone(info.size):
        return
    try:
        parsed, found = PARSERS[kind](info.key), await store.get(info.key)
        if kind == "/_manifests/":
            record = decode_manifest(found)
            assert record is not None
            bucket.generations[parsed], bucket.manifests[parsed] = record[0].generation, record[1]
            return
        value = decode(found, KINDS[kind])
    except (MoorageError, ValueError, msgspec.MsgspecError) as error:
        bucket.wrong.append(f"{info.key} cannot be read: {error!r}")
        return
    bucket.records[info.key] = parsed, value
    if isinstance(value, Instance):
        digest, segment = parsed
        if value.key != layout.data_key(segment):
            bucket.wrong.append(f"{info.key} names {value.key}")
        bucket.instances[digest].append(value)
    elif isinstance(value, Link):
        bucket.links[parsed] = value


def _is_old_tombstone(info: ObjectInfo, before: float) -> bool:
    is_record = any(part in info.key for part in PARSERS) and not info.key.startswith("collector/")
    return is_record and is_tombstone(info.size) and info.modified < before


async def _wrong_bytes(
    store: ObjectStore, digest: Digest, key: str, size: int, seen: dict[str, tuple[int, Mapping[str, str]]]
) -> Iterable[str]:
    if key not in seen:
        try:
            hashes, count = {name: hashlib.new(name) for name in ("sha256", "sha512")}, 0
            async for chunk in await store.get_range(key):
                count += len(chunk)
                for running in hashes.values():
                    running.update(chunk)
        except NotFound:
            return [f"I1: {digest} lies at {key}, which is not there"]
        seen[key] = (count, {name: running.hexdigest() for name, running in hashes.items()})
    found_size, found = seen[key]
    return [] if (found_size, found[digest.algorithm]) == (size, digest.hex) else [f"I4: {key} is not {digest}"]


async def _pull(http: httpx.AsyncClient, path: str, wrong: list[str]) -> bytes:
    answer = await http.get(path, follow_redirects=True)
    if answer.status_code != httpx.codes.OK:
        wrong.append(f"GET {path} answers {answer.status_code}")
    return answer.content


def _is(digest: str, content: bytes) -> bool:
    algorithm = digest.partition(":")[0]
    return str(Digest.of(content, algorithm)) == digest
