"""Runs workloads: each on a fresh object store, the contenders in turns, round by round."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil

from bench.contenders import CONTENDERS, DISTRIBUTION, MOORAGE, REDIRECTING, Place, Server, place, started
from bench.meter import Meter, measured
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
QUICK = Scale("check", 5, layer_mib=32, layers=50, manifests=50, tags=200, collected=100, seconds=1)
SMALLEST = Scale("smallest", 1, layer_mib=1, layers=4, manifests=4, tags=12, collected=4, seconds=1)


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at, as ratios to distribution: throughput at least, CPU an operation at most.

    `--check` fails above `bearable`, which is a quarter more than the target, unless the target is known to be missed: docs/performance.md.
    """

    rate: float | None = None
    cpu: float | None = None
    known: float | None = None

    @property
    def bearable(self) -> float | None:
        """The most CPU an operation with which nothing is wrong that is not known."""
        return self.known or (self.cpu and self.cpu * 1.25)


@dataclass(slots=True)
class Turn:
    """One contender's turn in one round of a workload, which prepares what it needs and then measures once."""

    server: Server
    scale: Scale
    number: int
    directory: Path
    remembered: dict[str, Any]
    store: int
    meter: Meter = field(default_factory=Meter)

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

    def measured(self, operations: float, cpu: Callable[[], float] | None = None) -> AbstractContextManager[Meter]:
        """Measure the block, in which so many operations are done. `cpu` tells the server's, if that is not the one that serves."""
        self.meter.operations = operations
        return measured(self.meter, [self.server.pid], self.store, cpu)

    @contextmanager
    def another(self) -> Iterator[Server]:
        """A second process of the same kind, over the same bucket."""
        with (
            place(self.directory / "another", self.server.place.minio, self.server.place.bucket) as there,
            started(self.server.contender, there) as server,
        ):
            yield server


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
        store, process = stack.enter_context(object_store(directory / "minio"))
        turns = {name: _begin(stack, name, number, directory, store) for number, name in enumerate(names)}
        samples: dict[str, list[Sample]] = {name: [] for name in names}
        for number in range(scale.rounds):
            for name, (server, remembered) in turns.items():
                turn = Turn(server, scale, number, directory / f"{name} {number}", remembered, process)
                turn.directory.mkdir()
                workload.run(turn)
                samples[name].append(turn.meter.sample())
    return Measured(
        name=workload.name,
        title=workload.title,
        unit=workload.unit,
        ours=workload.ours,
        theirs=workload.theirs,
        samples=samples,
        least_rate=workload.target.rate,
        most_cpu=workload.target.cpu,
    )


def _begin(stack: ExitStack, name: str, number: int, directory: Path, store: S3Server) -> tuple[Server, dict[str, Any]]:
    """Start a contender over a bucket of its own."""
    there: Place = stack.enter_context(place(directory / name, store, store.create_bucket(f"contender-{number}")))
    return stack.enter_context(started(CONTENDERS[name], there)), {}


@contextmanager
def object_store(directory: Path) -> Iterator[tuple[S3Server, int]]:
    """MinIO, and its process id."""
    directory.mkdir()
    before = set(psutil.Process().children())
    with minio(directory) as server:
        (process,) = set(psutil.Process().children()) - before
        yield server, process.pid
