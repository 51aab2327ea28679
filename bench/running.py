"""Runs workloads: each on a fresh object store, the contenders in turns, round by round."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil

from bench import usage
from bench.contenders import CONTENDERS, DISTRIBUTION, MOORAGE, REDIRECTING, Place, Server, place, started
from bench.results import Measured, Sample
from tests.parts.servers import S3Server, minio

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is of everything, in how many rounds; `seconds` for what is measured by time."""

    name: str
    rounds: int
    layer_mib: int = 256
    layers: int = 400
    manifests: int = 200
    tags: int = 2000
    collected: int = 1000
    seconds: int = 5


FULL = Scale("full", 5)
QUICK = Scale("check", 3, layer_mib=64, layers=100, manifests=100, tags=500, collected=100, seconds=2)
SMALLEST = Scale("smallest", 1, layer_mib=1, layers=4, manifests=4, tags=12, collected=4, seconds=1)


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at, as ratios to distribution: throughput at least, CPU an operation at most."""

    rate: float | None = None
    cpu: float | None = None


@dataclass(slots=True)
class Turn:
    """One contender's turn in one round of a workload, which prepares what it needs and then measures once."""

    server: Server
    scale: Scale
    number: int
    directory: Path
    remembered: dict[str, Any]
    store: psutil.Process
    sample: Sample | None = None

    @property
    def repository(self) -> str:
        """A repository that no other round uses."""
        return f"bench/round-{self.number}"

    def once(self, name: str, make: Callable[[], Value]) -> Value:
        """What an earlier round has made on this server under this name, or what is made now."""
        if name not in self.remembered:
            self.remembered[name] = make()
        value: Value = self.remembered[name]
        return value

    @contextmanager
    def measured(self, operations: float, cpu: Callable[[], float] | None = None) -> Iterator["Meter"]:
        """Measure the block, in which so many operations are done. `cpu` tells the server's, if that is not the one that serves."""
        cpu = cpu or partial(usage.cpu_of, self.server.pid)
        meter = Meter(operations)
        store, load, busy, began = _cpu(self.store), usage.own_cpu(), cpu(), time.monotonic()
        yield meter
        seconds = meter.seconds or time.monotonic() - began
        self.sample = Sample(
            operations=meter.operations,
            seconds=seconds,
            cpu=max(meter.cpu or cpu() - busy, usage.TICK),
            load_cpu=usage.own_cpu() - load,
            store_cpu=_cpu(self.store) - store,
            peak_rss=usage.peak_of(self.server.pid),
        )

    @contextmanager
    def another(self) -> Iterator[Server]:
        """A second process of the same kind, over the same bucket."""
        with (
            place(self.directory / "another", self.server.place.minio, self.server.place.bucket) as there,
            started(self.server.contender, there) as server,
        ):
            yield server


@dataclass(slots=True)
class Meter:
    """What the block knows better than a watch around it."""

    operations: float
    seconds: float | None = None
    cpu: float | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """What is measured: `run` is called for each contender in each round. `unit` is what one operation is called."""

    name: str
    title: str
    unit: str
    run: Callable[[Turn], None]
    target: Target = field(default_factory=Target)
    ours: str = MOORAGE
    theirs: tuple[str, ...] = (DISTRIBUTION, REDIRECTING)


def measure(workload: Workload, scale: Scale) -> Measured:
    """Run a workload: every contender once a round, in the same order."""
    names = (workload.ours, *workload.theirs)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        store, process = stack.enter_context(_object_store(directory / "minio"))
        turns = {name: _begin(stack, name, number, directory, store) for number, name in enumerate(names)}
        samples: dict[str, list[Sample]] = {name: [] for name in names}
        for number in range(scale.rounds):
            for name, (server, remembered) in turns.items():
                turn = Turn(server, scale, number, directory / f"{name} {number}", remembered, process)
                turn.directory.mkdir()
                workload.run(turn)
                assert turn.sample is not None, f"{workload.name} has measured nothing"  # noqa: S101 - a workload's bug
                samples[name].append(turn.sample)
    target = workload.target
    return Measured(
        workload.name, workload.title, workload.unit, workload.ours, workload.theirs, samples, target.rate, target.cpu
    )


def _begin(stack: ExitStack, name: str, number: int, directory: Path, store: S3Server) -> tuple[Server, dict[str, Any]]:
    """Start a contender over a bucket of its own."""
    there: Place = stack.enter_context(place(directory / name, store, store.create_bucket(f"contender-{number}")))
    return stack.enter_context(started(CONTENDERS[name], there)), {}


@contextmanager
def _object_store(directory: Path) -> Iterator[tuple[S3Server, psutil.Process]]:
    """MinIO, and its process."""
    directory.mkdir()
    before = set(psutil.Process().children())
    with minio(directory) as server:
        (process,) = set(psutil.Process().children()) - before
        yield server, process


def _cpu(process: psutil.Process) -> float:
    times: Sequence[float] = process.cpu_times()
    return times[0] + times[1]
