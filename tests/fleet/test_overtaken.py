"""A move or removal whose answer is lost, while another gateway changes the tag: it MUST NOT be made a second time."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import httpx
import pytest

from storage.errors import Overtaken, PreconditionFailed
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from tests.protocol.serving import Api, Clock, World, refused

NAME = "fleet/app"
PATH = f"/v2/{NAME}/manifests/1"

Act = Callable[[], Awaitable[object]]


class OvertakenStore(MeteredStore):
    """Applies the next write of a tag, and has `overtake` done before it says that it does not know.

    With `refuse` it says of the next write that fails that it does not know.
    """

    overtake: Act | None = None
    refuse = False

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        try:
            etag = await super().put(key, body, if_absent=if_absent, if_match=if_match)
        except PreconditionFailed:
            if not self.refuse:
                raise
            self.refuse = False
            raise Overtaken(key) from None
        if self.overtake is not None and "/_tags/" in key:
            overtake, self.overtake = self.overtake, None
            await overtake()
            raise Overtaken(key)
        return etag


@pytest.fixture
def store() -> OvertakenStore:
    """The store of all gateways."""
    return OvertakenStore(MemoryStore(Clock()))


@pytest.fixture
async def apis(store: OvertakenStore) -> AsyncIterator[list[Api]]:
    """Two gateways."""
    world = World(store)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(world.gateway()) for _ in range(2)]


async def pointed(api: Api) -> str | None:
    """What the tag points to."""
    digest: str | None = (await api.get(PATH)).headers.get("Docker-Content-Digest")
    return digest


async def moved(api: Api, content: bytes, media_type: str) -> httpx.Response:
    """Push a manifest under the tag; the answer."""
    return await api.put(PATH, content=content, headers={"Content-Type": media_type})


async def test_a_removal_leaves_a_later_move(apis: list[Api], store: OvertakenStore) -> None:
    """A DELETE that removed the tag MUST NOT remove what it was moved to since, and is done."""
    one, other = apis
    await one.image(NAME, "1", "old")
    newer = await other.image(NAME, None, "new")
    store.overtake = lambda: moved(other, newer.content, newer.media_type)
    assert (await one.delete(PATH)).status_code == 202
    assert [await pointed(each) for each in apis] == [newer.digest] * 2


async def test_a_move_does_not_bring_a_deleted_tag_back(apis: list[Api], store: OvertakenStore) -> None:
    """A PUT that moved the tag MUST NOT move it again after another deleted it; whether it did, the client cannot be told."""
    one, other = apis
    pushed = await one.image(NAME, None)
    store.overtake = lambda: other.delete(PATH)
    refused(await moved(one, pushed.content, pushed.media_type), 503, "UNAVAILABLE")
    assert [await pointed(each) for each in apis] == [None] * 2


async def test_a_move_that_others_moved_on_is_done(apis: list[Api], store: OvertakenStore) -> None:
    """A PUT that is found in the tag's history MUST be acknowledged, and MUST NOT move the tag back."""
    one, other = apis
    pushed, newer = await one.image(NAME, None, "old"), await other.image(NAME, None, "new")
    store.overtake = lambda: moved(other, newer.content, newer.media_type)
    assert (await moved(one, pushed.content, pushed.media_type)).status_code == 201
    assert [await pointed(each) for each in apis] == [newer.digest] * 2


async def test_a_move_from_what_is_long_past_is_made(apis: list[Api], store: OvertakenStore) -> None:
    """A PUT that was not applied, as the history since shows, MUST be made again from what the tag points to now."""
    one, other = apis
    await one.image(NAME, "1", "seen by one")
    await other.image(NAME, "1", "not seen by one")
    newer = await one.image(NAME, None, "newer")
    store.refuse = True
    assert (await moved(one, newer.content, newer.media_type)).status_code == 201
    assert [await pointed(each) for each in apis] == [newer.digest] * 2
