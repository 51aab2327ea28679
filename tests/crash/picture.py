"""What a registry serves, path by path, so that two of its states can be compared whatever nonces they were written with."""

from collections.abc import Mapping
from typing import Any

import httpx

from storage import layout
from storage.objects.contract import ObjectStore
from storage.records import CatalogMarker, Link, TagPointer, decode, decode_manifest
from storage.references import Digest, RepositoryName
from tests.invariants import Ledger, violations
from tests.protocol.serving import Api

Picture = Mapping[str, Any]
"""An answer for each path that has one, a member for each listing, and the state of each record; what is not there is not in it."""

HEADER, HISTORY, NAME, STATE = "header of ", "moves of ", "name ", "state of "


async def picture(api: Api, store: ObjectStore) -> dict[str, Any]:
    """All of it. Reads the bucket first: who GETs a condemned blob revives it."""
    found = await _records(store)
    for path in sorted(await _paths(store)):
        answer = await api.get(path)
        if answer.status_code == httpx.codes.OK:
            found |= _members(path, answer)
        else:
            assert answer.status_code == httpx.codes.NOT_FOUND, (path, answer.text)
    return found


def ledger_of(now: Picture, after: Picture) -> Ledger:
    """What must be pulled whole: every manifest that is served, unless what it names is being deleted, every blob and tag."""
    ledger = Ledger()
    for path, content in now.items():
        if not path.startswith("/v2/") or "#" in path:
            continue
        name, kind, reference = path.removeprefix("/v2/").rsplit("/", 2)
        if kind == "blobs":
            ledger.blobs.add((name, reference))
        elif kind == "manifests" and ":" in reference:
            header = now.get(HEADER + path)
            if header is not None and all(f"/v2/{name}/blobs/{blob}" in after for blob in header.blobs):
                ledger.manifests[name, reference] = content
        elif kind == "manifests":
            ledger.tags[name, reference] = {str(Digest.of(content))}
    return ledger


def comparable(found: Picture, *, names: bool) -> dict[str, Any]:
    """What must be the same whenever it was written; with or without the tags in the bucket that lead nowhere."""

    def counts(path: str) -> bool:
        tag = path.removeprefix(NAME).removeprefix(HISTORY)
        return not path.startswith(HEADER) and (names or tag == path or tag in found)

    return {path: value for path, value in found.items() if counts(path)}


def incoherent(now: Picture, *, names: bool) -> list[str]:
    """What is half-visible: no state that any request leaves, or any crash; names that lead nowhere only if `names`."""
    wrong = []
    for path, value in now.items():
        if path.startswith(NAME) and path.removeprefix(NAME) not in now and not names:
            wrong.append(f"{path.removeprefix(NAME)} is listed but not served")
        elif path.startswith(HISTORY) and path.removeprefix(HISTORY) in now:
            name, _, tag = path.removeprefix(HISTORY).rpartition("/")
            if tag not in now[f"{HEADER}{name}/{value[0]}"].tags:
                wrong.append(f"the record of {value[0]} does not name {tag}, which a DELETE would leave")
        elif "/referrers/" in path:
            manifest = f"{path.partition('/referrers/')[0]}/manifests/{value['digest']}"
            if manifest not in now:
                wrong.append(f"{path} is listed but not served")
    return wrong


def unfinished(now: Picture, *, tagged: bool = False) -> list[str]:
    """What every acknowledged push has done, and one that got to its tags: its repository is in the catalog, its subject names it."""
    wrong = []
    for path, header in now.items():
        if not path.startswith(HEADER):
            continue
        name, _, digest = path.removeprefix(f"{HEADER}/v2/").partition("/manifests/")
        if tagged and not any(
            now.get(f"/v2/{name}/manifests/{tag}") == now.get(path.removeprefix(HEADER)) for tag in header.tags
        ):
            continue
        if f"/v2/_catalog#{name}" not in now:
            wrong.append(f"{name} has a manifest and is not in the catalog")
        if header.subject and f"/v2/{name}/referrers/{header.subject}#{digest}" not in now:
            wrong.append(f"{header.subject} does not list {digest}")
    return wrong


def too_early(before: Picture, now: Picture, after: Picture) -> list[str]:
    """Tags that went while the manifest that is being deleted with them is still there (docs/design.md, Removal, rule 5)."""
    wrong = []
    for path, moves in before.items():
        tag = path.removeprefix(HISTORY)
        if path.startswith(HISTORY) and tag not in now:
            manifest = f"{tag.rpartition('/')[0]}/{moves[0]}"
            if manifest in now and manifest not in after:
                wrong.append(f"{tag} went before {manifest}")
    return wrong


def unsupported(before: Picture, now: Picture) -> list[str]:
    """Manifests that a push wrote before what they reference was live (docs/design.md, Removal, rules 1 and 2)."""
    wrong = []
    for path, header in now.items():
        if not path.startswith(HEADER) or path in before:
            continue
        name = RepositoryName.parse(path.removeprefix(f"{HEADER}/v2/").partition("/manifests/")[0])
        needed = [layout.link_key(Digest.parse(blob), name) for blob in header.blobs]
        needed += [layout.manifest_key(name, Digest.parse(child)) for child in header.manifests]
        wrong += [f"{path.removeprefix(HEADER)} needs {key}" for key in needed if now.get(STATE + key) != "live"]
    return wrong


async def published_twice(store: ObjectStore, spare: int) -> list[str]:
    """All violations, but for `spare` instances that no link names: a later push may not use them (Removal, rule 3)."""
    instances: dict[Digest, set[str]] = {}
    named: dict[Digest, set[str]] = {}
    for info in [info async for info in store.list(layout.BLOBS_PREFIX)]:
        if "/at/" in info.key:
            digest, segment = layout.parse_instance_key(info.key)
            instances.setdefault(digest, set()).add(layout.data_key(segment))
        elif (link := decode(await store.get(info.key), Link)) is not None:
            named.setdefault(layout.parse_link_key(info.key)[0], set()).add(link.key)
    return [
        f"I3: {digest} lies at {keys}, and {named.get(digest)} are linked"
        for digest, keys in instances.items()
        if len(keys) > 1 + spare or len(named.get(digest, ())) > 1
    ] + await violations(store, raced=True)


async def _records(store: ObjectStore) -> dict[str, Any]:
    """The states of records, and where tags pointed."""
    found: dict[str, Any] = {}
    for info in [info async for info in store.list("")]:
        if "/_manifests/" in info.key:
            manifest = decode_manifest(await store.get(info.key))
            if manifest is not None:
                name, digest = layout.parse_manifest_key(info.key)
                found[f"{HEADER}/v2/{name}/manifests/{digest}"] = manifest[0]
                found[STATE + info.key] = manifest[0].state
        elif "/_tags/" in info.key:
            pointer = decode(await store.get(info.key), TagPointer)
            if pointer is not None:
                name, tag = layout.parse_tag_key(info.key)
                found[f"{HISTORY}/v2/{name}/manifests/{tag}"] = [
                    pointer.digest,
                    *(move.digest for move in pointer.history),
                ]
        elif "/in/" in info.key or info.key.startswith(layout.CATALOG_PREFIX):
            kind: type[Link | CatalogMarker] = Link if "/in/" in info.key else CatalogMarker
            record = decode(await store.get(info.key), kind)
            if record is not None:
                found[STATE + info.key] = record.state
    return found


async def _paths(store: ObjectStore) -> set[str]:
    """Every path that may answer, tombstones included."""
    paths = {"/v2/_catalog"}
    for info in [info async for info in store.list("")]:
        if "/_manifests/" in info.key:
            name, digest = layout.parse_manifest_key(info.key)
            paths |= {f"/v2/{name}/manifests/{digest}", f"/v2/{name}/referrers/{digest}", f"/v2/{name}/tags/list"}
        elif "/_tags/" in info.key:
            name, tag = layout.parse_tag_key(info.key)
            paths |= {f"/v2/{name}/manifests/{tag}", f"/v2/{name}/tags/list"}
        elif "/_referrers/" in info.key:
            name, subject, _ = layout.parse_referrer_key(info.key)
            paths.add(f"/v2/{name}/referrers/{subject}")
        elif "/in/" in info.key:
            digest, name = layout.parse_link_key(info.key)
            paths.add(f"/v2/{name}/blobs/{digest}")
    return paths


def _members(path: str, answer: httpx.Response) -> dict[str, Any]:
    if path == "/v2/_catalog":
        return {f"{path}#{name}": True for name in answer.json()["repositories"]}
    if path.endswith("/tags/list"):
        name = answer.json()["name"]
        return {f"{NAME}/v2/{name}/manifests/{tag}": True for tag in answer.json()["tags"]}
    if "/referrers/" in path:
        return {f"{path}#{entry['digest']}": entry for entry in answer.json()["manifests"]}
    return {path: answer.content}
