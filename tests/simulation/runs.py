"""Runs of seeds: one after the other, what failed and how, and the same failure made small."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tests.simulation.choosers import Replay, SeededChooser
from tests.simulation.model import Violation
from tests.simulation.plan import Plan, Script, drawn
from tests.simulation.simulation import Chooser, Decision, Simulation

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Run:
    """A simulation that has ended. `wrong` is what it violated; `decisions` repeat it."""

    plan: Plan
    decisions: tuple[Decision, ...]
    operations: int
    wrong: str | None
    notes: Sequence[str] = ()

    def __str__(self) -> str:
        return "\n".join([f"seed {self.plan.seed}: {self.wrong}", f"{self.plan}", *self.notes])


def simulate(plan: Plan, chooser: Chooser | None = None, *, verbose: bool = False) -> Run:
    """Run a plan; what a bug of the code raises counts as a violation too."""
    simulation = Simulation(plan, chooser or SeededChooser(plan), verbose=verbose)
    wrong = None
    try:
        simulation.run()
    except Violation as violation:
        wrong = str(violation)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is found
        wrong = f"{error!r} came out of it"
    return Run(plan, tuple(simulation.decisions), simulation.model.operations, wrong, tuple(simulation.notes))


def seeds(numbers: Sequence[int], profile: str | None = None) -> Iterator[Run]:
    """The runs of some seeds."""
    for number in numbers:
        yield simulate(drawn(number, profile))


def shrunk(run: Run) -> Run:
    """A smaller plan and fewer decisions that violate something too, with its trace: no script, act, fault or step is left to spare."""
    smaller = _step(run)
    while smaller is not None:
        run, smaller = smaller, _step(smaller)
    return simulate(run.plan, Replay(run.decisions), verbose=True)


def _step(run: Run) -> Run | None:
    """A run with something less, None if all of it is needed."""
    for plan in _smaller_plans(run.plan):
        tried = simulate(plan, Replay(run.decisions))
        if tried.wrong is not None:
            return tried
    calm: Sequence[Decision] = [
        (kind, name, number, "answer", seconds) for kind, name, number, _, seconds in run.decisions
    ]
    quiet = [decision for decision in run.decisions if decision[0] not in {"kill", "late"}]
    for decisions in (calm, quiet, *_shorter(run.decisions)):
        if list(decisions) != list(run.decisions):
            tried = simulate(run.plan, Replay(decisions))
            if tried.wrong is not None and _weight(tried) < _weight(run):
                return tried
    return None


def _weight(run: Run) -> tuple[int, int]:
    """What is to become less: steps, and faults among them."""
    return len(run.decisions), sum(kind != "go" or fate != "answer" for kind, _, _, fate, _ in run.decisions)


def _smaller_plans(plan: Plan) -> Iterator[Plan]:
    for scripts in _without_one(plan.scripts):
        yield replace(plan, scripts=scripts)
    for past in _without_one(plan.past):
        yield replace(plan, past=past)
    for at, script in enumerate(plan.scripts):
        for acts in _without_one(script.acts):
            yield replace(plan, scripts=_with(plan.scripts, at, Script(script.name, acts)))


def _with(scripts: tuple[Script, ...], at: int, script: Script) -> tuple[Script, ...]:
    return (*scripts[:at], script, *scripts[at + 1 :])


def _without_one(items: tuple[Item, ...]) -> Iterator[tuple[Item, ...]]:
    for at in range(len(items)):
        yield (*items[:at], *items[at + 1 :])


def _shorter(decisions: Sequence[Decision]) -> Iterator[Sequence[Decision]]:
    """Without halves, quarters and so on of the decisions (delta debugging: Zeller and Hildebrandt, 2002)."""
    size = len(decisions) // 2
    while size:
        for at in range(0, len(decisions), size):
            yield [*decisions[:at], *decisions[at + size :]]
        size //= 2


def first_wrong(runs: Iterator[Run], heard: Callable[[Run], None]) -> Run | None:
    """The first run that violates something; `heard` is told of each."""
    for run in runs:
        heard(run)
        if run.wrong is not None:
            return run
    return None


def some(numbers: Sequence[int]) -> tuple[int, int, int, int | None]:
    """Seeds, operations and steps of some seeds, and the first that failed."""
    operations = steps = 0
    for count, number in enumerate(numbers, 1):
        run = simulate(drawn(number))
        operations, steps = operations + run.operations, steps + len(run.decisions)
        if run.wrong is not None:
            return count, operations, steps, number
    return len(numbers), operations, steps, None
