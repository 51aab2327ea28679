"""What moorage does with a bucket, each with what must have been there before: the operations that a policy is tried with."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import httpx

from storage.errors import Denied
from storage.objects.contract import ObjectStore
from storage.objects.s3 import S3Store
from storage.periods import Periods
from storage.references import Digest
from storage.registry import Registry, Rules, open_registry
from storage.retention.policies import Policy, Rule
from storage.scrub.runs import Options
from storage.views import Epoch
from tests.protocol.serving import Api, Clock, Nonces, World, chunks_of

MIB = 1024 * 1024
# More than one part of a multipart upload; and more than the least that the server copies, so that chunks are joined there.
LARGE = 9 * MIB
CHUNK = 5 * MIB
# What is garbage is garbage at once: nothing else happens in the bucket, and the store's clock is the only one that counts.
AT_ONCE = Periods(
    grace=0, view_age=0, bound=2, skew=-Periods().upload_expiry - 4, quiet=0, horizon=600, purge_age=600, lease=600
)
_PASSES = 8
_KEY = f"data/{'a' * 32}/{0:013}-{'b' * 16}"


class Switched:
    """A store whose credentials are exchanged while it is in use, as they are when a policy is changed."""

    def __init__(self, store: S3Store) -> None:
        self.current = store

    def __getattr__(self, name: str) -> object:
        return getattr(self.current, name)


class _BrokenOff(Exception):
    """What a client's connection dies of."""


@dataclass
class Scene:
    """A registry in a prefix of its own, as it is before an operation, and as the operation finds it.

    `api` is a client of a gateway that runs already, `keeper` the registry as maintenance opens it, `owner` a store with all permissions.
    """

    api: Api
    keeper: Registry
    store: ObjectStore
    owner: S3Store
    digests: dict[str, str] = field(default_factory=dict)

    async def prepare(self) -> None:
        """Push what is pulled, deleted, scrubbed and collected later."""
        for name in ("pulled", "deleted", "retained"):
            self.digests[name] = (await self.api.image(name, "1", name)).digest
        self.digests["large"] = await self.api.blob("pulled", bytes(100_000))
        self.digests["unused"] = await self.api.blob("unused", b"nothing references this")
        await self.api.patch(await self.api.begin("unused"), content=b"abandoned")
        await self.owner.begin_upload(_KEY)


def world_of(store: Switched) -> World:
    """Gateways over a store, by this machine's clock."""
    nonces = cast("Nonces", lambda: secrets.token_hex(8))
    return World(cast("ObjectStore", store), cast("Clock", time.time), nonces)


async def keeper_of(world: World) -> Registry:
    """The registry as maintenance opens it, for which everything is old."""
    return await open_registry(world.store, clock=world.clock, nonce=world.nonces, epoch=Epoch(), rules=Rules(AT_ONCE))


async def push_a_small_image(scene: Scene) -> None:
    """Blobs of one request, a manifest and a tag."""
    await scene.api.image("pushed", "1", "pushed")


async def push_a_large_layer(scene: Scene) -> None:
    """One that goes to the store in parts."""
    content = bytes(LARGE)
    location = await _patched(scene, await scene.api.begin("large"), chunks_of(content, MIB))
    await scene.api.finish(location, str(Digest.of(content)))


async def push_in_chunks(scene: Scene) -> None:
    """Several segments, which the store joins."""
    location, chunk = await scene.api.begin("chunked"), b"c" * CHUNK
    for _ in range(2):
        location = await _patched(scene, location, chunk)
    await scene.api.finish(location, str(Digest.of(chunk * 2)))


async def clean_up_after_a_broken_push(scene: Scene) -> None:
    """A client that goes away in the middle of a large layer leaves no multipart upload, if one could be begun at all."""

    async def breaking_off() -> AsyncGenerator[bytes]:
        for _ in range(3):
            yield bytes(LARGE)
        raise _BrokenOff

    key = _KEY.replace("a", "c")
    with suppress(_BrokenOff, Denied):
        await scene.store.put_stream(key, breaking_off())
    assert key not in [upload.key async for upload in scene.owner.list_incomplete_uploads()]


async def pull_an_image(scene: Scene) -> None:
    """By tag, and its blobs through the gateway."""
    answer = await scene.api.get("/v2/pulled/manifests/1")
    assert answer.status_code == httpx.codes.OK, answer.text
    layer = answer.json()["layers"][0]["digest"]
    assert (await scene.api.get(f"/v2/pulled/blobs/{layer}")).status_code == httpx.codes.OK


async def pull_by_redirect(scene: Scene) -> None:
    """A large blob straight from the store, by a presigned URL."""
    answer = await scene.api.get(f"/v2/pulled/blobs/{scene.digests['large']}")
    assert answer.status_code == httpx.codes.TEMPORARY_REDIRECT, answer.text
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(answer.headers["Location"])).status_code == httpx.codes.OK


async def answer_404(scene: Scene) -> None:
    """What is missing is not found, rather than forbidden."""
    missing = await scene.api.head(f"/v2/pulled/blobs/{Digest.of(b'missing')}")
    assert missing.status_code == httpx.codes.NOT_FOUND


async def list_tags(scene: Scene) -> None:
    """All of a repository."""
    assert await scene.api.tags("pulled") == ["1"]


async def delete_an_image(scene: Scene) -> None:
    """By its digest."""
    answer = await scene.api.delete(f"/v2/deleted/manifests/{scene.digests['deleted']}")
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text


async def collect(scene: Scene) -> None:
    """Until the blob that nothing references is gone, and so are its bytes and those that were abandoned."""
    for _ in range(_PASSES):
        assert (await scene.keeper.collector.run()).problems == []
        if await _is_clean(scene):
            return
        await asyncio.sleep(1)  # the store tells whole seconds
    raise AssertionError("there is garbage left")


async def scrub(scene: Scene) -> None:
    """All records, and all bytes."""
    await scene.keeper.scrub.run(Options(rate=None))


async def retain(scene: Scene) -> None:
    """Set a policy and apply it."""
    rules = (Rule(tag_regexp=".*", expire_period=24 * 3600),)
    await scene.keeper.policies.set([Policy("p", ("retained",), rules)])
    assert (await scene.keeper.retention.run()).problems == []


OPERATIONS: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "pushing a small image": push_a_small_image,
    "pushing a large layer": push_a_large_layer,
    "pushing in chunks": push_in_chunks,
    "cleaning up after a broken push": clean_up_after_a_broken_push,
    "pulling an image": pull_an_image,
    "pulling by redirect": pull_by_redirect,
    "answering 404": answer_404,
    "listing tags": list_tags,
    "deleting an image": delete_an_image,
    "`moorage scrub`": scrub,
    "`moorage retention`": retain,
    "`moorage gc`": collect,
}
"""Each under the name that terraform/README.md gives it; in an order in which none takes away what a later one needs."""


async def _patched(scene: Scene, location: str, content: bytes | AsyncGenerator[bytes]) -> str:
    answer = await scene.api.patch(location, content=content)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    following: str = answer.headers["Location"]
    return following


async def _is_clean(scene: Scene) -> bool:
    """Whether only what is referenced has bytes in the bucket, and no upload is incomplete."""
    unused = Digest.parse(scene.digests["unused"])
    prefix = f"blobs/{unused.algorithm}/{unused.hex[:2]}/{unused.hex}/at/"
    blobs = [info async for info in scene.owner.list(prefix)]
    uploads = [upload.key async for upload in scene.owner.list_incomplete_uploads()]
    return not blobs and not uploads
