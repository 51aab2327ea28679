"""What a run has measured, as it is written to JSON, and what follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

import msgspec

ENOUGH = 0.05
"""CPU seconds of a turn: of less no ratio is made, for much of that is what a server does at all times."""


class Sample(msgspec.Struct, frozen=True):
    """One contender's turn in one round. CPU in seconds: of the server, of the load, and of the object store; memory in bytes, of any one process."""

    operations: float
    seconds: float
    cpu: float
    load_cpu: float
    store_cpu: float
    peak_rss: int

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds

    @property
    def cost(self) -> float:
        """CPU seconds of the server for an operation."""
        return self.cpu / self.operations


class Measured(msgspec.Struct, frozen=True):
    """A workload's samples, a contender's in the order of the rounds. `ours` is compared with the better of `theirs`."""

    name: str
    title: str
    unit: str
    ours: str
    theirs: tuple[str, ...]
    samples: dict[str, list[Sample]]
    least_rate: float | None = None
    most_cpu: float | None = None


class Machine(msgspec.Struct, frozen=True):
    """Where a run was made, and how busy the machine was with other things when it began."""

    processor: str
    cores: int
    memory_gib: int
    system: str
    python: str
    load_average: float


class Limit(msgspec.Struct, frozen=True):
    """Something that bounds everybody, by itself: how many a second, or how dear, in each round."""

    title: str
    unit: str
    values: list[float]


class Scaled(msgspec.Struct, frozen=True):
    """A workload on so many workers of one gateway, or gateways of one worker: `kind` says which."""

    kind: str
    count: int
    title: str
    unit: str
    samples: list[Sample]


EMBEDDED = "embedded"
"""The store on which growth was measured where results name none."""


class Grown(msgspec.Struct, frozen=True):
    """What an operation took on a registry of so many blobs, with so many tags in one repository, and so many repositories.

    Store requests and milliseconds for one, the median of several; memory in bytes, of the whole process when it was done.
    """

    operation: str
    blobs: int
    tags: int
    repositories: int
    requests: float
    milliseconds: float
    peak_rss: int
    store: str = EMBEDDED


class Results(msgspec.Struct, frozen=True):
    """A whole run; the date is its first day, and versions are by the name of the part."""

    date: str
    scale: str
    rounds: int
    machine: Machine
    versions: dict[str, str]
    workloads: list[Measured]
    limits: list[Limit] = []
    scaling: list[Scaled] = []
    growth: list[Grown] = []


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ours to theirs: of the medians, and the least and the most of any round."""

    value: float
    least: float
    most: float


def rates(measured: Measured) -> Ratio | None:
    """Throughput as a ratio to the best of theirs; None if nobody else takes part."""
    theirs = [[sample.rate for sample in measured.samples[name]] for name in measured.theirs]
    return _ratio([sample.rate for sample in measured.samples[measured.ours]], max(theirs, key=median, default=None))


def costs(measured: Measured) -> Ratio | None:
    """CPU of an operation as a ratio to the cheapest of theirs; None if nobody else takes part, or took enough to be told."""
    taken = [measured.samples[name] for name in measured.theirs]
    theirs = [[each.cost for each in samples] for samples in taken if median(each.cpu for each in samples) >= ENOUGH]
    return _ratio([sample.cost for sample in measured.samples[measured.ours]], min(theirs, key=median, default=None))


def undisturbed(measured: Measured) -> float | None:
    """CPU of an operation as a ratio, by the mean of the cheaper half of the rounds of either side; None if nobody else takes part.

    Whatever else a machine does makes an operation dearer, by taking the caches and the other half of a core, and hardly ever cheaper. On a
    busy machine this differs less from run to run than the ratio of the medians, or of the cheapest rounds alone.
    """
    theirs = [_cheaper_half(measured.samples[name]) for name in measured.theirs]
    return _cheaper_half(measured.samples[measured.ours]) / min(theirs) if theirs else None


def spread(values: Sequence[float]) -> Ratio:
    """The median of some values, with the least and the most of them."""
    return Ratio(median(values), min(values), max(values))


def as_json(results: Results) -> bytes:
    """The results as they are kept."""
    return msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"


def _cheaper_half(samples: Sequence[Sample]) -> float:
    return fmean(sorted(sample.cost for sample in samples)[: (len(samples) + 1) // 2])


def _ratio(ours: Sequence[float], theirs: Sequence[float] | None) -> Ratio | None:
    if theirs is None:
        return None
    rounds = [our / their for our, their in zip(ours, theirs, strict=True)]
    return Ratio(median(ours) / median(theirs), min(rounds), max(rounds))
