"""The budgets: how many requests each operation makes to the object store. Run with -s to see them all."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.references import Digest
from tests.protocol.holding import HoldingStore, at_once
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


COMPANY = 300


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_rollout(memory: MemoryStore, clock: Clock, method: str) -> None:
    """Any number that pull one tag at once cost two requests, and one more where the manifest was not seen lately."""
    store = HoldingStore(memory)
    world = World(store, clock)
    async with world.gateway() as one, world.gateway() as other:
        pushed = await one.image("r", "1")
        for api, requests in ((one, 2), (other, 3), (other, 2)):
            answers = await at_once(store, COMPANY, lambda api=api: api.http(method, "/v2/r/manifests/1"))  # type: ignore[misc]
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.headers["Docker-Content-Digest"] for answer in answers} == {pushed.digest}
            assert store.requests == {"GET": requests}


async def test_many_pushes_of_one_layer(memory: MemoryStore, clock: Clock) -> None:
    """Any number that ask at once for a blob that is missing, as builds on one base image do, cost two requests."""
    store = HoldingStore(memory)
    async with World(store, clock).gateway() as api:
        answers = await at_once(store, COMPANY, lambda: api.head(f"/v2/r/blobs/{Digest.of(b'')}"))
        assert {answer.status_code for answer in answers} == {404}
        assert store.requests == {"GET": 2}
