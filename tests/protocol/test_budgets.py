"""The budgets: how many requests each operation makes to the object store. Run with -s to see them all."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from tests.protocol.operations import (
    Meter,
    Presigning,
    measure,
    operations,
    push_blobs,
    push_image,
    push_manifest,
    table,
)
from tests.protocol.serving import Clock, World

ROOT = Path(__file__).parents[2]


@pytest.fixture
def presigning(memory: MemoryStore) -> Presigning:
    """The store of these tests."""
    return Presigning(memory)


def meter_of(store: MeteredStore) -> Meter:
    """Counts requests of every kind."""
    return Meter(store.requests.total, store.requests.clear)


@pytest.mark.parametrize("redirect", [True, False])
async def test_no_operation_exceeds_its_budget(
    presigning: Presigning, clock: Clock, redirect: bool, record_property: Callable[[str, object], None]
) -> None:
    """Cold and warm, every row of the table, which docs/budgets.md shows as it is measured."""
    world = World(presigning, clock)
    measured = [
        await measure(world, meter_of(presigning), operation, f"r{number}", redirect=redirect)
        for number, operation in enumerate(operations(redirect=redirect))
    ]
    record_property(f"budgets, {'redirecting' if redirect else 'proxying'}", table(measured))
    assert [each.operation.name for each in measured if not each.is_within] == []
    if redirect:
        assert table(measured).strip() in (ROOT / "docs" / "budgets.md").read_text("utf-8")


async def test_lists_take_a_request_a_thousand_names(memory: MemoryStore, metered: MeteredStore, clock: Clock) -> None:
    """Tags and repositories alike, whatever lies below them."""
    marker = json.dumps({"nonce": "0" * 16}).encode()
    async with World(metered, clock).gateway() as api:
        for number in range(2500):
            await memory.put(f"catalog/r{number:04}", marker)
            await memory.put(f"repositories/r0000/_tags/t{number:04}", marker)
        for path in ("/v2/_catalog", "/v2/r0000/tags/list"):
            metered.requests.clear()
            assert (await api.get(path)).status_code == 200
            assert metered.requests == {"LIST": 3}


async def test_moving_a_tag_that_was_not_seen_lately(metered: MeteredStore, clock: Clock) -> None:
    """In a repository that the gateway works with: the tag is taken for new, which costs three requests if it is not."""
    world = World(metered, clock)
    async with world.gateway() as one, world.gateway() as other:
        await push_image("old", "latest")(other, "a")
        await push_image("x", "1")(one, "a")
        await push_blobs("y", 1)(one, "a")
        metered.requests.clear()
        await push_manifest("y", 1, "latest")(one, "a")
        print(
            f"\nmoving a tag that this gateway has not seen lately: {metered.requests.total()} {dict(metered.requests)}"
        )
        assert metered.requests.total() <= 6
