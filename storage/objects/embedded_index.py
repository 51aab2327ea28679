"""The index of the embedded store: a SQLite database of keys, etags and small bodies.

Keys are TEXT of the BINARY collation, which is UTF-8 byte order. A row has its body, or the name of its file. An upload is
listed until the transaction that publishes it. Each thread has a connection of its own. Everything here blocks, and raises
sqlite3.Error besides what is named.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage.errors import ForeignFormat, Invalid
from storage.objects.contract import IncompleteUpload, ObjectInfo
from storage.objects.embedded_files import make_file

NAME = "objects.sqlite"
VERSION = 1
_APPLICATION = 0x6D6F6F72
_BUSY_SECONDS = 15.0
_LARGEST_LOG = 64 * 1024 * 1024
_SCHEMA = (
    """CREATE TABLE objects (
        key TEXT NOT NULL PRIMARY KEY, size INTEGER NOT NULL, etag TEXT NOT NULL, modified REAL NOT NULL, file TEXT, body BLOB
    ) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX objects_file ON objects (file) WHERE file IS NOT NULL",
    "CREATE TABLE uploads (upload TEXT NOT NULL PRIMARY KEY, key TEXT NOT NULL, initiated REAL NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {VERSION}",
)


@dataclass(frozen=True, slots=True)
class Row:
    """An object as the index has it: `body`, or else `file`."""

    info: ObjectInfo
    file: str | None
    body: bytes | None


class Index:
    """The database in one directory."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._mine = threading.local()
        self._all: list[sqlite3.Connection] = []

    def prepare(self) -> None:
        """Create the database, or raise ForeignFormat where another program, or a newer moorage, wrote what is there.

        One process at a time. A process that dies in here leaves an empty database, which the next one completes.
        """
        if not self._path.exists():
            _refuse_content(self._path.parent)
            make_file(self._path, 0o600)
        self._path.touch()
        with closing(self._connect()) as connection:
            if not _is_ours(connection, self._path):
                _create(connection, self._path)

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of an object, without its body."""
        row = self._connection.execute("SELECT key, size, etag, modified FROM objects WHERE key = ?", (key,)).fetchone()
        return None if row is None else ObjectInfo(*row)

    def find(self, key: str) -> Row | None:
        """An object with its small body or the name of its file."""
        sql = "SELECT key, size, etag, modified, file, body FROM objects WHERE key = ?"
        row = self._connection.execute(sql, (key,)).fetchone()
        return None if row is None else Row(ObjectInfo(*row[:4]), row[4], row[5])

    def page(self, prefix: str, start_after: str, limit: int) -> list[ObjectInfo]:
        """At most `limit` objects below `prefix` and after `start_after`, in byte order."""
        # One bound from below: of two, SQLite seeks to the one and reads from there to the other.
        where, bounds = ("key >= ?", [prefix]) if prefix > start_after else ("key > ?", [start_after])
        if prefix:
            where += " AND key < ?"
            bounds.append(prefix[:-1] + "0")  # '0' follows '/', with which a prefix ends
        sql = f"SELECT key, size, etag, modified FROM objects WHERE {where} ORDER BY key LIMIT ?"  # noqa: S608 - no input in it
        return [ObjectInfo(*row) for row in self._connection.execute(sql, (*bounds, limit))]

    def uploads(self) -> list[IncompleteUpload]:
        """Every upload that was begun and neither published nor forgotten."""
        rows = self._connection.execute("SELECT key, upload, initiated FROM uploads ORDER BY upload")
        return [IncompleteUpload(*row) for row in rows]

    def refers_to(self, file: str) -> bool:
        """Whether `file` is the body of an object."""
        return self._connection.execute("SELECT 1 FROM objects WHERE file = ?", (file,)).fetchone() is not None

    @contextmanager
    def change(self) -> Iterator["Change"]:
        """The one transaction that writes, among all threads and processes; on disk when the block has ended without error."""
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield Change(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close every thread's connection; no thread may use one any more."""
        while self._all:
            self._all.pop().close()

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if connection is None:
            connection = self._mine.connection = self._connect()
            self._all.append(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
        return connection

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)


class Change:
    """What a write transaction may do."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def current(self, key: str) -> tuple[str | None, str | None]:
        """The etag and the file that an object has now; None and None if it does not exist."""
        row = self._connection.execute("SELECT etag, file FROM objects WHERE key = ?", (key,)).fetchone()
        return (None, None) if row is None else (row[0], row[1])

    def put(self, row: Row) -> None:
        """Create or replace an object; the upload that became its file is no longer listed."""
        info = row.info
        values = (info.key, info.size, info.etag, info.modified, row.file, row.body)
        self._connection.execute("INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)", values)
        if row.file is not None:
            self.forget_upload(row.file)

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        self._connection.execute("DELETE FROM objects WHERE key = ?", (key,))

    def announce_upload(self, upload: IncompleteUpload) -> None:
        """List an upload that begins."""
        self._connection.execute("INSERT INTO uploads VALUES (?, ?, ?)", (upload.upload, upload.key, upload.initiated))

    def forget_upload(self, upload: str) -> bool:
        """No longer list an upload; False if it was not listed."""
        return self._connection.execute("DELETE FROM uploads WHERE upload = ?", (upload,)).rowcount == 1


def _refuse_content(directory: Path) -> None:
    found = sorted({path.name for path in directory.iterdir()} - {"lost+found"})
    if found:
        raise ForeignFormat(
            f"{directory} holds files that moorage did not write, such as {found[0]!r}: name an empty directory"
        )


def _is_ours(connection: sqlite3.Connection, path: Path) -> bool:
    """False for an empty database; raises ForeignFormat for any but ours."""
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_NOTADB:
            raise
        raise ForeignFormat(f"{path} is not a database that moorage wrote") from error
    if tables == 0:
        return False
    if application != _APPLICATION:
        raise ForeignFormat(f"{path} is not a database that moorage wrote")
    if version > VERSION:
        raise ForeignFormat(
            f"{path} has format {version}, written by a newer moorage: this one knows formats up to {VERSION}"
        )
    return True


def _create(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise Invalid(f"{path} lies on a filesystem without shared memory, which SQLite's WAL needs")
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute("COMMIT")
