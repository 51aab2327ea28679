"""What is compared grows with the registry, not with its square."""

import pytest

from storage.objects.memory import MemoryStore
from storage.scratch import scratch
from storage.scrub.inventory import SUSPECT, Inventory


@pytest.mark.parametrize("kind", SUSPECT)
def test_every_comparison_finds_its_rows_by_an_index(memory: MemoryStore, kind: str) -> None:
    """A query MUST go through one table, and look all else up."""

    async def step(records: int, size: int) -> None:
        """Never called."""

    with scratch() as database:
        Inventory(memory, database, step)
        parameters = (0.0,) * SUSPECT[kind].count("?")
        plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {SUSPECT[kind]}", parameters)]
    assert [line for line in plan if line.startswith("SCAN")] == [plan[0]]
