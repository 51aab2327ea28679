"""What one run of the collector has seen: what the repositories reference, and what may have to go. On disk, see storage.scratch."""

import sqlite3
from collections.abc import Iterable, Iterator

from storage.objects.contract import ObjectInfo
from storage.references import Digest, RepositoryName

_SCHEMA = (
    "CREATE TABLE repositories (id INTEGER PRIMARY KEY, name TEXT UNIQUE, blocked INTEGER DEFAULT 0)",
    "CREATE TABLE referenced (digest BLOB, repository INTEGER, PRIMARY KEY (digest, repository)) WITHOUT ROWID",
    "CREATE TABLE markers (name TEXT PRIMARY KEY, key TEXT, size INTEGER, etag TEXT, modified REAL) WITHOUT ROWID",
    "CREATE TABLE pages (key TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE data (key TEXT PRIMARY KEY, size INTEGER, session_end REAL, claimed INTEGER DEFAULT 0) WITHOUT ROWID",
)


class Survey:
    """The tables of a run's database."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        for statement in _SCHEMA:
            database.execute(statement)

    def add_references(self, name: RepositoryName, digests: Iterable[str]) -> None:
        """A manifest record of this repository names these digests."""
        repository = self._enter(name)
        rows = ((bytes.fromhex(digest.partition(":")[2]), repository) for digest in digests)
        self._database.executemany("INSERT OR IGNORE INTO referenced VALUES (?, ?)", rows)

    def block(self, name: RepositoryName) -> None:
        """Not all that this repository references can be known: so it references everything."""
        self._database.execute("UPDATE repositories SET blocked = 1 WHERE id = ?", (self._enter(name),))

    def references(self, name: RepositoryName, digest: Digest) -> bool:
        """Whether a manifest of this repository names the digest, or may do so."""
        sql = """SELECT 1 FROM repositories AS r WHERE name = ? AND (blocked OR EXISTS (
            SELECT 1 FROM referenced WHERE digest = ? AND repository = r.id))"""
        return self._database.execute(sql, (name, bytes.fromhex(digest.hex))).fetchone() is not None

    def add_marker(self, name: RepositoryName, info: ObjectInfo) -> None:
        """The catalog lists this repository."""
        row = (name, info.key, info.size, info.etag, info.modified)
        self._database.execute("INSERT OR REPLACE INTO markers VALUES (?, ?, ?, ?, ?)", row)

    def marker(self, name: RepositoryName) -> ObjectInfo | None:
        """The repository's marker, as it was listed."""
        sql = "SELECT key, size, etag, modified FROM markers WHERE name = ?"
        row = self._database.execute(sql, (name,)).fetchone()
        return None if row is None else ObjectInfo(*row)

    def idle_markers(self, before: float) -> Iterator[tuple[RepositoryName, ObjectInfo]]:
        """The repositories in the catalog that have no manifest, and whose marker was last written before then."""
        sql = """SELECT name, key, size, etag, modified FROM markers
            WHERE modified < ? AND name NOT IN (SELECT name FROM repositories) ORDER BY name"""
        for name, *info in self._database.execute(sql, (before,)):
            yield RepositoryName(name), ObjectInfo(*info)

    def add_page(self, key: str) -> None:
        """A page of the journal."""
        self._database.execute("INSERT OR IGNORE INTO pages VALUES (?)", (key,))

    def latest_pages(self) -> Iterator[str]:
        """The keys of the journal's pages, the latest first."""
        for (key,) in self._database.execute("SELECT key FROM pages ORDER BY key DESC"):
            yield key

    def add_data(self, info: ObjectInfo, session_end: float) -> None:
        """Bytes that some upload wrote, whose session ends then."""
        row = (info.key, info.size, session_end)
        self._database.execute("INSERT OR REPLACE INTO data (key, size, session_end) VALUES (?, ?, ?)", row)

    def claim(self, key: str) -> int:
        """An instance names these bytes. Returns how many they are, 0 if they were not seen."""
        self._database.execute("UPDATE data SET claimed = 1 WHERE key = ?", (key,))
        row = self._database.execute("SELECT size FROM data WHERE key = ?", (key,)).fetchone()
        return row[0] if row else 0

    def unclaimed(self, before: float) -> Iterator[tuple[str, int]]:
        """Key and size of what no instance names, of sessions that ended before then."""
        sql = "SELECT key, size FROM data WHERE NOT claimed AND session_end < ? ORDER BY key"
        yield from self._database.execute(sql, (before,))

    def _enter(self, name: RepositoryName) -> int:
        self._database.execute("INSERT OR IGNORE INTO repositories (name) VALUES (?)", (name,))
        (repository,) = self._database.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
        return int(repository)
