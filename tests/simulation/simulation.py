"""One run: the real registry and collector, step by step, with the invariants checked after each."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from storage import shelf as shelves
from storage.collection import verdicts
from storage.errors import Busy, MoorageError, Unavailable
from storage.periods import Periods
from storage.registry import Registry, Rules, open_registry
from storage.retention.policies import Policy, Rule
from storage.views import Epoch
from tests.simulation.bucket import Bucket, at_once
from tests.simulation.clients import Client
from tests.simulation.leftovers import leftovers
from tests.simulation.loop import VirtualLoop
from tests.simulation.model import START, Model, Operation, Violation
from tests.simulation.plan import DAY, Act, Plan
from tests.simulation.requests import ACTOR, Actor, Died, Fate, Line, Request, require_death

POLICY = Policy("tidy", ("**",), (Rule(untagged=True, expire_period=int(DAY)),), "ACTIVE")
LATE = 30.0  # seconds within which the store may still apply a request that nobody awaits any more
PATIENCE = 60.0  # seconds after which a gateway gives a request up

Decision = tuple[str, str, int, Fate, float]
"""What happens next: ("go", actor, which of its requests, fate, 0), ("pass", "", 0, "", seconds), ("kill", process, ...) or
("late", "", which, ...): a request that nobody awaits is applied."""


class Chooser:
    """Says what happens next."""

    def next(self, simulation: "Simulation") -> Decision:
        """One decision that is possible now."""
        raise NotImplementedError


@dataclass(eq=False)
class Process:
    """A gateway or a collector: its memory is gone when it dies."""

    name: str
    line: Line
    registry: Registry


@dataclass(frozen=True, slots=True)
class Late:
    """A request that nobody awaits, and until when the store may apply it."""

    request: Request
    until: float


class Simulation:
    """Runs a plan; raises Violation. `trace` has what was decided, `notes` what came of it as well, if they are wanted."""

    def __init__(self, plan: Plan, chooser: Chooser, *, verbose: bool = False) -> None:
        self.plan = plan
        self.loop = VirtualLoop()
        self.bucket = Bucket(self._time_of_store)
        self.bucket.declare(conditional_delete=plan.conditional_delete)
        self.periods = Periods(grace=plan.grace, upload_expiry=plan.upload_expiry)
        self.model = Model(self.bucket, self.periods, self.loop.time)
        self.actors = [Actor(script.name, script.is_maintenance) for script in plan.scripts]
        self.decisions: list[Decision] = []
        self.notes: list[str] = []
        self.late: list[Late] = []
        self.processes: dict[str, Process] = {}
        self._chooser = chooser
        self._verbose = verbose
        self._is_past = False
        self._births = 0
        self._past = Actor("past")

    def run(self) -> None:
        """All of it: the past, the steps, and what must be left in the end."""
        try:
            with self.loop.running(), _fixed(self.plan):
                self._do_past()
                self._do_scripts()
                self._finish()
        finally:
            self._bury()

    def next_of(self, actor: Actor) -> list[Request]:
        """The requests of an actor that wait."""
        return actor.waiting

    def note(self, text: str) -> None:
        """Add to the trace."""
        if self._verbose:
            self.notes.append(f"{self.loop.time():12.3f} {self._speaker():12} {text}")

    def _speaker(self) -> str:
        actor = ACTOR.get(None)
        return actor.name if actor else ""

    # Time and processes

    def _time_of_store(self) -> float:
        now = START + self.loop.time()
        return float(int(now)) if self.plan.whole_seconds else now

    def _born(self, name: str, skew: float) -> Process:
        """A new process of this name, which remembers nothing."""
        self._births += 1
        line = Line(self.bucket, self._ask, self._abandon, self.loop.time)
        nonces = random.Random(f"{self.plan.seed} {name} {self._births}")
        registry = at_once(
            open_registry(
                line,
                clock=lambda: START + self.loop.time() + skew,
                nonce=lambda: f"{nonces.getrandbits(64):016x}",
                epoch=Epoch(),
                rules=Rules(periods=self.periods),
            )
        )
        line.is_open = self._is_past
        self.processes[name] = process = Process(name, line, registry)
        return process

    def _gateway(self, number: int) -> Process:
        number %= len(self.plan.skews)
        name = f"gateway{number}"
        return self.processes.get(name) or self._born(name, self.plan.skews[number])

    def _kill(self, name: str) -> None:
        """All that the process was doing stops; the store may still apply what it has asked for."""
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.line.is_dead = True
        for actor in self.actors:
            for request in [request for request in actor.waiting if request.line is process.line]:
                actor.waiting.remove(request)
                self._let_go(request)
                request.fail(Died())

    # Requests

    def _ask(self, request: Request) -> None:
        request.actor.waiting.append(request)

    def _abandon(self, request: Request) -> None:
        """Its task was cancelled."""
        if request in request.actor.waiting:
            request.actor.waiting.remove(request)
            self._let_go(request)

    def _let_go(self, request: Request) -> None:
        if request.is_write and request.stage != "answered":
            self.late.append(Late(request, self.loop.time() + LATE))
            if request.operation is not None:
                self.model.loosen(request.operation, 1)

    def _forget_late(self, *, everything: bool = False) -> None:
        for each in [each for each in self.late if everything or each.until < self.loop.time()]:
            self._settle_late(each)

    def _settle_late(self, late: Late) -> None:
        self.late.remove(late)
        if late.request.operation is not None:
            self.model.loosen(late.request.operation, -1)

    async def _wait(self, actor: Actor, kind: str) -> None:
        """A step of an actor that is no request to the store."""
        if self._is_past:
            return
        future = self.loop.create_future()
        self._ask(Request(actor, None, kind, "", lambda: None, future, self.loop.time()))
        await future

    async def arrive(self, actor: Actor, gateway: int) -> Registry:
        """Wait until a request arrives at a gateway; its registry."""
        await self._wait(actor, "arrive")
        return self._gateway(gateway).registry

    async def dawdle(self, actor: Actor) -> None:
        """Wait until more of a body arrives."""
        await self._wait(actor, "dawdle")

    # The run

    def _do_past(self) -> None:
        self._is_past = True
        if self.plan.retains:
            self.loop.finish(self.loop.create_task(self._gateway(0).registry.policies.set([POLICY])))
        for act in self.plan.past:
            if act.kind == "pass":
                self.loop.advance(act.seconds)
            else:
                self.loop.finish(self._start(self._past, (act,)))
            self.model.check(None)
        self._is_past = False
        for process in self.processes.values():
            process.line.is_open = False
        self._require_no_failure()

    def _start(self, actor: Actor, acts: Sequence[Act]) -> Any:
        token = ACTOR.set(actor)
        try:
            return self.loop.create_task(self._perform(actor, acts))
        finally:
            ACTOR.reset(token)

    async def _perform(self, actor: Actor, acts: Sequence[Act]) -> None:
        client = Client(self, actor)
        for act in acts:
            if act.kind in {"collect", "rehearse", "retain"}:
                await self._maintain(actor, act)
            else:
                await client.perform(act)

    async def _maintain(self, actor: Actor, act: Act) -> None:
        """A run of the collector or the retention, in a process of its own."""
        await self._wait(actor, "arrive")
        process = self._born(f"process of {actor.name}", 0.0)
        actor.operation = operation = Operation(act.kind, actor.name, None, None, (), 0, self.loop.time())
        self.model.begin(operation)
        self.note(act.kind)
        try:
            problems = await _work(process.registry, act.kind)
        except (Died, BaseExceptionGroup) as error:
            require_death(error)
        except (Unavailable, Busy) as error:
            self.note(f"{act.kind}: {error!r}")
        except MoorageError as error:
            raise Violation(f"a {act.kind} ended in {error!r}") from error
        else:
            self.note(f"{act.kind}: done")
            if problems:
                raise Violation(f"a {act.kind} left something alone: {problems[0]}")
        finally:
            actor.operation = None
        self.model.end(operation, "failed")
        self.processes.pop(process.name, None)

    def _do_scripts(self) -> None:
        tasks = [self._start(actor, script.acts) for actor, script in zip(self.actors, self.plan.scripts, strict=True)]
        self.loop.settle()
        while not all(task.done() for task in tasks):
            self._step()
            for task in tasks:
                if task.done() and task.exception() is not None:
                    task.result()
        for task in tasks:
            task.result()
        self._forget_late(everything=True)
        self._require_no_failure()

    def _step(self) -> None:
        decision = self._chooser.next(self)
        self.decisions.append(decision)
        operation = self._apply(decision)
        self.loop.settle()
        self._end_impatient()
        self.model.check(operation)
        if self.late:
            self._forget_late()

    def _apply(self, decision: Decision) -> Operation | None:
        kind, name, number, fate, seconds = decision
        if kind == "pass":
            self._pass(seconds)
        elif kind == "kill":
            self._say(f"{name} dies")
            self._kill(name)
        elif kind == "late" and self.late:
            late = self.late[number % len(self.late)]
            late.request.perform()
            self._say(f"late {late.request.kind} {late.request.key} of {late.request.actor.name}")
            self._settle_late(late)
            return late.request.operation
        elif kind == "go":
            actor = next((actor for actor in self.actors if actor.name == name), None)
            if actor is not None and actor.waiting:
                return self._go(actor.waiting[number % len(actor.waiting)], fate)
        return None

    def _go(self, request: Request, fate: Fate) -> Operation | None:
        stage = request.stage
        if request.proceed(fate):
            request.actor.waiting.remove(request)
        if self._verbose:
            self._say_request(request, stage, fate)
        return request.operation

    def _say_request(self, request: Request, stage: str, fate: Fate) -> None:
        done = {"asked": fate, "answered": "answer arrives", "unknown": "read back"}[stage]
        told = "" if request.error is None else f" {type(request.error).__name__}"
        self.notes.append(
            f"{self.loop.time():12.3f} {request.actor.name:12} {request.kind:8} {_readable(request.key)} [{done}]{told}"
        )

    def _say(self, text: str) -> None:
        if self._verbose:
            self.notes.append(f"{self.loop.time():12.3f} {'':12} {text}")

    def _pass(self, seconds: float) -> None:
        """Let time pass; with 0, until the next timer."""
        if seconds == 0:
            due = self.loop.next_timer()
            seconds = 0.001 if due is None else max(0.0, due - self.loop.time())
        self.loop.advance(seconds)
        self._say(f"{seconds:g} s pass")

    def _end_impatient(self) -> None:
        """Gateways wait for a store only so long."""
        now = self.loop.time()
        for actor in self.actors:
            if actor.is_maintenance or not actor.waiting:
                continue
            for request in [each for each in actor.waiting if each.line and each.asked + PATIENCE < now]:
                actor.waiting.remove(request)
                self._let_go(request)
                request.fail(Unavailable("the store did not answer in time"))
        self.loop.settle()

    def _require_no_failure(self) -> None:
        if self.loop.failures:
            raise Violation(f"nobody handled: {self.loop.failures[0]}")

    def _finish(self) -> None:
        """Once everybody is gone, four collections a grace period apart leave what is referenced, and nothing else (I5)."""
        for name in list(self.processes):
            self._kill(name)
        self._is_past = True
        periods = self.periods
        pauses = (
            periods.upload_expiry + periods.skew + periods.last_words,
            periods.grace,
            periods.grace,
            periods.purge_age,
        )
        for number, pause in enumerate(pauses, 1):
            self.loop.advance(pause + 2 * PATIENCE)
            process = self._born("last collector", 0.0)
            run = process.registry.collector.run(offline=number == len(pauses))
            collection = self.loop.finish(self.loop.create_task(run))
            self.model.check(None)
            if collection.problems:
                raise Violation(f"the last collections left something alone: {collection.problems[0]}")
        self.model.check_all()
        left = leftovers(self.bucket, self.model.mirror)
        if left:
            raise Violation(f"I5: nothing references {left[0]}, and it is still there")
        self._require_no_failure()

    def _bury(self) -> None:
        """End what is left of every task, so that nothing of it outlives the run."""
        with self.loop.running():
            for process in self.processes.values():
                process.line.is_dead = True
            for actor in (*self.actors, self._past):
                for request in list(actor.waiting):
                    request.fail(Died())
                actor.waiting.clear()
            self.loop.settle()
        self.loop.close()


async def _work(registry: Registry, kind: str) -> Sequence[str]:
    """Do the maintenance; what it has left alone."""
    if kind == "retain":
        return (await registry.retention.run()).problems
    return (await registry.collector.run(dry_run=kind == "rehearse")).problems


@contextmanager
def _fixed(plan: Plan) -> Iterator[None]:
    """Have the pauses before another attempt drawn from the seed, and looks of the collector as long as the plan has it."""
    before = vars(shelves)["random"], verdicts.CHUNK
    vars(shelves)["random"] = random.Random(f"jitter {plan.seed}")
    verdicts.CHUNK = plan.chunk
    try:
        yield
    finally:
        vars(shelves)["random"], verdicts.CHUNK = before


def _readable(key: str) -> str:
    """A key with its digests and nonces cut short."""
    return "/".join(part[:8] if len(part) > 24 and "-" not in part else part for part in key.split("/"))
