"""The check of `scripts/bench --check` and of the tests: CPU of an operation, as a ratio to distribution in the same run, is bearable."""

from collections.abc import Callable
from dataclasses import replace

from bench.results import Measured, undisturbed
from bench.running import QUICK, Scale, Workload, measure
from bench.workloads import CHECKED, WORKLOADS

TRIES = 3


def checks() -> list[Workload]:
    """What is checked, with one contender a side, since distribution's ways of delivery differ in nothing that is looked at."""
    return [replace(each, theirs=each.theirs[:1]) for each in WORKLOADS if each.name in CHECKED]


def check(workload: Workload, scale: Scale = QUICK, tell: Callable[[Measured], object] = lambda _: None) -> Measured:
    """Measure until the CPU of an operation is bearable, three times at most; what was measured last. `tell` is told of each.

    What is worse is worse in each of the tries, whereas what another process did to the caches is not.
    """
    for _ in range(TRIES):
        measured = measure(workload, scale)
        tell(measured)
        if not too_much(measured, workload.target.bearable):
            break
    return measured


def too_much(measured: Measured, bearable: float | None) -> list[str]:
    """A sentence if a workload's CPU an operation, as a ratio, is above what is bearable."""
    ratio = undisturbed(measured)
    if ratio is None or bearable is None or ratio <= bearable:
        return []
    found = f"an operation takes {ratio:.2f} times the CPU that it takes distribution, in the cheaper half of the rounds of either"
    return [f"{measured.name}: {found}; {bearable:g} is bearable"]
