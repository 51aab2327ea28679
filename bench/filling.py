"""Fills a store with a registry of many blobs, tags and repositories, none of which ever went through a gateway: that would take hours.

What is there is written into an embedded store first; a bucket gets a copy of its objects.
"""

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from storage import layout
from storage.objects.embedded import EmbeddedStore
from storage.objects.embedded_index import NAME
from storage.objects.opening import BucketUrl, parse
from storage.objects.s3 import S3Store
from storage.references import RepositoryName, Tag
from storage.registry import Rules, open_registry
from storage.views import Epoch
from tests.load.synthetic import Synthetic
from tests.protocol.serving import START, Clock, Nonces

AGE = 30 * 24 * 3600.0  # seconds since anything has changed, if the store is embedded
BUSY = RepositoryName.parse("team-0/app-00000")  # the one that has the tags
_ABREAST = 32


def fill(url: str, blobs: int, tags: int, repositories: int) -> None:
    """Write a registry of at least so many blobs, with so many tags in one repository, and so many repositories."""
    where = parse(url)
    if isinstance(where, Path):
        _write(where, blobs, tags, repositories)
    elif isinstance(where, BucketUrl):
        with tempfile.TemporaryDirectory(prefix="moorage-bench-") as scratch:
            _write(Path(scratch), blobs, tags, repositories)
            asyncio.run(_copy(Path(scratch), where.bucket))


def _write(directory: Path, blobs: int, tags: int, repositories: int) -> None:
    asyncio.run(_begin(directory))
    Synthetic(blobs, START - AGE).write(directory)
    with closing(sqlite3.connect(directory / NAME)) as database:
        database.execute("PRAGMA synchronous = OFF")
        more = [layout.tag_key(BUSY, Tag.parse(f"w{number:06}")) for number in range(tags)]
        _repeat(database, layout.tag_key(BUSY, Tag.parse("v0000")), more)
        more = [layout.catalog_key(RepositoryName.parse(f"more/app-{number:06}")) for number in range(repositories)]
        _repeat(database, layout.catalog_key(BUSY), more)
        database.commit()
    os.sync()  # or the writes to be measured would wait for these


async def _begin(directory: Path) -> None:
    store = await EmbeddedStore.open(directory, Clock(), Nonces())
    await open_registry(store, clock=Clock(), nonce=Nonces(), epoch=Epoch(), rules=Rules())
    await store.close()


def _repeat(database: sqlite3.Connection, key: str, more: Sequence[str]) -> None:
    """Write what is under `key` under more keys too."""
    (row,) = database.execute("SELECT size, etag, modified, file, body FROM objects WHERE key = ?", (key,)).fetchall()
    database.executemany("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)", ((each, *row) for each in more))


async def _copy(directory: Path, bucket: str) -> None:
    """Put every object into a bucket, many at a time; one without its bytes, which has a size alone, is of zeros there."""
    store = S3Store(bucket, clock=time.time)
    with closing(sqlite3.connect(directory / NAME)) as database:
        objects = database.execute("SELECT key, size, body FROM objects")

        async def some() -> None:
            for key, size, body in objects:
                await store.put(key, body.ljust(size, b"\0"))

        await asyncio.gather(*(some() for _ in range(_ABREAST)))
    await store.close()
