"""Each workload does what it says, on the real servers, in its smallest size."""

import pytest

from bench.running import SMALLEST, Workload, measure
from bench.workloads import WORKLOADS
from tests.parts.stores import marks

QUICK = (
    "1 streamed",
    "1 at once",
    "2",
    "3",
    "4",
    "5 existing",
    "5 missing",
    "6 proxied",
    "6 redirected",
    "7 pages",
    "8 one layer",
    "10 embedded",
    "11 first",
)


@pytest.mark.parametrize(
    "workload",
    [pytest.param(each, marks=marks("bench"), id=each.name) for each in WORKLOADS if each.name in QUICK],
)
def test_a_workload_runs(workload: Workload) -> None:
    """Every contender MUST do every operation; what fails is raised, and would not be a figure."""
    measured = measure(workload, SMALLEST)
    assert list(measured.samples) == [workload.ours, *workload.theirs]
    for (sample,) in measured.samples.values():
        assert sample.operations > 0
        assert sample.seconds > 0
        assert sample.cpu > 0
        assert sample.peak_rss > 1024**2
