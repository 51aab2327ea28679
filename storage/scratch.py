"""What a maintenance run must sort or look up, on disk: a SQLite database of its own, gone with the run.

https://www.sqlite.org/inmemorydb.html#temp_db: a database without a name is kept in memory while it is small, and in a temporary file
that nobody else sees once it is not. Everything here blocks; a run that may meet much has a process of its own.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from storage.errors import MoorageError

_CACHE_KIB = 64 * 1024


@contextmanager
def scratch() -> Iterator[sqlite3.Connection]:
    """An empty database, in one transaction that is never committed; MoorageError says that a disk is full, or the like."""
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("BEGIN")
            yield database
    except sqlite3.Error as error:
        raise MoorageError(f"the temporary file of this run, in SQLITE_TMPDIR, TMPDIR or /var/tmp: {error}") from error
