"""What follows from samples: medians, ratios, spreads, verdicts."""

from dataclasses import replace

import msgspec
import pytest
from click.testing import CliRunner

from bench.__main__ import _chosen, main
from bench.charts import Bar, chart
from bench.check import too_much
from bench.results import Measured, Ratio, Sample, costs, rates
from bench.running import Target
from bench.tables import line, short
from bench.workloads import CHECKED, WORKLOADS


def samples(*turns: tuple[float, float]) -> list[Sample]:
    """Turns of 100 operations; pairs of seconds and CPU seconds."""
    return [Sample(100, seconds, cpu, 0.1, 0.2, 50 * 1024**2) for seconds, cpu in turns]


MEASURED = Measured(
    name="2",
    title="layers",
    unit="layer",
    ours="moorage",
    theirs=("distribution", "redirecting"),
    samples={
        "moorage": samples((1, 0.2), (2, 0.3), (4, 0.1)),
        "distribution": samples((4, 0.4), (8, 0.4), (10, 0.5)),
        "redirecting": samples((8, 0.3), (10, 0.2), (12, 0.3)),
    },
    least_rate=4,
    most_cpu=0.5,
)


def test_ratios_compare_with_the_better_of_theirs() -> None:
    """Throughput MUST be compared with whoever is faster and CPU with whoever is cheaper, medians of all rounds, spread by round."""
    assert rates(MEASURED) == Ratio(4, 2.5, 4)
    ratio = costs(MEASURED)
    assert ratio is not None
    assert (ratio.value, ratio.least, ratio.most) == pytest.approx((2 / 3, 1 / 3, 1.5))


def test_no_ratio_is_made_of_next_to_nothing() -> None:
    """CPU that a server takes at all times MUST NOT be taken for a figure."""
    idle = MEASURED.samples | {name: samples((1, 0.01), (1, 0.02), (1, 0.03)) for name in MEASURED.theirs}
    assert costs(msgspec.structs.replace(MEASURED, samples=idle)) is None


def test_a_quarter_above_the_target_is_bearable() -> None:
    """Or what is known of a target that is missed; without a target everything is."""
    assert Target(1, 0.8).bearable == 1.0
    assert Target(1, 0.8, known=3).bearable == 3
    assert Target(1).bearable is None
    assert too_much(MEASURED, None) == []


def test_the_workloads_are_those_of_the_check() -> None:
    """Names MUST be unique, and the check hold every CPU target but those of one way of delivery or of variants."""
    names = [each.name for each in WORKLOADS]
    assert len(set(names)) == len(names)
    targeted = [each.name for each in WORKLOADS if each.target.cpu is not None]
    assert set(targeted) - set(CHECKED) == {"1 at once", "7 pages"}
    assert set(CHECKED) <= set(targeted)


def test_workloads_are_chosen_by_name_or_number() -> None:
    """`--only 1` MUST mean both of number 1 and not 10, a name one of them, and a name of none be an error that lists them all."""
    assert [each.name for each in _chosen(["1"], check=False)] == ["1 streamed", "1 at once"]
    assert [each.name for each in _chosen(["5 missing", "4"], check=True)] == ["4", "5 missing"]
    assert [each.name for each in _chosen([], check=True)] == list(CHECKED)
    refused = CliRunner().invoke(main, ["--only", "nope"])
    assert refused.exit_code == 2
    assert "no workload is called nope; there are 1 streamed, 1 at once, 2," in refused.output


def test_a_line_tells_the_outcome() -> None:
    """A terminal MUST show who did how much, and the ratios."""
    assert line(MEASURED) == (
        "2: moorage 50 layer/s (25 to 100) 2 ms; distribution 12.5 layer/s (10 to 25) 4 ms;"
        " redirecting 10 layer/s (8.33 to 12.5) 3 ms. Throughput 4× (2.5 to 4), CPU 0.667× (0.333 to 1.5)"
    )


@pytest.mark.parametrize(("number", "text"), [(1234.5, "1,234"), (99.96, "100"), (0.0123, "0.0123"), (1e-5, "1e-05")])
def test_numbers_are_short(number: float, text: str) -> None:
    """Three digits that count, as long as there are that many."""
    assert short(number) == text


def test_a_chart_shows_every_bar() -> None:
    """Each name and ratio MUST be in the chart, escaped, a bar that begins at 1, and the target's line."""
    bars = [Bar("4 & more", Ratio(4, 2, 8), 2, good=True), Bar("6", Ratio(0.5, 0.4, 0.6), None, good=False)]
    drawn = chart("Throughput", bars)
    assert "4 &amp; more" in drawn
    assert drawn.count("#2a7f62") == drawn.count("#b5482f") == 1
    assert drawn.count("#1f4fd8") == 1
    assert ">4×<" in drawn
    assert ">0.5×<" in drawn
    assert chart("Throughput", [replace(bars[0], ratio=Ratio(4, 2, 9))]) != chart("Throughput", bars[:1])
