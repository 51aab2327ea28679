"""Who goes on next: drawn from a seed, or as it went before."""

import random
from collections.abc import Sequence

from tests.simulation.plan import DAY, HOUR, Plan
from tests.simulation.requests import Actor, Fate, Line, Request
from tests.simulation.simulation import Chooser, Decision, Simulation

_MOMENTS = (0.0, 0.0, 0.0, 0.02, 1.0, 5.0, 25.0, 50.0)
_CUTS = (100.0, 1200.0, 2 * HOUR, 25 * HOUR)
_PAUSES = (0.0, 1.0, 30.0, 70.0, 200.0, 950.0, 1000.0, HOUR + 10, 2 * HOUR, 2 * DAY + 2 * HOUR)
_GRACES = (0.9, 1.05, 1.05, 1.05, 2.1)


class SeededChooser(Chooser):
    """Draws each step.

    Either any actor goes on at any step, or, in the manner of PCT (Burckhardt et al., 2010), actors have priorities, which drop at a few
    random steps: so an actor may sleep through all that others do.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._chance = random.Random(f"steps {plan.seed}")
        self._priorities = {script.name: self._chance.random() for script in plan.scripts}
        self._count = 0
        self._doomed: Line | None = None

    def next(self, simulation: Simulation) -> Decision:
        """See Chooser."""
        chance, plan = self._chance, self._plan
        doomed, self._doomed = self._doomed, None
        if doomed is not None and chance.random() < plan.kills:
            for process in simulation.processes.values():
                if process.line is doomed:
                    return ("kill", process.name, 0, "answer", 0.0)
        ready = [actor for actor in simulation.actors if actor.waiting]
        dice = chance.random()
        if not ready or dice < plan.ticks:
            return ("pass", "", 0, "answer", self._time(ready))
        dice = chance.random()
        if dice < plan.kills / 10 and simulation.processes:
            return ("kill", chance.choice(list(simulation.processes)), 0, "answer", 0.0)
        if simulation.late and dice < 0.1:
            return ("late", "", chance.randrange(len(simulation.late)), "answer", 0.0)
        actor = self._actor(ready)
        number = chance.randrange(len(actor.waiting)) if len(actor.waiting) > 1 else 0
        request = actor.waiting[number]
        self._doomed = request.line if request.is_write else None
        return ("go", actor.name, number, self._fate(request), 0.0)

    def _time(self, ready: Sequence[Actor]) -> float:
        """Little while gateways are at work, since they are cut; anything while only collectors are."""
        if any(not actor.is_maintenance and actor.operation is not None for actor in ready):
            return self._chance.choice(_CUTS if self._chance.random() < 0.03 else _MOMENTS)
        if not ready:
            return 0.0
        return self._chance.choice((*_PAUSES, *(self._plan.grace * each for each in _GRACES)))

    def _actor(self, ready: Sequence[Actor]) -> Actor:
        if self._plan.drops is None:
            return self._chance.choice(ready)
        first = max(ready, key=lambda actor: self._priorities[actor.name])
        self._count += 1
        if self._count in self._plan.drops:
            self._priorities[first.name] = -self._chance.random()
        return first

    def _fate(self, request: Request) -> Fate:
        if request.line is None or request.stage != "asked":
            return "answer"
        chance, plan = self._chance, self._plan
        if chance.random() < plan.faults:
            fates: Sequence[Fate] = ("refuse", "break", "lose", "miss") if request.is_write else ("refuse",)
            return chance.choice(fates)
        return "hold" if chance.random() < plan.held else "answer"


class Replay(Chooser):
    """The decisions of an earlier run as far as they are possible, and then whoever is first, to the end."""

    def __init__(self, decisions: Sequence[Decision]) -> None:
        self._left = list(reversed(decisions))

    def next(self, simulation: Simulation) -> Decision:
        """See Chooser."""
        while self._left:
            decision = self._left.pop()
            if _is_possible(decision, simulation):
                return decision
        ready = next((actor for actor in simulation.actors if actor.waiting), None)
        if ready is None:
            return ("pass", "", 0, "answer", 0.0)
        return ("go", ready.name, 0, "answer", 0.0)


def _is_possible(decision: Decision, simulation: Simulation) -> bool:
    kind, name, _, _, _ = decision
    if kind == "go":
        return any(actor.name == name and actor.waiting for actor in simulation.actors)
    if kind == "kill":
        return name in simulation.processes
    if kind == "late":
        return bool(simulation.late)
    return True
