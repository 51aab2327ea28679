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
        (each.name, name, *_figures(each.unit, samples))
        for each in results.workloads
        for name, samples in each.samples.items()
    ]
    return table(heads, rows)


def limits(results: Results) -> str:
    """What bounds everybody."""
    rows = [(each.title, _spread(spread(each.values), each.unit)) for each in results.limits]
    return table(("limit", "measured"), rows)


def scaling(results: Results) -> str:
    """Several workers and gateways: throughput, and CPU of an operation in all processes together."""
    heads = ("moorage", "workload", "throughput", "CPU of the servers", "of the load", "of MinIO")
    rows = [
        (
            f"{each.count} {each.kind if each.count > 1 else each.kind.removesuffix('s')}",
            each.title,
            *_figures(each.unit, each.samples)[:4],
        )
        for each in results.scaling
    ]
    return table(heads, rows)


def growth(results: Results) -> str:
    """What an operation takes, by the size of the registry."""
    heads = (
        "operation",
        "store",
        "blobs",
        "tags in the repository",
        "repositories",
        "store requests",
        "time",
        "peak RSS",
    )
    rows = [
        (
            each.operation,
            each.store,
            f"{each.blobs:,}",
            f"{each.tags:,}",
            f"{each.repositories:,}",
            short(each.requests),
            f"{short(each.milliseconds)} ms",
            f"{each.peak_rss / _MIB:.0f} MiB",
        )
        for each in sorted(results.growth, key=lambda each: each.operation)
    ]
    return table(heads, rows)


def line(measured: Measured) -> str:
    """A workload's outcome in a line, for a terminal."""
    shown = f"{measured.name}: " + "; ".join(
        f"{name} {' '.join(_figures(measured.unit, samples)[:2])}" for name, samples in measured.samples.items()
    )
    if not measured.theirs:
        return shown
    return f"{shown}. Throughput {_ratio(rates(measured))}, CPU {_ratio(costs(measured))}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its last line ended."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _figures(unit: str, samples: Sequence[Sample]) -> tuple[str, str, str, str, str]:
    costs_in_ms = [
        spread([cpu / sample.operations * _MS for cpu, sample in zip(each, samples, strict=True)])
        for each in ([s.cpu for s in samples], [s.load_cpu for s in samples], [s.store_cpu for s in samples])
    ]
    rate = spread([sample.rate for sample in samples])
    server, load, store = (f"{short(cost.value)} ms" for cost in costs_in_ms)
    return (
        _spread(rate, f"{unit}/s"),
        server,
        load,
        store,
        f"{median(sample.peak_rss for sample in samples) / _MIB:.0f} MiB",
    )


def _spread(values: Ratio, unit: str) -> str:
    return f"{short(values.value)} {unit} ({short(values.least)} to {short(values.most)})"


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
