"""The engine of the model: actors over a store, explored step by step, in every order in which their steps can happen.

Each request of an actor to the store is one atomic step; between two steps of an actor any other may step, and time may pass: the store's
clock ticks unless a request of a client would overrun its bound. States are compared as they are, not by a hash alone.
"""

import random
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.model.automaton import DONE, Automaton
from tests.model.steps import (
    Actor,
    Answer,
    Begin,
    Bound,
    Clock,
    Delete,
    Ended,
    Held,
    Nonce,
    Note,
    Over,
    Put,
    Request,
    Store,
    apply,
)

_LOCAL = (Clock, Nonce, Bound, Ended, Note)


@dataclass(frozen=True, slots=True)
class Part:
    """An actor in a scenario. It may crash right after any of its writes, and lose the answers to `losses` of them."""

    name: str
    actor: Actor
    crashes: bool = False
    losses: int = 0


@dataclass(frozen=True, slots=True)
class HasEnded:
    """A fact: this actor has come to its end, or crashed."""

    name: str


@dataclass(frozen=True, slots=True)
class Local:
    """Where an actor is: its control state, until when it is bounded, the answers it may lose, and the nonces it has drawn."""

    control: int
    deadline: int | None
    losses: int
    nonces: int = 0


Facts = frozenset[Hashable]
Label = tuple[str, Request | None, Hashable]
State = tuple[int, int, int, tuple[int, ...]]
"""The clock, and by number: the store, the facts, and each actor's Local."""


class Numbers:
    """Numbers for values, so that a state is a few small integers."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self.values: list[Any] = []

    def of(self, value: Hashable) -> int:
        """The number of a value."""
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an exploration found: a violation and the steps that lead to it, or none. `is_whole` if nothing was left out."""

    violation: str | None
    trace: tuple[Label, ...]
    states: int
    is_whole: bool

    def __str__(self) -> str:
        if self.violation is None:
            return f"nothing wrong in {self.states} states"
        return "\n".join([f"{self.violation}, after", *map(told, self.trace)])


def told(label: Label) -> str:
    """A step in words."""
    who, request, answer = label
    return f"  {who}: {request or ''} -> {answer}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who acts on what, until when, and what must hold: `invariant` in every state, `closing` once all have ended.

    Both are given the store, the facts and the clock, and return what is wrong, or None.
    """

    parts: tuple[Part, ...]
    store: Mapping[str, Held]
    invariant: Callable[[Store, Facts, int], str | None]
    ticks: int
    closing: Callable[[Store, Facts, int], str | None] | None = None


class Model:
    """A scenario being explored."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._parts = scenario.parts
        self._automata = [Automaton(part.actor) for part in scenario.parts]
        self._stores, self._facts, self._locals, self._answers = Numbers(), Numbers(), Numbers(), Numbers()
        self._applied: dict[tuple[int, int, int, int], list[tuple[int, int, int, bool]]] = {}
        self._settled: dict[tuple[int, int, int, int, int, int, bool], tuple[int, int]] = {}
        self._verdicts: dict[tuple[int, int, int], str | None] = {}
        self._closed: dict[tuple[int, int, int], str | None] = {}

    def explore(self, limit: int = 5_000_000) -> Verdict:
        """Every state that can be reached, nearest first, up to the first violation or `limit` states."""
        first = self._first()
        before: dict[State, tuple[State, Label] | None] = {first: None}
        waiting = deque([first])
        wrong = self._wrong(first)
        state = first
        while waiting and wrong is None and len(before) < limit:
            state = waiting.popleft()
            if wrong := self._wrong_at_end(state):
                break
            for label, successor in self._successors(state):
                if successor in before:
                    continue
                before[successor] = (state, label)
                if wrong := self._wrong(successor):
                    state = successor
                    break
                waiting.append(successor)
        return Verdict(wrong, _trace(before, state) if wrong else (), len(before), not waiting)

    def walk(self, seed: int, steps: int, ticking: float) -> Verdict:
        """Random walks of `steps` in all, whose actors have priorities that drop now and then, so that some sleep for long."""
        chance = random.Random(seed)
        taken = 0
        while taken < steps:
            state, trace = self._first(), list[Label]()
            ranks = {part.name: chance.random() for part in self._parts}
            drops = {chance.randrange(90) for _ in range(chance.randrange(6))}
            while successors := self._successors(state):
                label, state = _chosen(successors, ranks, chance, ticking)
                if len(trace) in drops:
                    ranks[label[0]] = -chance.random()
                trace.append(label)
                taken += 1
                if wrong := self._wrong(state) or self._wrong_at_end(state):
                    return Verdict(wrong, tuple(trace), taken, is_whole=False)
        return Verdict(None, (), taken, is_whole=False)

    def _first(self) -> State:
        facts, locals_ = self._facts.of(frozenset()), []
        for number, part in enumerate(self._parts):
            local, facts = self._settle(number, Local(self._automata[number].start, None, part.losses), facts, 0)
            locals_.append(local)
        return 0, self._stores.of(frozenset(self._scenario.store.items())), facts, tuple(locals_)

    def _wrong(self, state: State) -> str | None:
        return self._judged(self._scenario.invariant, self._verdicts, state)

    def _wrong_at_end(self, state: State) -> str | None:
        if self._scenario.closing is None or any(self._locals.values[each].control != DONE for each in state[3]):
            return None
        return self._judged(self._scenario.closing, self._closed, state)

    def _judged(
        self,
        judge: Callable[[Store, Facts, int], str | None],
        known: dict[tuple[int, int, int], str | None],
        state: State,
    ) -> str | None:
        clock, store, facts, _ = state
        key = (clock, store, facts)
        if key not in known:
            known[key] = judge(dict(self._stores.values[store]), self._facts.values[facts], clock)
        return known[key]

    def _successors(self, state: State) -> list[tuple[Label, State]]:
        clock, store, facts, locals_ = state
        found: list[tuple[Label, State]] = []
        may_tick = clock < self._scenario.ticks
        for number, local in enumerate(locals_):
            at: Local = self._locals.values[local]
            if at.control == DONE:
                continue
            if at.deadline is not None and at.deadline <= clock:
                may_tick = False
            part, request = self._parts[number], self._automata[number].requests[at.control]
            for answer, changed, losses, has_crashed in self._outcomes(number, local, store, clock):
                after, known = self._step(number, local, answer, losses, facts, clock, has_crashed)
                label = (part.name, request, "crash" if has_crashed else self._answers.values[answer])
                found.append((label, (clock, changed, known, (*locals_[:number], after, *locals_[number + 1 :]))))
        if may_tick:
            found.append((("clock", None, clock + 1), (clock + 1, store, facts, locals_)))
        return found

    def _outcomes(self, number: int, local: int, store: int, clock: int) -> list[tuple[int, int, int, bool]]:
        """What an actor's next step may do: numbers of its answer and of the store after it, losses left, and whether it crashes."""
        key = (number, local, store, clock)
        if key not in self._applied:
            at: Local = self._locals.values[local]
            part = self._parts[number]
            outcomes = list[tuple[int, int, int, bool]]()
            request = self._automata[number].requests[at.control]
            answer, after = self._apply(request, store, clock)
            outcomes.append((self._answers.of(answer), after, at.losses, False))
            if isinstance(request, Put | Delete):
                if part.crashes and after != store:
                    outcomes.append((0, after, at.losses, True))
                if at.losses and isinstance(request, Put) and request.over is not Over.ANY:
                    lost = self._answers.of(Answer.LOST)
                    outcomes += [(lost, each, at.losses - 1, False) for each in {after, store}]
            self._applied[key] = outcomes
        return self._applied[key]

    def _apply(self, request: Request, store: int, clock: int) -> tuple[Hashable, int]:
        held = dict(self._stores.values[store])
        answer, after = apply(request, held, clock)
        return answer, store if after is held else self._stores.of(frozenset(after.items()))

    def _step(
        self, number: int, local: int, answer: int, losses: int, facts: int, clock: int, has_crashed: bool
    ) -> tuple[int, int]:
        key = (number, local, answer, losses, facts, clock, has_crashed)
        if key not in self._settled:
            at: Local = self._locals.values[local]
            request = self._automata[number].requests[at.control]
            deadline = clock + request.bound if isinstance(request, Begin) else at.deadline
            if has_crashed:
                self._settled[key] = self._end(number, facts)
            else:
                control = self._automata[number].advance(at.control, self._answers.values[answer])
                self._settled[key] = self._settle(number, Local(control, deadline, losses, at.nonces), facts, clock)
        return self._settled[key]

    def _settle(self, number: int, at: Local, facts: int, clock: int) -> tuple[int, int]:
        """Do what takes no step; returns the numbers of the actor's Local and of the facts."""
        automaton = self._automata[number]
        control, deadline, nonces = at.control, at.deadline, at.nonces
        while control != DONE:
            request = automaton.requests[control]
            answer: Hashable = None
            if not isinstance(request, _LOCAL):
                return self._locals.of(Local(control, deadline, at.losses, nonces)), facts
            match request:
                case Clock():
                    answer = clock
                case Nonce():
                    answer = f"{self._parts[number].name}{nonces}"
                    nonces += 1
                case Bound(ticks):
                    deadline = None if ticks is None else clock + ticks
                case Ended():
                    known = self._facts.values[facts]
                    answer = frozenset(fact.name for fact in known if isinstance(fact, HasEnded))
                case Note(fact):
                    facts = self._facts.of(self._facts.values[facts] | {fact})
            control = automaton.advance(control, answer)
        return self._end(number, facts)

    def _end(self, number: int, facts: int) -> tuple[int, int]:
        ended = self._facts.of(self._facts.values[facts] | {HasEnded(self._parts[number].name)})
        return self._locals.of(Local(DONE, None, 0, 0)), ended


def _chosen(
    successors: list[tuple[Label, State]], ranks: Mapping[str, float], chance: random.Random, ticking: float
) -> tuple[Label, State]:
    ticks = [each for each in successors if each[0][0] == "clock"]
    steps = [each for each in successors if each[0][0] != "clock"]
    if ticks and (not steps or chance.random() < ticking):
        return ticks[0]
    highest = max(ranks[label[0]] for label, _ in steps)
    return chance.choice([each for each in steps if ranks[each[0][0]] == highest])


def _trace(before: Mapping[State, tuple[State, Label] | None], state: State) -> tuple[Label, ...]:
    steps = list[Label]()
    while (step := before[state]) is not None:
        state, label = step
        steps.append(label)
    return tuple(reversed(steps))
