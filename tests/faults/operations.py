"""Every operation of the protocol, as steps of a client: what all suites of faults run."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from storage.objects.parts import MIB
from storage.references import Digest
from tests.faults.client import Client, lists, named, refers, right, serves
from tests.protocol.documents import descriptor, image, index, manifest_descriptor
from tests.protocol.serving import codes

Step = Callable[[Client], Awaitable[None]]

LAYER = random.Random("layer").randbytes(1_000)
CONFIG = b"{}"
IMAGE = image(descriptor(CONFIG), [descriptor(LAYER)])
OTHER = image(descriptor(CONFIG), [descriptor(LAYER)], annotations={"of": "another"})
INDEX = index([manifest_descriptor(IMAGE), manifest_descriptor(OTHER)])
ARTIFACT = image(descriptor(CONFIG), subject=manifest_descriptor(IMAGE), artifactType="application/test")
LISTED = image(descriptor(CONFIG), subject=manifest_descriptor(IMAGE), artifactType="application/old")
FALLBACK = index([manifest_descriptor(LISTED)])
MISSING = str(Digest.of(b"missing"))
LARGE = random.Random("large").randbytes(9 * MIB)


async def nothing(client: Client) -> None:
    """No step."""


@dataclass(frozen=True)
class Operation:
    """What meets the faults, `act`, and what is done before, while the store is well. `act` MUST succeed when done again."""

    act: Step
    before: Step = nothing


def path_of(kind: str, content: bytes, name: str = "a") -> str:
    """Where content is served."""
    return f"/v2/{name}/{kind}/{Digest.of(content)}"


def both(*steps: Step) -> Step:
    """One after the other."""

    async def step(client: Client) -> None:
        for each in steps:
            await each(client)

    return step


async def blobs(client: Client) -> None:
    """A config and a layer."""
    await client.blob("a", CONFIG)
    await client.blob("a", LAYER)


async def pushed(client: Client) -> None:
    """An image under two tags."""
    await blobs(client)
    await client.manifest("a", IMAGE, "one", "two", by_digest=True)


async def referred(client: Client) -> None:
    """An image, an artifact that refers to it, and another one that only a fallback tag lists."""
    await pushed(client)
    for artifact in (ARTIFACT, LISTED):
        await client.manifest("a", artifact)
    await client.manifest("a", FALLBACK, f"sha256-{Digest.of(IMAGE).hex}")


async def deleted(client: Client) -> None:
    """An image that was there and is not."""
    await pushed(client)
    await client.delete_manifest("a", IMAGE)


async def blob_deleted(client: Client) -> None:
    """A layer that was there and is not."""
    await pushed(client)
    await client.delete_blob("a", LAYER)


def manifest(content: bytes, *tags: str, by_digest: bool = False) -> Step:
    """Push a manifest."""
    return lambda client: client.manifest("a", content, *tags, by_digest=by_digest)


def stream(*chunks: bytes, last: bytes = b"", algorithm: str = "sha256", ordered: bool = False) -> Step:
    """POST, a PATCH for each of `chunks`, and PUT."""

    async def step(client: Client) -> None:
        location, offset = await client.begin("a"), 0
        for chunk in chunks:
            location = await client.chunk(location, chunk, offset if ordered else None, stream=not ordered)
            offset += len(chunk)
        await client.finish("a", location, b"".join(chunks) + last, last, algorithm)

    return step


async def lost_location(client: Client) -> None:
    """POST, two PATCHes, and PUT to where GET of the first Location leads."""
    first = await client.begin("a")
    await client.chunk(await client.chunk(first, LAYER[:400]), LAYER[400:])
    status = await client.ask("GET", first, 204, check=lambda answer: answer.headers["Range"] == "0-999")
    await client.finish("a", status.headers["Location"], LAYER)


async def cancel(client: Client) -> None:
    """POST, PATCH, DELETE, and GET of what is no more."""
    location = await client.chunk(await client.begin("a"), LAYER)
    await client.ask("DELETE", location, 204)
    gone = await client.ask("GET", location, 404)
    assert codes(gone) == ["BLOB_UPLOAD_UNKNOWN"]


async def mount_missing(client: Client) -> None:
    """A mount of what is nowhere: an upload begins."""
    for source in ("", "&from=b"):
        await client.ask("POST", f"/v2/a/blobs/uploads/?mount={MISSING}{source}", 202)


async def push_to_other(client: Client) -> None:
    """A layer that repository b has."""
    await client.blob("b", LAYER)


def get(path: str, content: bytes) -> Step:
    """GET and HEAD of one content."""

    async def step(client: Client) -> None:
        await client.ask("GET", path, 200, check=serves(content))
        await client.ask("HEAD", path, 200, check=named(str(Digest.of(content))))

    return step


async def get_missing(client: Client) -> None:
    """GET and HEAD of what is not there."""
    for path in (f"/v2/a/blobs/{MISSING}", f"/v2/a/manifests/{MISSING}", "/v2/a/manifests/missing"):
        for method in ("GET", "HEAD"):
            await client.ask(method, path, 404)


async def get_range(client: Client) -> None:
    """GET of a part of a blob."""
    part = LAYER[100:200]
    headers = {"Range": "bytes=100-199"}
    await client.ask("GET", path_of("blobs", LAYER), 206, headers=headers, check=lambda answer: answer.content == part)


async def listing(client: Client) -> None:
    """All listings."""
    await client.ask("GET", "/v2/_catalog", 200, check=lists("repositories", ["a"]))
    fallback = f"sha256-{Digest.of(IMAGE).hex}"
    await client.ask("GET", "/v2/a/tags/list", 200, check=lists("tags", ["one", fallback, "two"]))
    await client.ask("GET", "/v2/a/tags/list?n=1&last=one", 200, check=lists("tags", [fallback]))
    await client.ask("GET", f"/v2/a/referrers/{Digest.of(IMAGE)}", 200, check=refers(ARTIFACT, LISTED))


async def list_missing(client: Client) -> None:
    """Listings of what is not there."""
    await client.ask("GET", "/v2/_catalog", 200, check=lists("repositories", []))
    await client.ask("GET", "/v2/a/tags/list", 404)
    await client.ask("GET", f"/v2/a/referrers/{MISSING}", 200, check=refers())


async def ready(client: Client) -> None:
    """Whether the gateway says that it can reach its store."""
    await client.ask("GET", "/readyz", 200, check=right)


OPERATIONS: Mapping[str, Operation] = {
    "POST, PUT with the body": Operation(lambda client: client.blob("a", LAYER)),
    "POST with the body": Operation(lambda client: client.post("a", LAYER)),
    "POST, PATCH, PUT": Operation(stream(LAYER)),
    "POST, PATCHes in order, PUT with the last": Operation(
        stream(LAYER[:300], LAYER[300:500], last=LAYER[500:], ordered=True)
    ),
    "POST, PATCHes beyond a token, PUT": Operation(stream(*(LAYER[at : at + 200] for at in range(0, 1000, 200)))),
    "POST, PATCH, PUT by another algorithm": Operation(stream(LAYER, algorithm="sha512")),
    "an empty blob": Operation(lambda client: client.blob("a", b"")),
    "a known blob, POST, PUT with the body": Operation(lambda client: client.blob("a", LAYER), push_to_other),
    "a known blob, POST, PATCH, PUT": Operation(stream(LAYER), push_to_other),
    "a blob that was deleted": Operation(lambda client: client.blob("a", LAYER), blob_deleted),
    "GET of an upload": Operation(lost_location),
    "DELETE of an upload": Operation(cancel),
    "mount with from": Operation(lambda client: client.mount("a", LAYER, "b"), push_to_other),
    "mount without from": Operation(lambda client: client.mount("a", LAYER, None), push_to_other),
    "mount of what is missing": Operation(mount_missing),
    "PUT manifest by tag": Operation(manifest(IMAGE, "one"), blobs),
    "PUT manifest by digest": Operation(manifest(IMAGE), blobs),
    "PUT manifest by digest with tags": Operation(manifest(IMAGE, "one", "two", by_digest=True), blobs),
    "PUT manifest with subject": Operation(manifest(ARTIFACT, "art"), pushed),
    "PUT index": Operation(manifest(INDEX, "all"), both(pushed, manifest(OTHER))),
    "PUT manifest that is there": Operation(manifest(IMAGE, "one"), pushed),
    "PUT manifest that was deleted": Operation(manifest(IMAGE, "one"), deleted),
    "moving a tag": Operation(manifest(OTHER, "one"), pushed),
    "GET, HEAD blob": Operation(get(path_of("blobs", LAYER), LAYER), pushed),
    "GET of a range": Operation(get_range, pushed),
    "GET, HEAD manifest": Operation(get(path_of("manifests", IMAGE), IMAGE), pushed),
    "GET, HEAD tag": Operation(
        get("/v2/a/manifests/one", IMAGE), both(pushed, manifest(OTHER, "one"), manifest(IMAGE, "one"))
    ),
    "GET, HEAD of what is missing": Operation(get_missing, pushed),
    "listings": Operation(listing, referred),
    "listings of what is missing": Operation(list_missing),
    "DELETE blob": Operation(lambda client: client.delete_blob("a", LAYER), pushed),
    "DELETE manifest": Operation(lambda client: client.delete_manifest("a", IMAGE), pushed),
    "DELETE manifest with subject": Operation(lambda client: client.delete_manifest("a", ARTIFACT), referred),
    "DELETE tag": Operation(lambda client: client.delete_tag("a", "one"), pushed),
    "GET /readyz": Operation(ready),
}

# In parts, beyond what S3 takes at once, and composed of what S3 takes for parts.
LARGE_OPERATIONS: Mapping[str, Operation] = {
    "a stream in parts": Operation(stream(LARGE)),
    "chunks composed by the server": Operation(stream(LARGE[: 5 * MIB], LARGE[5 * MIB :])),
}
