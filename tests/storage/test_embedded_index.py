"""How the index of the embedded store is read."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from storage.objects.embedded_index import NAME, Index

ROWS = 20_000


@pytest.fixture
def index(tmp_path: Path) -> Index:
    """An index of many objects, a hundred in each directory."""
    index = Index(tmp_path)
    index.prepare()
    keys = [f"{number // 100:04}/{number % 100:02}" for number in range(ROWS)]
    with closing(sqlite3.connect(tmp_path / NAME)) as database:
        database.executemany("INSERT INTO objects VALUES (?, 1, '', 0, NULL, '')", ((key,) for key in keys))
        database.commit()
    return index


@pytest.mark.parametrize("start_after", ["", "0000/50", "0180/50"])
def test_a_page_costs_no_more_than_it_shows(index: Index, start_after: str) -> None:
    """What lies before a page MUST NOT be read on the way to it, wherever the listing begins."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    index._connection.set_progress_handler(count, 100)  # noqa: SLF001 - what a page costs shows there alone
    found = [info.key for info in index.page("0180/", start_after, 1_000)]
    assert found == [f"0180/{number:02}" for number in range(51 if start_after == "0180/50" else 0, 100)]
    assert steps <= 30  # of a hundred instructions of SQLite each; a row takes about a dozen
    index.close()


def test_nobody_else_writes_while_a_change_looks_and_writes(tmp_path: Path) -> None:
    """What a change has found MUST still be so when it writes, whatever other processes do: it is alone from its beginning on."""
    index = Index(tmp_path)
    index.prepare()
    with closing(sqlite3.connect(tmp_path / NAME, timeout=0, isolation_level=None)) as other, index.change() as change:
        change.current("k")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    index.close()
