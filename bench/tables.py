"""Results as tables of Markdown."""

from collections.abc import Iterable, Sequence
from statistics import median

from bench.results import Measured, Ratio, Results, Sample, costs, rates, spread

_MS = 1000.0
_MIB = 1024 * 1024


def ratios(results: Results) -> str:
    """What this is about: throughput and CPU of moorage as ratios to distribution in its better mode, and the targets."""
    heads = ("workload", "throughput", "target", "CPU", "target")
    rows = [
        (
            f"{each.name}: {each.title}",
            _ratio(rates(each)),
            _verdict(rates(each), each.least_rate, at_least=True),
            _ratio(costs(each)),
            _verdict(costs(each), each.most_cpu, at_least=False),
        )
        for each in results.workloads
        if each.theirs
    ]
    return table(heads, rows)


def figures(results: Results) -> str:
    """Medians of all contenders, with the least and the most of the rounds."""
    heads = ("workload", "registry", "throughput", "CPU of the server", "of the load", "of MinIO", "peak RSS")
    rows = [
        (each.name, name, *_figures(each, samples))
        for each in results.workloads
        for name, samples in each.samples.items()
    ]
    return table(heads, rows)


def line(measured: Measured) -> str:
    """A workload's outcome in a line, for a terminal."""
    shown = f"{measured.name}: " + "; ".join(
        f"{name} {' '.join(_figures(measured, samples)[:2])}" for name, samples in measured.samples.items()
    )
    if not measured.theirs:
        return shown
    return f"{shown}. Throughput {_ratio(rates(measured))}, CPU {_ratio(costs(measured))}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its last line ended."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _figures(measured: Measured, samples: Sequence[Sample]) -> tuple[str, str, str, str, str]:
    costs_in_ms = [
        spread([cpu / sample.operations * _MS for cpu, sample in zip(each, samples, strict=True)])
        for each in ([s.cpu for s in samples], [s.load_cpu for s in samples], [s.store_cpu for s in samples])
    ]
    rate = spread([sample.rate for sample in samples])
    server, load, store = (f"{short(cost.value)} ms" for cost in costs_in_ms)
    return (
        f"{short(rate.value)} {measured.unit}/s ({short(rate.least)} to {short(rate.most)})",
        server,
        load,
        store,
        f"{median(sample.peak_rss for sample in samples) / _MIB:.0f} MiB",
    )


def _ratio(ratio: Ratio | None) -> str:
    return f"{short(ratio.value)}× ({short(ratio.least)} to {short(ratio.most)})" if ratio else ""


def _verdict(ratio: Ratio | None, target: float | None, *, at_least: bool) -> str:
    if ratio is None or target is None:
        return ""
    met = ratio.value >= target if at_least else ratio.value <= target
    return f"{'≥' if at_least else '≤'} {target:g}×: {'met' if met else '**missed**'}"


def short(number: float) -> str:
    """A number with three digits that count, without an exponent."""
    if number >= 100:  # noqa: PLR2004 - three digits
        return f"{number:,.0f}"
    return f"{number:.3g}" if number >= 0.001 else f"{number:.1g}"  # noqa: PLR2004 - of what is measured to a millisecond
