"""What clients do, and what a collector does, one step at a time; a client that kept its notes may do it again after a crash."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import httpx
import msgspec

from storage import layout
from storage.objects.contract import ObjectStore
from storage.objects.parts import MIN_PART
from storage.records import (
    TOMBSTONE_SIZE,
    CatalogMarker,
    Link,
    changed,
    decode,
    decode_manifest,
    encode,
    encode_manifest,
)
from storage.references import Digest, RepositoryName
from tests.protocol.documents import descriptor, image
from tests.protocol.serving import Api, chunks_of

Notes = dict[str, str]
Prepare = Callable[[Api, ObjectStore, Notes], Awaitable[object]]
Act = Callable[[Api, Notes], Awaitable[object]]

CONTENT = random.Random(4).randbytes(5000)
LARGE = random.Random(5).randbytes(MIN_PART) + CONTENT
MANY = [b"%03d" % number for number in range(35)]
KNOWN = b"config of what is there"
THERE = image(descriptor(KNOWN), [descriptor(b"layer of what is there")])


async def nothing(api: Api, store: ObjectStore, notes: Notes) -> None:
    """No preparation."""


def digest(content: bytes, algorithm: str = "sha256") -> str:
    """The digest that clients name."""
    return str(Digest.of(content, algorithm))


async def put_blob_at_once(api: Api, notes: Notes, *, name: str = "a", content: bytes = CONTENT) -> None:
    """POST with the body."""
    answer = await api.post(f"/v2/{name}/blobs/uploads/", params={"digest": digest(content)}, content=content)
    assert answer.status_code == 201, answer.text


async def put_blob(api: Api, notes: Notes, *, name: str = "a", content: bytes = CONTENT) -> None:
    """POST, and PUT with the body."""
    await api.blob(name, content)


async def send(
    api: Api,
    notes: Notes,
    *,
    chunks: Sequence[bytes],
    last: bytes | None = None,
    began_with: str = "sha256",
    algorithm: str = "sha256",
    name: str = "a",
) -> None:
    """POST, a PATCH for each chunk, streamed, and PUT, with the last chunk if there is one."""
    query = "" if began_with == "sha256" else f"?digest-algorithm={began_with}"
    location = await api.begin(name, query)
    for chunk in chunks:
        answer = await api.patch(location, content=chunks_of(chunk, 2000 if len(chunk) < MIN_PART else 1_000_000))
        assert answer.status_code == 202, answer.text
        location = answer.headers["Location"]
    await api.finish(location, digest(b"".join([*chunks, last or b""]), algorithm), last)


async def resume(api: Api, notes: Notes) -> None:
    """Four chunks; after a crash the client asks how far it got, and goes on from there. What was acknowledged MUST be there."""
    notes.setdefault("location", "")
    location = notes["location"] or await api.begin("a")
    notes["location"] = location
    done = 0
    if "acknowledged" in notes:
        status = await api.get(location)
        assert status.status_code == 204, status.text
        location, done = status.headers["Location"], _length(status)
        assert done >= int(notes["acknowledged"])
    notes["acknowledged"] = str(done)
    for at in range(done, len(CONTENT), 1250):
        answer = await api.patch(location, content=CONTENT[at : at + 1250], headers=_range(at, at + 1250))
        assert answer.status_code == 202, answer.text
        location = notes["location"] = answer.headers["Location"]
        notes["acknowledged"] = str(_length(answer))
    await api.finish(location, digest(CONTENT))


async def send_many_before(api: Api, store: ObjectStore, notes: Notes) -> None:
    """So many chunks that the next ones need an index of segments."""
    location = await api.begin("a")
    for chunk in MANY[:31]:
        location = (await api.patch(location, content=chunk)).headers["Location"]
    notes["location"] = location


async def send_many(api: Api, notes: Notes) -> None:
    """More chunks than a URL can name; after a crash the client goes on from the last Location that it noted."""
    location = notes["location"]
    for chunk in MANY[31:]:
        answer = await api.patch(location, content=chunk)
        assert answer.status_code == 202, answer.text
        location = answer.headers["Location"]
    await api.finish(location, digest(b"".join(MANY)))


async def begin_and_send(api: Api, store: ObjectStore, notes: Notes) -> None:
    """An upload of one chunk, under way."""
    answer = await api.patch(await api.begin("a"), content=CONTENT)
    notes["location"] = answer.headers["Location"]


async def status(api: Api, notes: Notes) -> None:
    """GET of an upload."""
    answer = await api.get(notes["location"])
    assert (answer.status_code, _length(answer)) == (204, len(CONTENT))


async def cancel(api: Api, notes: Notes) -> None:
    """DELETE of an upload, again if need be."""
    answer = await api.delete(notes["location"])
    assert answer.status_code == 204, answer.text


async def mount(api: Api, notes: Notes, *, query: str, status: int = 201) -> None:
    """Mount a blob of another repository; upload it if there is none."""
    answer = await api.post(f"/v2/a/blobs/uploads/?mount={digest(CONTENT)}{query}")
    assert answer.status_code == status, answer.text
    if status == 202:
        await api.finish(answer.headers["Location"], digest(CONTENT), CONTENT)


async def push(
    api: Api, notes: Notes, *, content: bytes, reference: str | None = "new", query: str = "", name: str = "a"
) -> None:
    """PUT of a manifest."""
    await api.manifest(name, reference, content, query=query)


async def push_image(api: Api, notes: Notes, *, name: str) -> None:
    """An image, its blobs first."""
    await api.image(name, "latest", "whole")


async def delete(api: Api, notes: Notes, *, path: str) -> None:
    """DELETE; after a crash it may be done already."""
    answer = await api.delete(path)
    assert answer.status_code in ({202, 404} if "tried" in notes else {202}), answer.text


async def have(api: Api, store: ObjectStore, notes: Notes, *, name: str = "a", content: bytes = CONTENT) -> None:
    """A blob."""
    await api.blob(name, content)


async def have_image(api: Api, store: ObjectStore, notes: Notes, *, name: str = "a") -> None:
    """An image, tagged `old`."""
    for content in (KNOWN, b"layer of what is there"):
        await api.blob(name, content)
    await api.manifest(name, "old", THERE)


def _range(start: int, end: int) -> Mapping[str, str]:
    return {"Content-Range": f"{start}-{min(end, len(CONTENT)) - 1}"}


def _length(answer: httpx.Response) -> int:
    last = int(answer.headers["Range"].removeprefix("0-"))
    return last + 1 if last else 0


def all_of(*steps: Prepare) -> Prepare:
    """One after the other."""

    async def together(api: Api, store: ObjectStore, notes: Notes) -> None:
        for step in steps:
            await step(api, store, notes)

    return together


def doing(act: Act) -> Prepare:
    """What an operation does, as preparation of another one."""

    async def prepared(api: Api, store: ObjectStore, notes: Notes) -> None:
        await act(api, notes)

    return prepared


async def condemn(api: Api, store: ObjectStore, notes: Notes, *, key: str) -> None:
    """Do to a record what a collector does first."""
    found = await store.get(key)
    nonce = f"{len(notes):016x}"
    notes[f"condemned {len(notes)}"] = key
    if "/_manifests/" in key:
        decoded = decode_manifest(found)
        assert decoded is not None
        body = encode_manifest(changed(decoded[0], state="condemned", nonce=nonce), decoded[1])
    else:
        record = decode(found, Link if "/in/" in key else CatalogMarker)
        assert record is not None
        body = encode(changed(record, state="condemned", nonce=nonce))
    await store.put(key, body, if_match=found.info.etag)


async def bury(api: Api, store: ObjectStore, notes: Notes, *, key: str) -> None:
    """Do to a record what a DELETE does that dies right after."""
    await store.put(key, b"0" * TOMBSTONE_SIZE, if_match=(await store.head(key)).etag)


def condemned(*keys: str) -> Prepare:
    """Several records condemned."""
    return all_of(*(partial(condemn, key=key) for key in keys))


def link(content: bytes, name: str = "a") -> str:
    """The key of a link."""
    return layout.link_key(Digest.of(content), RepositoryName.parse(name))


def record(content: bytes, name: str = "a") -> str:
    """The key of a manifest record."""
    return layout.manifest_key(RepositoryName.parse(name), Digest.of(content))


def manifest_path(content: bytes, name: str = "a") -> str:
    """Where a manifest is served by its digest."""
    return f"/v2/{name}/manifests/{digest(content)}"


def blob_path(content: bytes, algorithm: str = "sha256", name: str = "a") -> str:
    """Where a blob is served."""
    return f"/v2/{name}/blobs/{digest(content, algorithm)}"


def changed_image(seed: str, **fields: Any) -> bytes:
    """Another manifest of the blobs that are there."""
    document = {**msgspec.json.decode(THERE), "annotations": {"seed": seed}, **fields}
    return image(
        document.pop("config"),
        document.pop("layers"),
        **{key: value for key, value in document.items() if key not in {"schemaVersion", "mediaType"}},
    )
