"""Writes into docs/performance.md, between two marks, and beside it what the results in docs/performance/ say."""

from pathlib import Path

import msgspec

from bench.charts import Bar, chart
from bench.lines import Line, lines
from bench.results import EMBEDDED, Results, costs, rates
from bench.running import FULL
from bench.tables import figures, growth, limits, ratios, scaling

DOCS = Path(__file__).parents[1] / "docs"
PAGE, DIRECTORY = DOCS / "performance.md", DOCS / "performance"
RESULTS = DIRECTORY / "results.json"
BEGIN, END = "<!-- out of a run: begin -->\n", "<!-- out of a run: end -->\n"


def write() -> None:
    """Write the page and its charts."""
    for path, content in files(kept()).items():
        path.write_text(content, "utf-8")


def files(results: Results) -> dict[Path, str]:
    """What the files must be for these results, by path."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return {
        PAGE: f"{before}{BEGIN}\n{generated(results)}\n{END}{after}",
        DIRECTORY / "throughput.svg": chart(
            "Throughput of moorage, distribution being 1: more is better", _rates(results)
        ),
        DIRECTORY / "cpu.svg": chart(
            "CPU of moorage for an operation, distribution's being 1: less is better", _costs(results)
        ),
        DIRECTORY / "growth.svg": lines(
            f"Milliseconds for an operation, by the number of blobs{_dashes(results)}", _growth(results)
        ),
    }


def kept() -> Results:
    """The results that the page shows."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Results)


def generated(results: Results) -> str:
    """The part of the page that follows from a run."""
    machine = results.machine
    versions = ", ".join(f"{name} {version.rpartition('@')[2]}" for name, version in results.versions.items())
    where = f"{machine.cores} cores of {machine.processor}, {machine.memory_gib} GiB, {machine.system}, Python {machine.python}"
    told = [
        f"Run of {results.date} at scale *{results.scale}*, {results.rounds} rounds: {where}; load average",
        f"{machine.load_average:g} when it began. With {versions}.",
        *_warning(results),
        "",
        ratios(results),
        "![Throughput as ratios](performance/throughput.svg)",
        "",
        "![CPU as ratios](performance/cpu.svg)",
        "",
        "Medians, and the least and the most of the rounds; CPU for an operation, memory of the largest process.",
        "",
        figures(results),
        "## Limits",
        "",
        "What bounds everybody, measured in the same run.",
        "",
        limits(results),
        "## Several workers and gateways",
        "",
        "On a machine of few cores throughput cannot grow much; CPU for an operation should not either.",
        "",
        scaling(results),
        "## How it grows",
        "",
        "Through the whole application in one process, each operation on things that it had not seen before.",
        *_no_past(results),
        "",
        "![Time by size](performance/growth.svg)",
        "",
        growth(results),
    ]
    return "\n".join(told)


def _warning(results: Results) -> list[str]:
    if results.scale == FULL.name:
        return []
    return ["", "**This is no full run**: there is less of everything than the names of the workloads say."]


def _rates(results: Results) -> list[Bar]:
    found = [(each, rates(each)) for each in results.workloads]
    return [Bar(each.name, ratio, each.least_rate, ratio.value >= 1) for each, ratio in found if ratio]


def _costs(results: Results) -> list[Bar]:
    found = [(each, costs(each)) for each in results.workloads]
    return [Bar(each.name, ratio, each.most_cpu, ratio.value <= 1) for each, ratio in found if ratio]


def _elsewhere(results: Results) -> list[str]:
    """The stores on which growth was measured beside the embedded one."""
    return sorted({each.store for each in results.growth} - {EMBEDDED})


def _dashes(results: Results) -> str:
    return "".join(f"; dashed: over {store}" for store in _elsewhere(results))


def _no_past(results: Results) -> list[str]:
    return [
        f"Over {store} all of it has just been put there, so that a collection finds nothing old enough to go, and only reads."
        for store in _elsewhere(results)
    ]


def _growth(results: Results) -> list[Line]:
    points = dict[tuple[str, str], list[tuple[float, float]]]()
    for each in results.growth:
        points.setdefault((each.operation, each.store), []).append((each.blobs, each.milliseconds))
    return [Line(operation, found, dashed=store != EMBEDDED) for (operation, store), found in points.items()]
