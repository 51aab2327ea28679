"""A crash at every step, over the embedded store: a process that serves an operation is killed with SIGKILL, and another goes on."""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from storage.objects.embedded import EmbeddedStore
from tests.crash.acts import Notes
from tests.crash.dying import points
from tests.crash.operations import operations
from tests.crash.trials import Expected, check_crashed, check_finished, look, prepare
from tests.crash.victim import Named, Report, Task
from tests.protocol.serving import Clock, World

OPERATIONS = operations()
INSIDE = ["a large chunk and a small one", "a large manifest under another tag", "POST, PATCH, PUT"]

Kill = Callable[[Task], Report]


@pytest.fixture(scope="module")
def kill() -> Iterator[Kill]:
    """Lets a process of its own do a task; it is forked from one that has imported all."""
    command = [sys.executable, "-m", "tests.crash.victim"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:

        def run(task: Task) -> Report:
            assert parent.stdin is not None
            assert parent.stdout is not None
            parent.stdin.write(msgspec.json.encode(task) + b"\n")
            parent.stdin.flush()
            return msgspec.json.decode(parent.stdout.readline(), type=Report)

        yield run


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[World]:
    """The store in a directory, as the next process finds it."""
    clock, name = Clock(), directory.name
    store = await EmbeddedStore.open(directory, clock, Named(f"store {name}"))
    yield World(store, clock, Named(f"gateway {name}"))
    await store.close()


async def check_kills(name: str, home: Path, kill: Kill, *, inside: bool) -> int:
    """Kill at every step of an operation, and go on each time; how often it was."""
    operation = OPERATIONS[name]
    base = home / "base"
    async with opened(base) as world, world.gateway() as api:
        notes = await prepare(operation, api, world.store)
        before = await look(world.store, world.clock)
    whole = task_on(home / "whole", base, name, notes, inside=inside)
    report = kill(whole)
    assert (report.killed, report.told.acknowledged) == (False, True)
    async with opened(Path(whole.directory)) as world:
        after = await check_finished(operation, world.store, world.clock, None, 0)
    expected = Expected(before, after, report.told.requests or [])
    for point in points(expected.requests):
        task = task_on(home / f"{point.moment} {point.number}", base, name, notes, inside=inside)
        task.number, task.moment = point.number, point.moment
        report = kill(task)
        assert report.killed, point
        async with opened(Path(task.directory)) as world:
            await check_crashed(operation, world.store, world.clock, expected, 1)
            again = Notes(report.told.notes) | {"tried": "yes"}
            async with world.gateway() as api:
                await operation.act(api, again)
            await check_finished(operation, world.store, world.clock, expected, 1)
        shutil.rmtree(task.directory)
    return len(points(expected.requests))


def task_on(directory: Path, base: Path, name: str, notes: Notes, *, inside: bool) -> Task:
    """A task in a copy of what was prepared."""
    shutil.copytree(base, directory)
    return Task(name, str(directory), notes, inside=inside)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_kill_at_every_request(
    name: str, tmp_path: Path, kill: Kill, record_property: Callable[[str, object], None]
) -> None:
    """Wherever a process is killed, all invariants MUST hold, and a retry MUST lead to where no kill would have been noticed."""
    record_property("sum of kills over the embedded store", await check_kills(name, tmp_path, kill, inside=False))


@pytest.mark.parametrize("name", INSIDE)
async def test_a_kill_at_every_step_of_the_store(
    name: str, tmp_path: Path, kill: Kill, record_property: Callable[[str, object], None]
) -> None:
    """As above, between a file and its row, a row and the file that it replaces, and wherever else the store itself may die."""
    record_property("sum of kills inside of the embedded store", await check_kills(name, tmp_path, kill, inside=True))
