"""Measures a block: time, and what servers, load and object store take of the CPU meanwhile."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench import usage
from bench.results import Sample


@dataclass(slots=True)
class Meter:
    """What the block may know better than a watch around it: how much it did, in how many seconds, for how many of CPU."""

    operations: float = 0
    seconds: float | None = None
    cpu: float | None = None
    result: Sample | None = None

    def sample(self) -> Sample:
        """What was measured."""
        assert self.result is not None, "nothing was measured"  # noqa: S101 - a bug of who asks
        return self.result


@contextmanager
def measured(
    meter: Meter, servers: Sequence[int], store: int, cpu: Callable[[], float] | None = None
) -> Iterator[Meter]:
    """Measure the block for these processes; `cpu` tells the servers' CPU seconds, if they are not those that serve."""

    def busy() -> tuple[float, float, float]:
        of_servers = cpu() if cpu else sum(map(usage.cpu_of, servers))
        return of_servers, usage.own_cpu(), usage.cpu_of(store)

    before, began = busy(), time.monotonic()
    yield meter
    seconds = time.monotonic() - began
    spent = [after - so_far for after, so_far in zip(busy(), before, strict=True)]
    meter.result = Sample(
        operations=meter.operations,
        seconds=seconds if meter.seconds is None else meter.seconds,
        cpu=spent[0] if meter.cpu is None else meter.cpu,
        load_cpu=spent[1],
        store_cpu=spent[2],
        peak_rss=max(map(usage.peak_of, servers)),
    )
