"""What is deleted through one gateway is gone on all: tags at once, content within the minute that a view may last."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from storage.objects.memory import MemoryStore
from storage.periods import Periods
from tests.fleet.fleets import clients, fleet
from tests.load.images import check_image, push_image
from tests.parts.servers import S3Server
from tests.protocol.serving import Api, Clock, World, refused

NAME = "fleet/app"


@pytest.fixture
def clock() -> Clock:
    """The time of all gateways."""
    return Clock()


@pytest.fixture
async def apis(clock: Clock) -> AsyncIterator[list[Api]]:
    """Three gateways of this process that share nothing but the store, as on three machines."""
    world = World(MemoryStore(clock), clock)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(world.gateway()) for _ in range(3)]


async def statuses(apis: list[Api], path: str) -> list[int]:
    """What each gateway answers to HEAD and to GET."""
    return [(await api.http(method, path)).status_code for api in apis for method in ("HEAD", "GET")]


@pytest.mark.parametrize("what", ["manifest", "blob"])
async def test_content_is_gone_within_a_minute(apis: list[Api], clock: Clock, what: str) -> None:
    """A blob or manifest that one gateway deleted MUST be gone there at once, and on all others within 60 s."""
    assert Periods().view_age == 60
    image = await apis[0].image(NAME, "1")
    blob = await apis[0].blob(NAME, b"alone")
    path = f"/v2/{NAME}/" + (f"manifests/{image.digest}" if what == "manifest" else f"blobs/{blob}")
    assert set(await statuses(apis, path)) == {200}
    clock.advance(30)
    assert set(await statuses(apis, path)) == {200}  # a view is not renewed by its use
    assert (await apis[1].delete(path)).status_code == 202
    assert await statuses(apis[1:2], path) == [404, 404]
    clock.advance(30.001)
    assert set(await statuses(apis, path)) == {404}


async def test_tags_of_a_deleted_manifest_are_gone_at_once(apis: list[Api]) -> None:
    """After a manifest was deleted, its tags MUST be gone on every gateway, also on those that have just resolved them."""
    image = await apis[0].image(NAME, "1")
    path = f"/v2/{NAME}/manifests/1"
    assert set(await statuses(apis, path)) == {200}
    assert (await apis[1].delete(f"/v2/{NAME}/manifests/{image.digest}")).status_code == 202
    assert set(await statuses(apis, path)) == {404}
    assert [await api.tags(NAME) for api in apis] == [[], [], []]


async def test_tags_move_and_go_at_once(apis: list[Api]) -> None:
    """A tag MUST point to what it was moved to, and be gone once deleted, on every gateway and from the next request on."""
    path = f"/v2/{NAME}/manifests/1"
    for number in range(6):
        pushed = await apis[number % 3].image(NAME, "1", seed=str(number))
        assert {(await api.get(path)).headers["Docker-Content-Digest"] for api in apis} == {pushed.digest}
    assert (await apis[2].delete(path)).status_code == 202
    assert set(await statuses(apis, path)) == {404}


async def test_no_push_relies_on_what_another_gateway_deleted(apis: list[Api]) -> None:
    """A manifest MUST NOT be taken for a blob that was deleted elsewhere, though this gateway has just seen it."""
    image = await apis[0].image(NAME, None)
    layer = image.content.decode().split('"digest": "')[2].split('"')[0]
    assert set(await statuses(apis, f"/v2/{NAME}/blobs/{layer}")) == {200}
    assert (await apis[1].delete(f"/v2/{NAME}/blobs/{layer}")).status_code == 202
    answer = await apis[0].put(
        f"/v2/{NAME}/manifests/1", content=image.content, headers={"Content-Type": image.media_type}
    )
    refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")


@pytest.mark.xdist_group("fleet")
def test_on_real_gateways(minio_server: S3Server, tmp_path: Path) -> None:
    """Over a real bucket: gone at once where it was deleted, and tags at once on all."""
    bucket = minio_server.create_bucket("removal")
    with fleet(tmp_path, bucket, [minio_server.env] * 3) as gateways, clients(gateways) as each:
        for number in range(3):
            image = push_image(each[number], NAME, "1")
            for client in each:
                check_image(client, NAME, image)
            deleter = each[(number + 1) % 3]
            _delete(deleter, f"manifests/{image.digest}" if number else "manifests/1")
            _delete(deleter, f"blobs/{image.blobs[0]}")
            assert [client.head(f"/v2/{NAME}/manifests/1").status_code for client in each] == [404] * 3
            assert [client.get(f"/v2/{NAME}/tags/list").json()["tags"] for client in each] == [[]] * 3


def _delete(client: httpx.Client, path: str) -> None:
    assert client.delete(f"/v2/{NAME}/{path}").status_code == 202
    assert client.head(f"/v2/{NAME}/{path}").status_code == 404
