"""The temporary database of a maintenance run."""

import pytest

from storage.errors import MoorageError
from storage.scratch import scratch


def fill() -> None:
    """Write more than there is room for."""
    with scratch() as database:
        database.execute("PRAGMA max_page_count = 10")
        database.execute("CREATE TABLE t (x)")
        database.executemany("INSERT INTO t VALUES (?)", [(b"x" * 4096,) for _ in range(100)])


def test_a_full_disk_is_a_sentence() -> None:
    """Whoever runs it MUST read what is full, not a traceback."""
    with pytest.raises(MoorageError, match=r"^the temporary file of this run, .*: database or disk is full$"):
        fill()
