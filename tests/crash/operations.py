"""What clients do, whole operation by whole operation, each from an empty repository or from one that has what it needs.

An operation may be done again after a crash, by a client that kept its notes: then it goes on, or begins anew, as clients do.
"""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import msgspec

from storage import layout
from storage.objects.contract import ObjectStore
from storage.objects.parts import MIN_PART
from storage.records import CatalogMarker, Link, changed, decode, decode_manifest, encode, encode_manifest
from storage.references import Digest, RepositoryName
from tests.protocol.documents import descriptor, image, index, manifest_descriptor
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


@dataclass(frozen=True)
class Operation:
    """What a client does, `act`, once `prepare` has made what it needs.

    After it `served` answer 200 and `gone` 404. `leaves_names`: a crash may leave names in tags/list that lead nowhere. `relied_on` is
    the path of what it deletes, on which another gateway may rely that has seen it lately. `cold` only: a gateway that has seen
    what a collector condemned a moment later may rely on it for a minute. `spare` instances remain that
    no link names, of what was deleted. `is_representative` of crashes in pairs.
    """

    name: str
    act: Act
    prepare: Prepare = nothing
    served: Sequence[str] = ()
    gone: Sequence[str] = ()
    leaves_names: bool = False
    relied_on: str | None = None
    cold: bool = False
    spare: int = 0
    is_representative: bool = False


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


NEW = changed_image("new")
REFERRER = changed_image("referrer", subject=manifest_descriptor(THERE), artifactType="application/x.test")
LONG = changed_image("x" * 70_000)
LATER = changed_image("later")
CHILDREN = index([manifest_descriptor(THERE), manifest_descriptor(NEW)])
QUERY = "?tag=t1&tag=t2&tag=t3"
TAGGED = [f"/v2/a/manifests/t{number}" for number in (1, 2, 3)]


def uploads() -> list[Operation]:
    """Every way to push a blob."""
    there = [blob_path(CONTENT)]
    elsewhere, here = partial(have, name="b"), have
    quarters = [CONTENT[at : at + 1250] for at in range(0, 5000, 1250)]
    one = partial(send, chunks=[CONTENT])
    return [
        Operation("POST with the body", put_blob_at_once, served=there),
        Operation("POST, PUT with the body", put_blob, served=there),
        Operation("POST, PATCH, PUT", one, served=there, is_representative=True),
        Operation("POST, PUT of nothing", partial(send, chunks=[]), served=[blob_path(b"")]),
        Operation("small chunks", partial(send, chunks=quarters), served=there),
        Operation("chunks, and a status after the crash", resume, served=there, is_representative=True),
        Operation(
            "a large chunk and a small one",
            partial(send, chunks=[LARGE[:MIN_PART], CONTENT]),
            served=[blob_path(LARGE)],
        ),
        Operation("more than 32 chunks", send_many, send_many_before, served=[blob_path(b"".join(MANY))]),
        Operation("a last chunk in PUT", partial(send, chunks=quarters[:1], last=CONTENT[1250:]), served=there),
        Operation(
            "sha512 named on POST",
            partial(send, chunks=[CONTENT], began_with="sha512", algorithm="sha512"),
            served=[blob_path(CONTENT, "sha512")],
        ),
        Operation(
            "a digest of another algorithm than the session's",
            partial(send, chunks=[CONTENT], algorithm="sha512"),
            served=[blob_path(CONTENT, "sha512")],
        ),
        Operation("another repository's blob, POST, PUT", put_blob, elsewhere, served=there),
        Operation("another repository's blob, POST, PATCH, PUT", one, elsewhere, served=there),
        Operation(
            "another repository's blob, condemned",
            put_blob,
            all_of(elsewhere, condemned(link(CONTENT, "b"))),
            served=there,
            cold=True,
        ),
        Operation("the same blob again, POST, PUT", put_blob, here, served=there),
        Operation("the same blob again, POST, PATCH, PUT", one, here, served=there),
        Operation(
            "the same blob again, condemned", one, all_of(here, condemned(link(CONTENT))), served=there, cold=True
        ),
        Operation(
            "a blob that was deleted",
            one,
            all_of(here, doing(partial(delete, path=blob_path(CONTENT)))),
            served=there,
            spare=1,
        ),
        Operation("status of an upload", status, begin_and_send),
        Operation("cancelling an upload", cancel, begin_and_send),
    ]


def mounts() -> list[Operation]:
    """Every way to mount a blob."""
    there, elsewhere = [blob_path(CONTENT)], partial(have, name="b")
    with_from = partial(mount, query="&from=b")
    return [
        Operation("mount, with from", with_from, elsewhere, served=there),
        Operation("mount, without from", partial(mount, query=""), elsewhere, served=there),
        Operation(
            "mount of what is condemned",
            with_from,
            all_of(elsewhere, condemned(link(CONTENT, "b"))),
            served=there,
            cold=True,
        ),
        Operation("mount of a missing blob", partial(mount, query="&from=b", status=202), served=there),
    ]


def manifests() -> list[Operation]:
    """Every way to push a manifest."""
    new, tagged = [manifest_path(NEW)], "/v2/a/manifests/new"
    children = all_of(have_image, doing(partial(push, content=NEW, reference=None)))
    ghost = all_of(
        have_image,
        doing(partial(push, content=REFERRER, reference=None, query=QUERY)),
        doing(partial(delete, path=manifest_path(REFERRER))),
    )
    repeated = partial(push, content=NEW)
    referrer = partial(push, content=REFERRER, reference=None, query=QUERY)
    return [
        Operation("an image to a new repository", partial(push_image, name="new"), served=["/v2/new/manifests/latest"]),
        Operation("a manifest by tag", repeated, have_image, served=[*new, tagged]),
        Operation("a manifest by digest", partial(push, content=NEW, reference=None), have_image, served=new),
        Operation(
            "a manifest with a subject",
            partial(push, content=REFERRER),
            have_image,
            served=[manifest_path(REFERRER), tagged],
        ),
        Operation(
            "a manifest with a subject, under several tags",
            referrer,
            have_image,
            served=[manifest_path(REFERRER), *TAGGED],
            is_representative=True,
        ),
        Operation("an index", partial(push, content=CHILDREN), children, served=[manifest_path(CHILDREN), tagged]),
        Operation(
            "a tag moved to a new manifest",
            partial(push, content=NEW, reference="old"),
            have_image,
            served=[*new, "/v2/a/manifests/old"],
        ),
        Operation(
            "several tags moved",
            referrer,
            all_of(have_image, doing(partial(push, content=NEW, reference=None, query=QUERY))),
            served=TAGGED,
        ),
        Operation(
            "a tag moved back",
            partial(push, content=THERE, reference="old"),
            all_of(have_image, doing(partial(push, content=NEW, reference="old"))),
            served=[manifest_path(THERE)],
        ),
        Operation(
            "a large manifest under another tag",
            partial(push, content=LONG),
            all_of(have_image, doing(partial(push, content=LONG, reference="old"))),
            served=[tagged, "/v2/a/manifests/old"],
        ),
        Operation("the same manifest again", repeated, all_of(have_image, doing(repeated)), served=new),
        Operation("a deleted manifest again", referrer, ghost, served=TAGGED, is_representative=True),
        Operation(
            "a manifest of condemned blobs",
            repeated,
            all_of(have_image, condemned(link(KNOWN), link(b"layer of what is there"), "catalog/a")),
            served=new,
            cold=True,
        ),
        Operation(
            "an index of condemned children",
            partial(push, content=CHILDREN),
            all_of(children, condemned(record(THERE), record(NEW))),
            served=[tagged],
            cold=True,
        ),
        Operation(
            "a condemned manifest again",
            repeated,
            all_of(have_image, doing(repeated), condemned(record(NEW))),
            served=new,
            cold=True,
        ),
        Operation(
            "the first manifest, after a deletion",
            partial(push, content=changed_image("first"), name="c"),
            all_of(
                partial(have, name="c", content=KNOWN),
                partial(have, name="c", content=b"layer of what is there"),
                partial(have, name="c"),
                doing(partial(delete, path=blob_path(CONTENT, name="c"))),
            ),
            served=["/v2/c/manifests/new"],
        ),
        Operation(
            "a manifest after a deletion",
            repeated,
            all_of(have_image, have, doing(partial(delete, path=blob_path(CONTENT)))),
            served=new,
        ),
    ]


def deletions() -> list[Operation]:
    """Every DELETE but that of an upload."""
    referrer = all_of(have_image, doing(partial(push, content=REFERRER, reference=None, query=QUERY)))
    moved = all_of(referrer, doing(partial(push, content=LATER, reference="t2")))
    by_digest = partial(delete, path=manifest_path(REFERRER))
    return [
        Operation(
            "DELETE of a tag",
            partial(delete, path="/v2/a/manifests/old"),
            have_image,
            [manifest_path(THERE)],
            ["/v2/a/manifests/old"],
        ),
        Operation(
            "DELETE of a manifest, with tags and a subject",
            by_digest,
            referrer,
            gone=[manifest_path(REFERRER), *TAGGED],
            leaves_names=True,
            relied_on=manifest_path(REFERRER),
            is_representative=True,
        ),
        Operation(
            "DELETE of a manifest that one of its tags has left",
            by_digest,
            moved,
            ["/v2/a/manifests/t2"],
            [manifest_path(REFERRER), "/v2/a/manifests/t1"],
            leaves_names=True,
        ),
        Operation(
            "DELETE of a blob",
            partial(delete, path=blob_path(CONTENT)),
            have,
            gone=[blob_path(CONTENT)],
            relied_on=blob_path(CONTENT),
            is_representative=True,
        ),
        Operation(
            "DELETE of a blob that a manifest names",
            partial(delete, path=blob_path(KNOWN)),
            have_image,
            [manifest_path(THERE)],
            [blob_path(KNOWN)],
            relied_on=blob_path(KNOWN),
        ),
    ]


def operations() -> dict[str, Operation]:
    """All of them, by name."""
    return {each.name: each for each in (*uploads(), *mounts(), *manifests(), *deletions())}
