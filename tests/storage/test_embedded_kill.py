"""kill -9 at any moment loses nothing acknowledged."""

import asyncio
import hashlib
import os
import random
import sys
import time
from pathlib import Path

from storage.errors import NotFound
from storage.objects.embedded import ABANDONED_SECONDS, EmbeddedStore
from tests.storage.embedded_writers import open_store
from tests.storage.test_embedded import files, pretend_age

ROUNDS = 18


async def kill_while_writing(home: Path, seed: int, after: float) -> list[list[str]]:
    """Let a process write for `after` seconds, kill it, and return the lines that it told."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.storage.embedded_writers",
        "write",
        str(home),
        str(seed),
        stdout=asyncio.subprocess.PIPE,
    )
    assert writer.stdout is not None
    assert await writer.stdout.readline() == b"open\n"
    told = asyncio.create_task(writer.stdout.read())
    await asyncio.wait([told], timeout=after)
    assert writer.returncode is None, "the writer ended by itself"
    writer.kill()
    await writer.wait()
    return [line.split() for line in (await told).decode().splitlines(keepends=True) if line.endswith("\n")]


class Expected:
    """What each key may hold: what was acknowledged last, or what was begun since."""

    def __init__(self) -> None:
        self._allowed: dict[str, set[str]] = {}
        self.acknowledged = 0

    def learn(self, lines: list[list[str]]) -> None:
        """Take the lines of one process, in the order told."""
        for event, key, digest in lines:
            if event == "done":
                self._allowed[key] = {digest}
                self.acknowledged += 1
            else:
                self._allowed.setdefault(key, {"-"}).add(digest)

    async def check(self, store: EmbeddedStore) -> None:
        """Read every key; what is found now is what must stay."""
        for key, allowed in self._allowed.items():
            found = await digest_of(store, key)
            assert found in allowed, key
            self._allowed[key] = {found}
        listed = {info.key async for info in store.list("")}
        assert listed == {key for key, allowed in self._allowed.items() if allowed != {"-"}}


async def digest_of(store: EmbeddedStore, key: str) -> str:
    """The SHA-256 of an object, or '-' if there is none."""
    try:
        return hashlib.sha256((await store.get(key)).body).hexdigest()
    except NotFound:
        return "-"


async def test_kill_at_random_moments(tmp_path: Path) -> None:
    """After every kill the store opens, every acknowledged object is there with its bytes, and old leftovers go."""
    chance, expected, leftovers = random.Random(os.environ.get("PYTEST_XDIST_TESTRUNUID", "0")), Expected(), 0
    for number in range(ROUNDS):
        expected.learn(await kill_while_writing(tmp_path, number % 4, chance.uniform(0.0, 0.5)))
        store = await open_store(tmp_path)
        await expected.check(store)
        await store.close()
        leftovers += await sweep(tmp_path)
        store = await open_store(tmp_path)
        await expected.check(store)
        await store.close()
    print(f"{ROUNDS} kills, {expected.acknowledged} acknowledged writes, {leftovers} files swept")
    assert expected.acknowledged > ROUNDS


async def sweep(home: Path) -> int:
    """Open the store a day later: then the files are those of the objects, and no upload is left."""
    before = files(home)
    for path in before:
        pretend_age(path, 2 * ABANDONED_SECONDS)
    store = await EmbeddedStore.open(home, lambda: time.time() + 2 * ABANDONED_SECONDS, lambda: "unused")
    large = [info.key async for info in store.list("") if info.size > 65_536]
    after = files(home)
    assert len(after) == len(large)
    assert [upload async for upload in store.list_incomplete_uploads()] == []
    await store.close()
    return len(before) - len(after)
