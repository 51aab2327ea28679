"""A process that collects a synthetic registry several times, a grace period apart, and prints what each time took as a line of JSON.

    python -m tests.load.collecting DIRECTORY LINKS

It writes the registry first, in a process that it ends before, so that the memory measured is that of collection alone.
"""

import asyncio
import json
import multiprocessing
import sys
import time
from collections import Counter
from pathlib import Path

from storage.objects.embedded import EmbeddedStore
from storage.periods import Periods
from storage.registry import Rules, open_registry
from storage.removals import Outcome, Removal
from storage.views import Epoch
from tests.load.synthetic import Synthetic
from tests.protocol.serving import START, Nonces

PASSES = 4
MIB = 1024 * 1024
_AGE = 30 * 24 * 3600.0  # of all that there is at first, in seconds


class _Time:
    """Goes on as real time does, from a time that no machine's clock changes, and may be moved on."""

    def __init__(self) -> None:
        self._ahead = START - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += seconds


def main(directory: Path, links: int) -> None:
    """Write, and collect."""
    writing = multiprocessing.get_context("spawn").Process(target=_write, args=(directory, links))
    writing.start()
    writing.join()
    assert writing.exitcode == 0
    asyncio.run(_collect(directory))


def _write(directory: Path, links: int) -> None:
    asyncio.run(_begin(directory))
    Synthetic(links, START - _AGE).write(directory)


async def _begin(directory: Path) -> None:
    store = await EmbeddedStore.open(directory, _Time(), Nonces())
    await open_registry(store, clock=_Time(), nonce=Nonces(), epoch=Epoch(), rules=Rules())
    await store.close()


async def _collect(directory: Path) -> None:
    clock, nonces = _Time(), Nonces()
    store = await EmbeddedStore.open(directory, clock, nonces)
    for _ in range(PASSES):
        registry = await open_registry(store, clock=clock, nonce=nonces, epoch=Epoch(), rules=Rules())
        removed = Counter[str]()

        def observe(removal: Removal, outcome: Outcome, removed: Counter[str] = removed) -> None:
            removed[f"{removal.step} {removal.key.partition('/')[0]} {outcome}"] += 1

        began, busy = time.monotonic(), time.process_time()
        result = await registry.collector.run(observe=observe)
        report = {
            "seconds": round(time.monotonic() - began, 1),
            "cpu": round(time.process_time() - busy, 1),
            "peak_mib": _peak() // MIB,
            "manifests_read": result.manifests_read,
            "problems": result.problems,
            "removed": removed,
        }
        sys.stdout.write(json.dumps(report) + "\n")
        sys.stdout.flush()
        clock.advance(Periods().grace + Periods().horizon)
    await store.close()


def _peak() -> int:
    """The most memory that this process ever held, in bytes; unlike ru_maxrss, not what its parent held when it was begun."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
