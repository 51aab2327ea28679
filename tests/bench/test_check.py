"""CPU of an operation is bearable, as a ratio to distribution beside it; and the check that says so can fail."""

from collections.abc import Callable, Iterator

import msgspec
import pytest

import bench.check
from bench.check import TRIES, check, checks, too_much
from bench.results import Measured, Sample, undisturbed
from bench.running import QUICK, Scale, Workload

WORKLOAD = next(each for each in checks() if each.name == "2")


@pytest.mark.parts
@pytest.mark.parametrize("workload", [pytest.param(each, id=each.name) for each in checks()])
def test_cpu_of_an_operation_is_bearable(workload: Workload, record_property: Callable[[str, object], None]) -> None:
    """CPU that moorage takes for an operation MUST be bearable beside what distribution takes: docs/performance.md, What holds it."""
    bearable = workload.target.bearable
    measured = check(workload, QUICK)
    found = undisturbed(measured)
    assert found is not None
    record_property(f"CPU beside distribution's, {workload.name}", f"{found:.2f} times, {bearable:g} is bearable")
    assert too_much(measured, bearable) == []


def samples(*costs: float) -> list[Sample]:
    """Rounds of 100 operations, which take so many milliseconds of CPU each."""
    return [Sample(100, 1, cost / 10, 0.1, 0.2, 50 * 1024**2) for cost in costs]


def measured_as(ours: tuple[float, ...], theirs: tuple[float, ...]) -> Measured:
    """A workload of which an operation took so many milliseconds in each round."""
    of = {WORKLOAD.ours: samples(*ours), WORKLOAD.theirs[0]: samples(*theirs)}
    return Measured(WORKLOAD.name, WORKLOAD.title, WORKLOAD.unit, WORKLOAD.ours, WORKLOAD.theirs, of)


BAD, GOOD = measured_as((6, 9, 6), (10, 10, 12)), measured_as((20, 4, 30, 4.5), (9, 8, 20))


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> list[Measured]:
    """What is measured next, instead of a real run."""
    waiting = list[Measured]()
    left: Iterator[Measured] = iter(waiting)

    def measure(workload: Workload, scale: Scale) -> Measured:
        assert (workload, scale) == (WORKLOAD, QUICK)
        return next(left)

    monkeypatch.setattr(bench.check, "measure", measure)
    return waiting


def test_the_cheaper_half_of_the_rounds_is_compared() -> None:
    """Rounds that something else made dear MUST NOT count, on neither side; without another side there is no ratio."""
    assert undisturbed(BAD) == pytest.approx(0.6)
    assert undisturbed(GOOD) == pytest.approx(0.5)
    assert undisturbed(measured_as((1, 9), (2, 8))) == pytest.approx(0.5)
    assert undisturbed(msgspec.structs.replace(GOOD, theirs=())) is None


def test_what_is_worse_fails_every_try(outcomes: list[Measured]) -> None:
    """A check MUST fail when all tries do, and say by how much: it would be no check otherwise."""
    outcomes += [BAD] * TRIES
    told = list[Measured]()
    found = check(WORKLOAD, QUICK, told.append)
    assert told == [BAD] * TRIES
    assert too_much(found, WORKLOAD.target.bearable) == [
        "2: an operation takes 0.60 times the CPU that it takes distribution, in the cheaper half of the rounds of either; 0.5 is bearable"
    ]


def test_one_good_try_is_enough(outcomes: list[Measured]) -> None:
    """A try that was disturbed MUST NOT fail the check, and what is good MUST NOT be tried again."""
    outcomes += [BAD, GOOD, BAD]
    told = list[Measured]()
    assert check(WORKLOAD, QUICK, told.append) is GOOD
    assert told == [BAD, GOOD]
