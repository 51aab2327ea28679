"""A process that has imported all it needs and waits, to fork others that die: `python -m tests.crash.victim`.

It reads a Task from each line of its input, lets a child of its own do that, and answers with a Report. The child serves an operation in
process, over the embedded store, and kills itself with SIGKILL where it is told to.
"""

import asyncio
import hashlib
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog

from storage.objects.embedded import EmbeddedStore
from tests.crash import steps
from tests.crash.acts import Notes
from tests.crash.dying import DyingStore, Moment, Point
from tests.crash.operations import operations
from tests.crash.trials import attempt
from tests.protocol.serving import Clock, Nonces, World

OPERATIONS = operations()


class Task(msgspec.Struct):
    """An operation to do on the store in `directory`, and where to die: at request `number`, or at a step inside of the store."""

    operation: str
    directory: str
    notes: Notes
    number: int = 0
    moment: Moment = "before"
    inside: bool = False


class Told(msgspec.Struct):
    """What a child tells as it goes: its notes, and at the end the requests, or steps inside the store, that it made."""

    notes: Notes
    requests: list[str] | None = None
    acknowledged: bool = False


class Report(msgspec.Struct):
    """What became of a child."""

    killed: bool
    told: Told


class Named(Nonces):
    """Nonces that no other process draws."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def __call__(self) -> str:
        """The next one."""
        return hashlib.sha256(f"{self._name} {super().__call__()}".encode()).hexdigest()[:16]


class Noted(Notes):
    """Notes that are told as they are taken: what the client knows outlives the process that serves it."""

    def __init__(self, notes: Notes, pipe: int) -> None:
        super().__init__(notes)
        self._pipe = pipe

    def __setitem__(self, key: str, value: str) -> None:
        """Take a note."""
        super().__setitem__(key, value)
        tell(self._pipe, Told(dict(self)))


def kill() -> NoReturn:
    """Die as by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)
    raise AssertionError("it survived")


def tell(pipe: int, told: Told) -> None:
    """Write a line, so short that it is written whole."""
    os.write(pipe, msgspec.json.encode(told) + b"\n")


async def serve(task: Task, pipe: int) -> None:
    """Do the operation, and die at the point given."""
    clock, notes = Clock(), Noted(task.notes, pipe)
    inner = await EmbeddedStore.open(Path(task.directory), clock, Named(f"store {os.getpid()}"))
    store = DyingStore(inner, kill)
    point = Point(task.number, task.moment) if task.number else None
    async with World(store, clock, Named(f"gateway {os.getpid()}")).gateway() as api:
        with steps.counted(point if task.inside else None, kill) as done:
            acknowledged = await attempt(api, store, OPERATIONS[task.operation], notes, None if task.inside else point)
        tell(pipe, Told(dict(notes), done if task.inside else store.requests, acknowledged))
    await inner.close()


def child(task: Task, pipe: int) -> NoReturn:
    """What a forked process does, to its end; never back into the loop of the one that forked it."""
    status = 1
    try:
        asyncio.run(serve(task, pipe))
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())
        os._exit(status)


def run(task: Task) -> Report:
    """Fork a child, and wait for its end."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        child(task, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = pipe.read().splitlines()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in {0, -signal.SIGKILL}, status
    told = msgspec.json.decode(lines[-1], type=Told) if lines else Told(task.notes)
    return Report(status != 0, told)


def main() -> None:
    """Do one task a line."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(run(msgspec.json.decode(line, type=Task))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
