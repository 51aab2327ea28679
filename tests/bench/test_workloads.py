"""Each workload does what it says, on the real servers, in its smallest size."""

import asyncio

import pytest

from bench import growing
from bench.filling import fill
from bench.growth import MINIO, empty, grown
from bench.limits import limits
from bench.results import EMBEDDED, Grown
from bench.running import SMALLEST, Workload, measure
from bench.scaling import scaled
from bench.workloads import WORKLOADS
from tests.load import synthetic
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
        {each.operation: each for each in grown({EMBEDDED: [size]})}
        for size in ((1_000, 100, 10), (10_000, 5_000, 1_000))
    ]
    assert len(small) == 6
    for operation in small.keys() - {"a collection"}:
        assert small[operation].requests == large[operation].requests, operation
    assert large["a collection"].requests > small["a collection"].requests


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A synthetic registry of so few objects that a bucket is filled with them in seconds."""
    for name, value in {"OWN": 1, "MANIFESTS": 10, "_POOL": 100}.items():
        monkeypatch.setattr(synthetic, name, value)
    monkeypatch.setattr(growing, "TIMES", 10)


@pytest.mark.parts
@pytest.mark.usefixtures("little")
def test_growth_is_measured_over_minio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each operation MUST be done there too, and take as many store requests as on the embedded store."""

    def found(store: str) -> dict[str, Grown]:
        with empty(store) as (url, environment), monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            fill(url, 1_000, 200, 20)
            measured = asyncio.run(growing.measure(store, url, (1_000, 200, 20)))
        assert {each.store for each in measured} == {store}
        return {each.operation: each for each in measured}

    embedded, minio = found(EMBEDDED), found(MINIO)
    assert len(minio) == 6
    for operation in embedded.keys() - {"a collection"}:
        assert minio[operation].requests == embedded[operation].requests, operation
    assert minio["a collection"].requests >= 50  # a manifest's record each
