"""Processes that share an embedded store's directory with a test: `python -m tests.storage.embedded_writers ROLE DIRECTORY …`.

count DIRECTORY TIMES          increments 'counter' by compare-and-swap
write DIRECTORY SEED           writes objects until it is killed, and prints each when it is acknowledged
"""

import asyncio
import hashlib
import random
import secrets
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from storage.errors import NotFound, PreconditionFailed
from storage.objects.embedded import EmbeddedStore

SIZES = (0, 16, 1_000, 60_000, 65_536, 65_537, 200_000, 1_500_000, 4_000_000)
TASKS = 3
ROUND = 12


async def open_store(directory: Path) -> EmbeddedStore:
    """The store with the real clock and real nonces."""
    return await EmbeddedStore.open(directory, time.time, lambda: secrets.token_hex(16))


async def count(store: EmbeddedStore, times: int) -> None:
    """Increment the counter `times` times, against whoever else does."""
    done = 0
    while done < times:
        try:
            found = await store.get("counter")
            await store.put("counter", b"%d" % (int(found.body) + 1), if_match=found.info.etag)
        except NotFound:
            continue
        except PreconditionFailed:
            continue
        done += 1


async def write(store: EmbeddedStore, seed: int) -> None:
    """Write for ever; each line tells what the store acknowledged: the key, then the digest or '-' for deleted."""
    await asyncio.gather(*(_write(store, random.Random(f"{seed}-{task}"), f"k/{seed}/{task}") for task in range(TASKS)))


async def _write(store: EmbeddedStore, chance: random.Random, folder: str) -> None:
    for number in range(1_000_000):
        key = f"{folder}/{number % ROUND}"
        body = chance.randbytes(chance.choice(SIZES))
        _tell("begin", key, hashlib.sha256(body).hexdigest())
        way = chance.randrange(4)
        if way == 0:
            await store.put(key, body)
        elif way == 1:
            await store.put_stream(key, _chunks(body))
        elif way == 2:
            await _replace(store, key, body)
        else:
            _tell("begin", key, "-")
            await store.delete(key)
            _tell("done", key, "-")
            continue
        _tell("done", key, hashlib.sha256(body).hexdigest())


async def _replace(store: EmbeddedStore, key: str, body: bytes) -> None:
    try:
        await store.put(key, body, if_match=(await store.head(key)).etag)
    except NotFound:
        await store.put(key, body, if_absent=True)


async def _chunks(body: bytes) -> AsyncGenerator[bytes]:
    for at in range(0, len(body), 300_000):
        yield body[at : at + 300_000]


def _tell(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def _main(role: str, directory: str, argument: str) -> None:
    store = await open_store(Path(directory))
    _tell("open")
    await {"count": count, "write": write}[role](store, int(argument))
    await store.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
