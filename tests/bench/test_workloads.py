"""Each workload does what it says, on the real servers, in its smallest size."""

import pytest

from bench.growth import grown
from bench.limits import limits
from bench.running import SMALLEST, Workload, measure
from bench.scaling import scaled
from bench.workloads import WORKLOADS
from tests.parts.stores import marks

BENCH = marks("bench")


@pytest.mark.parametrize("workload", [pytest.param(each, marks=BENCH, id=each.name) for each in WORKLOADS])
def test_a_workload_runs(workload: Workload) -> None:
    """Every contender MUST do every operation: what fails is raised, for it would be no figure."""
    measured = measure(workload, SMALLEST)
    assert list(measured.samples) == [workload.ours, *workload.theirs]
    for (sample,) in measured.samples.values():
        assert sample.operations > 0
        assert sample.seconds > 0
        assert sample.peak_rss > 1024**2


@pytest.mark.parametrize("kind", [pytest.param("limits", marks=BENCH), pytest.param("scaling", marks=BENCH)])
def test_the_rest_of_a_run(kind: str) -> None:
    """Limits and scaling MUST be measured on every run, each as often as there are rounds."""
    if kind == "limits":
        assert all(value > 0 for limit in limits(SMALLEST) for value in limit.values)
        return
    found = scaled(SMALLEST, workers=[2], gateways=[3])
    assert [(each.kind, each.count) for each in found] == [("workers", 2)] * 2 + [("gateways", 3)] * 2
    assert all(len(each.samples) == SMALLEST.rounds and each.samples[0].operations > 0 for each in found)


@pytest.mark.xdist_group("load")
def test_reads_and_writes_of_one_thing_do_not_grow() -> None:
    """Store requests for one thing or one page MUST be as many on a large registry as on a small one."""
    small, large = [
        {each.operation: each for each in grown([size])} for size in ((1_000, 100, 10), (10_000, 5_000, 1_000))
    ]
    assert len(small) == 6
    for operation in small.keys() - {"a collection"}:
        assert small[operation].requests == large[operation].requests, operation
    assert large["a collection"].requests > small["a collection"].requests
