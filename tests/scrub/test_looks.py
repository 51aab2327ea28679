"""A second look is not fooled by what clients do between two of its requests."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import pytest

from storage import layout
from storage.catalog import Catalog
from storage.objects.contract import ObjectStore
from storage.objects.memory import MemoryStore
from storage.references import Digest, Tag
from storage.scrub.looks import Evidence, Looks
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.collection.interrupting import interrupted
from tests.protocol.conftest import keys
from tests.protocol.serving import World
from tests.scrub.building import APP, BLOB, LAYER_DIGEST, OTHER, OTHER_BLOB, Built, build
from tests.scrub.running import registry

Look = Callable[[Looks, Built], Awaitable[Evidence | None]]
Act = Callable[[World, Built], Awaitable[None]]


async def delete_all(world: World, built: Built) -> None:
    """The index, the image and the layer of a repository, in this order."""
    async with world.gateway() as api:
        for path in (f"manifests/{built.index.digest}", f"manifests/{built.image.digest}", f"blobs/{LAYER_DIGEST}"):
            assert (await api.delete(f"/v2/{APP}/{path}")).status_code == 202
        await api.delete(f"/v2/{APP}/manifests/{built.artifact.digest}")


async def delete_and_collect(world: World, built: Built) -> None:
    """The layer everywhere, and all that is garbage then."""
    await delete_all(world, built)
    async with world.gateway() as api:
        assert (await api.delete(OTHER_BLOB)).status_code == 202
        assert (await api.delete(BLOB)).status_code == 404
    for _ in range(5):
        world.clock.advance(25 * 3600)
        await (await registry(world)).collector.run()
    assert not [info async for info in world.store.list(layout.instances_prefix(LAYER_DIGEST))]


LOOKS: Mapping[str, tuple[Look, Act]] = {
    "missing blob": (
        lambda looks, built: looks.missing_blob(APP, Digest.parse(built.image.digest), LAYER_DIGEST),
        delete_all,
    ),
    "missing manifest": (
        lambda looks, built: looks.missing_manifest(
            APP, Digest.parse(built.index.digest), Digest.parse(built.image.digest)
        ),
        delete_all,
    ),
    "unlisted tag": (lambda looks, built: looks.unlisted_tag(APP, Tag("1")), delete_all),
    "missing referrer": (
        lambda looks, built: looks.missing_referrer(
            APP, Digest.parse(built.image.digest), Digest.parse(built.artifact.digest)
        ),
        delete_all,
    ),
    "dangling link": (lambda looks, built: looks.dangling_link(OTHER, LAYER_DIGEST), delete_and_collect),
}


async def looks_over(world: World, store: ObjectStore) -> Looks:
    """Looks at a store."""
    views = Views(world.clock, Epoch(), max_bytes=1024**2)
    context = Context(store, views, world.clock, world.nonces)
    return Looks(context, Catalog(context))


@pytest.mark.parametrize("name", LOOKS)
async def test_a_delete_between_two_requests_is_no_damage(memory: MemoryStore, world: World, name: str) -> None:
    """At whichever request of the look it happens, there MUST be no evidence."""
    look, act = LOOKS[name]
    async with world.gateway() as api:
        built = await build(api)
    store, counted = interrupted(memory, -1, lambda: act(world, built))
    assert await look(await looks_over(world, store), built) is None
    requests = counted.count
    for number in range(requests + 1):
        copied = MemoryStore(world.clock)
        copied._objects = dict(memory._objects)  # noqa: SLF001 - what a copy is
        trial = World(copied, world.clock, world.nonces)
        store, _ = interrupted(copied, number, partial(act, trial, built))
        assert await look(await looks_over(trial, store), built) is None, number
    assert requests > 1


async def test_an_empty_repository_needs_no_marker(memory: MemoryStore, world: World) -> None:
    """A repository whose last manifest is gone MUST not be listed anew, though its tombstones are there."""
    async with world.gateway() as api:
        built = await build(api)
        await delete_all(world, built)
    looks = await looks_over(world, memory)
    await memory.delete(layout.catalog_key(APP))
    assert await keys(memory, layout.manifests_prefix(APP))
    assert await looks.missing_marker(APP) is None
    await memory.delete(layout.catalog_key(OTHER))
    assert await looks.missing_marker(OTHER) is not None
