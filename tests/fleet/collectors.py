"""Collectors in a loop, in processes of their own, which are killed and stopped in the middle of what they do.

python -m tests.fleet.collectors CONFIGURATION
"""

import asyncio
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import boto3
import msgspec
import psutil

from storage import layout
from storage.errors import Busy, Unavailable
from storage.objects.contract import Capabilities, ObjectInfo, StoredObject
from storage.objects.s3 import S3Store
from storage.periods import Periods
from storage.records import is_tombstone
from storage.registry import Registry, Rules, open_registry
from storage.removals import Outcome, Removal
from storage.views import Epoch
from tests.parts.servers import S3Server

ROOT = Path(__file__).resolve().parents[2]
_LONGEST_REST = 1.0  # seconds between two collections
_SPARED = 1.0  # seconds in which one that was stopped goes on, with all that it had planned
_LEASE = layout.lease_key("collector")
# How likely a process gets its signal right before a link is buried, instances or bytes are deleted, or anything else is asked.
_CHANCES = {"bury": 0.8, "delete": 0.1, "ask": 0.001}


class Configuration(msgspec.Struct, frozen=True):
    """What a process is told: where the bucket is, for how long things last in seconds, and how it behaves.

    With a `lease` of its own it keeps out of nobody's way. It sends itself `signal` between two requests, now and then. What
    `sabotage` breaks, tests MUST find: "grace", the grace period; "match", tombstones written without If-Match; "quiet", the time
    that nothing below a digest has changed before its bytes go.
    """

    endpoint: str
    bucket: str
    capabilities: dict[str, bool]
    grace: float
    seed: int
    lease: str = _LEASE
    signal: int = 0
    sabotage: str = ""

    def periods(self) -> Periods:
        """Those of the gateways, if nothing is broken, but for how long sessions last, which a collector need not know."""
        periods = Periods.shortened(self.grace, upload_expiry=0)
        return replace(periods, **{self.sabotage: -1.0}) if self.sabotage in {"grace", "quiet"} else periods


class CollectedStore(S3Store):
    """The bucket, as a collector sees it that behaves so."""

    def __init__(self, told: Configuration, session: boto3.Session | None = None) -> None:
        super().__init__(
            told.bucket,
            clock=time.time,
            session=session,
            endpoint=told.endpoint,
            capabilities=Capabilities(**told.capabilities),
        )
        self._told = told
        self._chance = random.Random(told.seed)
        self._spared_until = 0.0

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        self._may_stop("ask")
        return await super().get(self._own(key))

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        return await super().head(self._own(key))

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        buries = is_tombstone(len(body)) and key.startswith(layout.BLOBS_PREFIX)
        self._may_stop("bury" if buries else "ask")
        if buries and self._told.sabotage == "match":
            if_match = None
        return await super().put(self._own(key), body, if_absent=if_absent, if_match=if_match)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        self._may_stop("ask")
        await super().delete(key, if_match=if_match)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        self._may_stop("delete")
        await super().delete_many(keys)

    def _own(self, key: str) -> str:
        return self._told.lease if key == _LEASE else key

    def _may_stop(self, what: str) -> None:
        if self._told.signal and time.monotonic() > self._spared_until and self._chance.random() < _CHANCES[what]:
            os.kill(os.getpid(), self._told.signal)
            self._spared_until = time.monotonic() + _SPARED


async def open_collected(store: S3Store, periods: Periods) -> Registry:
    """The registry in `store`, for a process that begins."""
    rules = Rules(periods=periods)
    return await open_registry(store, clock=time.time, nonce=lambda: secrets.token_hex(8), epoch=Epoch(), rules=rules)


async def run(told: Configuration) -> None:
    """Collect again and again, and print what each time brought as a line of JSON."""
    chance = random.Random(told.seed)
    registry = await open_collected(CollectedStore(told), told.periods())
    while True:
        print(json.dumps(await _collected(registry)), flush=True)
        await asyncio.sleep(chance.random() * _LONGEST_REST)


async def _collected(registry: Registry) -> dict[str, Any]:
    removed, began = Counter[str](), time.monotonic()

    def observe(removal: Removal, outcome: Outcome) -> None:
        removed[f"{removal.step} {removal.key.partition('/')[0]} {outcome}"] += 1

    try:
        result = await registry.collector.run(observe=observe)
    except (Busy, Unavailable) as error:
        return {"error": f"{type(error).__name__}: {error}", "removed": removed}
    return {
        "seconds": round(time.monotonic() - began, 2),
        "read": result.manifests_read,
        "problems": result.problems,
        "removed": removed,
    }


class Collectors:
    """Three processes: one that dies in the middle of what it does, one that stops there, and one that goes on beside them.

    The latter two have leases of their own, so that all three are under way at once. A context manager that starts and kills them.
    `grace` is in seconds.
    """

    def __init__(
        self,
        server: S3Server,
        bucket: str,
        directory: Path,
        capabilities: Capabilities,
        *,
        grace: float,
        sabotage: str = "",
    ) -> None:
        self._server = server
        self._log = directory / "collectors.log"
        self._grace = grace
        able = msgspec.to_builtins(capabilities)
        base = Configuration(server.endpoint, bucket, able, grace, seed=1, sabotage=sabotage)
        self._configurations = {
            "dying": msgspec.structs.replace(base, signal=signal.SIGKILL),
            "stopping": msgspec.structs.replace(base, seed=2, lease="collector/lease-stopping", signal=signal.SIGSTOP),
            "beside": msgspec.structs.replace(base, seed=3, lease="collector/lease-beside"),
        }
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.counts: Counter[str] = Counter()

    async def disturb(self, stop: asyncio.Event) -> None:
        """Wake the one that has stopped, if need be after more than a grace period, and start the one that has died, until told to stop."""
        tasks = [asyncio.create_task(each) for each in (self._wake(), self._revive())]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def ended(self) -> list[str]:
        """Which of them have ended by themselves, with the end of what all of them said."""
        ended = [name for name, process in self._processes.items() if process.poll() not in {None, -signal.SIGKILL}]
        return [f"{name} has ended:\n{self._log.read_text()[-3000:]}" for name in ended]

    def reports(self) -> list[dict[str, Any]]:
        """What each collection brought; of what was killed, nothing."""
        return list(_reports(self._log.read_text().splitlines()))

    def removed(self) -> Counter[str]:
        """What all of them together removed, by step and outcome."""
        return sum((Counter(each["removed"]) for each in self.reports()), Counter())

    def __enter__(self) -> Self:
        for name in self._configurations:
            self._start(name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in self._configurations:
            self._end(name)

    async def _wake(self) -> None:
        chance = random.Random(5)
        process = psutil.Process(self._processes["stopping"].pid)
        while True:
            await asyncio.sleep(0.2)
            if process.status() == psutil.STATUS_STOPPED:
                self.counts["stopped"] += 1
                await asyncio.sleep(chance.choice((0.3, 0.6, 1.2)) * self._grace)
                process.send_signal(signal.SIGCONT)

    async def _revive(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            if self._processes["dying"].poll() == -signal.SIGKILL:
                self.counts["died"] += 1
                self._draw_seed("dying")
                self._start("dying")

    def _draw_seed(self, name: str) -> None:
        """Let it die elsewhere the next time."""
        told = self._configurations[name]
        self._configurations[name] = msgspec.structs.replace(told, seed=told.seed + 100)

    def _start(self, name: str) -> None:
        told = msgspec.json.encode(self._configurations[name]).decode()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MOORAGE_"))}
        with self._log.open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.fleet.collectors", told],
                cwd=ROOT,
                env=inherited | self._server.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _end(self, name: str) -> None:
        process = self._processes.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()


def _reports(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    """The lines that are reports; one that was cut by a kill is none."""
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


if __name__ == "__main__":
    asyncio.run(run(msgspec.json.decode(sys.argv[1], type=Configuration)))
