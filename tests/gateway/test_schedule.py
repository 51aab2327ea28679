"""Collections beside serving: one for all gateways, in a child that is never in the way and never left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from structlog.testing import capture_logs

from gateway import schedule
from gateway.due import LogReport, collect_when_due
from gateway.schedule import Schedule
from gateway.settings import Settings
from gateway.values import Duration
from storage.errors import Denied
from storage.objects.memory import MemoryStore
from storage.references import Digest
from storage.registry import Registry, Rules, open_registry
from storage.removals import Removal
from storage.retention.policies import Policy, Rule
from storage.views import Epoch
from tests.parts.gateway import ROOT, Gateway
from tests.protocol.documents import descriptor, image
from tests.protocol.serving import Clock, Nonces, World

DAY = 24 * 3600.0
WITHIN = 60.0
DAILY = Settings(gc_every=Duration(DAY))
OFTEN = Settings(gc_every=Duration(0.05))


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that comes; that it comes at all is tested, not when."""
    deadline = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def child(script: str, *arguments: Path) -> Sequence[str]:
    """A child that does this instead of collecting."""
    return [sys.executable, "-c", f"import os, signal, sys, time\n{script}", *map(str, arguments)]


async def registry_of(memory: MemoryStore, clock: Clock) -> Registry:
    """A process of some gateway."""
    return await open_registry(memory, clock=clock, nonce=Nonces(), epoch=Epoch(), rules=Rules())


async def test_one_collection_for_all_gateways() -> None:
    """Who comes second finds it done, and waits for the rest of the interval; only a whole interval later it is due again."""
    clock = Clock()
    memory = MemoryStore(clock)
    one, other = [await registry_of(memory, clock) for _ in range(2)]
    with capture_logs() as logs:
        assert await collect_when_due(one, DAILY, clock) == DAY
        clock.advance(3600)
        assert await collect_when_due(other, DAILY, clock) == DAY - 3600
        clock.advance(DAY - 3601)
        assert await collect_when_due(one, DAILY, clock) == 1
        clock.advance(1)
        assert await collect_when_due(other, DAILY, clock) == DAY
    assert [line["event"] for line in logs] == ["collected", "collected"]


async def test_policies_are_applied_first() -> None:
    """An image that a policy lets go is condemned by a scheduled run; a policy that was damaged is named, and stops no collection."""
    clock = Clock()
    memory = MemoryStore(clock)
    world = World(memory, clock)
    async with world.gateway() as api:
        await api.image("a", "1")
    registry = await registry_of(memory, clock)
    await registry.policies.set(
        [Policy("p", ("**",), (Rule(tag_regexp=".*", expire_period=int(DAY)),), status="ACTIVE")]
    )
    clock.advance(2 * DAY)
    with capture_logs() as logs:
        await collect_when_due(registry, DAILY, clock)
    assert [(line["event"], line.get("removed")) for line in logs] == [("collected", {"condemn": 1})]
    (key,) = [info.key async for info in memory.list("policies/")]
    await memory.put(key, b"damaged, and longer than a tombstone")
    clock.advance(2 * DAY)
    with capture_logs() as logs:
        await collect_when_due(registry, DAILY, clock)
    assert [line["event"] for line in logs] == ["retention not applied", "collected"]
    assert key in logs[0]["why"]


async def test_another_gateway_that_collects_just_now() -> None:
    """Is not waited for; it is looked at again soon, for it may die."""
    clock = Clock()
    memory = MemoryStore(clock)
    one, other = [await registry_of(memory, clock) for _ in range(2)]
    async with one.lease("collector").held():
        assert await collect_when_due(other, DAILY, clock) == 300
        assert await collect_when_due(other, Settings(gc_every=Duration(60)), clock) == 60


async def test_a_collection_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is no collection: it stays due. One by hand is as good as any, a dry run is not."""
    clock = Clock()
    memory = MemoryStore(clock)
    registry = await registry_of(memory, clock)
    await registry.collector.run(dry_run=True)

    async def denied(*_: object, **__: object) -> None:
        raise Denied("no")

    with monkeypatch.context() as patch:
        patch.setattr(registry.collector, "run", denied)
        with pytest.raises(Denied):
            await collect_when_due(registry, DAILY, clock)
    assert await collect_when_due(registry, DAILY, clock) == DAY
    clock.advance(DAY / 2)
    await registry.collector.run()
    assert await collect_when_due(registry, DAILY, clock) == DAY


async def test_a_clock_behind_the_stores() -> None:
    """Never makes it wait for longer than the interval."""
    clock, here = Clock(), Clock()
    memory = MemoryStore(clock)
    clock.advance(900)
    registry = await registry_of(memory, here)
    assert await collect_when_due(registry, DAILY, here) == DAY
    assert await collect_when_due(registry, DAILY, here) == DAY


async def test_what_the_log_says() -> None:
    """The sums, and a warning for each problem."""
    clock = Clock()
    memory = MemoryStore(clock)
    registry = await registry_of(memory, clock)
    await memory.put("data/what/is/this", b"")
    with capture_logs() as logs:
        await collect_when_due(registry, DAILY, clock)
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("left alone by the collection", "warning"),
        ("collected", "info"),
    ]
    assert "data/what/is/this" in logs[0]["problem"]
    assert (logs[1]["removed"], logs[1]["freed_bytes"]) == ({}, 0)


async def test_what_has_changed_meanwhile_was_not_removed() -> None:
    """The sums in the log MUST be of what went."""
    clock = Clock()
    registry = await registry_of(MemoryStore(clock), clock)
    report = LogReport()
    report.removed(Removal("bury", "one", "", 5), "changed")
    report.removed(Removal("delete", "other", "", 7), "done")
    with capture_logs() as logs:
        report.end(await registry.collector.run())
    assert (logs[0]["removed"], logs[0]["freed_bytes"]) == ({"delete": 1}, 7)


def test_children_come_one_after_the_other(tmp_path: Path) -> None:
    """Each says how long there is nothing to do; none is there when the schedule has ended. A terminal's Ctrl-C is for none of them."""
    book = tmp_path / "book"
    script = "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n' * (os.getpgrp() == os.getpid())); print(0.01)"
    with Schedule(OFTEN, child(script, book)):
        until(lambda: book.exists() and len(book.read_text().splitlines()) >= 3, "no third child")
    pids = [int(line) for line in book.read_text().splitlines()]
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_without_a_schedule(tmp_path: Path) -> None:
    """Nothing is started."""
    with Schedule(Settings(), child("open(sys.argv[1], 'w')", tmp_path / "book")):
        pass
    assert not (tmp_path / "book").exists()


@pytest.mark.parametrize(
    "script", ["sys.exit(3)", "print(9); sys.exit(3)", "print('nonsense')", "os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_a_child_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Is in the log, and is followed by another one."""
    monkeypatch.setattr(schedule, "AGAIN", 0.01)
    book = tmp_path / "book"
    with capture_logs() as logs, Schedule(OFTEN, child(f"open(sys.argv[1], 'a').write('x')\n{script}", book)):
        until(lambda: book.exists() and len(book.read_text()) >= 2, "no second child")
    assert {line["event"] for line in logs} == {"a collection failed"}


def test_a_child_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without memory or processes for it MUST NOT end the schedule: it is tried again."""
    monkeypatch.setattr(schedule, "AGAIN", 0.01)
    with capture_logs() as logs, Schedule(OFTEN, ["/nowhere/python"]):
        until(lambda: len(logs) >= 2, "no second attempt")
    assert {line["event"] for line in logs} == {"a collection could not be started"}
    assert "/nowhere/python" in logs[0]["why"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_the_end_ends_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool) -> None:
    """By SIGTERM, which it may heed in its own way, and by SIGKILL if it does not; that is no failure."""
    monkeypatch.setattr(schedule, "ENDS_WITHIN", 0.2 if stubborn else 30)
    book = tmp_path / "book"
    heed = "signal.SIG_IGN" if stubborn else "lambda *_: sys.exit(open(sys.argv[1], 'w').write('ended'))"
    script = (
        f"signal.signal(signal.SIGTERM, {heed}); open(sys.argv[1], 'w').write(str(os.getpid()))\nwhile 1: time.sleep(9)"
    )
    with capture_logs() as logs, Schedule(OFTEN, child(script, book)):
        until(lambda: book.exists() and bool(book.read_text()), "no child")
        pid = int(book.read_text())
    assert not psutil.pid_exists(pid)
    assert (book.read_text() == "ended") is not stubborn
    assert logs == []


def test_a_child_follows_its_parent(tmp_path: Path) -> None:
    """It ends when the parent's end of its standard input is gone, however the parent ended; and it steps back behind others."""
    script = "from gateway.schedule import follow_parent; follow_parent(); print(os.nice(0), flush=True)\nwhile 1: time.sleep(9)"
    process = subprocess.Popen(
        child(script), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert int(process.stdout.readline()) >= min(19, os.nice(0) + 10)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(WITHIN) == -signal.SIGTERM


QUICK = {
    "MOORAGE_GC_EVERY": "2s",
    "MOORAGE_GRACE": "4s",
    "MOORAGE_UPLOAD_EXPIRY": "4s",
    "MOORAGE_TESTING_SHORT_GRACE": "1",
    "MOORAGE_LOG_FORMAT": "json",
}


def events(gateway: Gateway, kind: str) -> list[dict[str, Any]]:
    """What a gateway and its children have logged of a kind."""
    lines = [
        json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")
    ]
    return [line for line in lines if line["event"] == kind]


def is_there(process: psutil.Process) -> bool:
    """Whether it still runs."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_with_a_schedule(tmp_path: Path, workers: int) -> None:
    """One collection at a time whatever the number of workers, soon after its start too; SIGTERM ends all processes, with status 0."""
    with Gateway(tmp_path, f"file:{tmp_path / 'store'}", settings=QUICK, workers=workers) as gateway:
        until(lambda: len(events(gateway, "collected")) >= 2, "no second collection")
        children = psutil.Process(gateway.pid).children(recursive=True)
        assert gateway.stop() == 0
    # The books of multiprocessing are kept by a process that ends when the gateway's pipe to it has.
    until(lambda: not any(is_there(process) for process in children), f"one of {children} is left")
    log = gateway.log.read_text()
    assert [word for word in ("Traceback", '"error"', "not collected") if word in log] == []


class Installed(Gateway):
    """A gateway that is started as the command `moorage` is, which has its own directory in Python's path and not the working directory."""

    def _command(self) -> list[str]:
        script = self.directory / "bin/moorage"
        script.parent.mkdir()
        script.write_text("from gateway.cli import main\nif __name__ == '__main__':\n    main()\n")
        return [sys.executable, str(script), *super()._command()[3:]]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_of_the_working_directory_is_run(tmp_path: Path, workers: int) -> None:
    """Neither the children that collect nor the workers MUST take a module from there for one of theirs."""
    for name in ("click", "gateway", "msgspec", "pickle", "struct"):
        (tmp_path / f"{name}.py").write_text(
            "open('was-run', 'a').write(__file__)\nraise SystemExit('this was not to be run')\n"
        )
    with Installed(tmp_path, f"file:{tmp_path / 'store'}", settings=QUICK, workers=workers) as gateway:
        until(lambda: bool(events(gateway, "collected")), "no collection")
    assert not (tmp_path / "was-run").exists()


def test_garbage_goes_while_two_gateways_serve(tmp_path: Path) -> None:
    """I5: what was deleted there goes from their disk, once; what is referenced stays."""
    store = f"file:{tmp_path / 'store'}"
    gone, kept = os.urandom(300_000), os.urandom(200_000)
    files = tmp_path / "store" / "files"
    with (
        Gateway(tmp_path / "one", store, settings=QUICK) as one,
        Gateway(tmp_path / "other", store, settings=QUICK) as other,
    ):
        with httpx.Client(base_url=one.url, trust_env=False) as http:
            until(lambda: push(http, "gone", gone), "no push went well")
            until(lambda: push(http, "kept", kept), "no push went well")
            assert http.delete(f"/v2/gone/manifests/{manifest(gone)[1]}").status_code == 202
        until(lambda: stored(files) == 1, f"the bytes are still there:\n{one.tail()}")
        with httpx.Client(base_url=other.url, trust_env=False) as http:
            assert http.get(f"/v2/kept/blobs/{Digest.of(kept)}").content == kept
    collected = [*events(one, "collected"), *events(other, "collected")]
    assert sum(event["freed_bytes"] >= len(gone) for event in collected) == 1


def manifest(layer: bytes) -> tuple[bytes, str]:
    """That of an image of one layer, and its digest."""
    content = image(descriptor(b"{}"), [descriptor(layer)])
    return content, str(Digest.of(content))


def push(http: httpx.Client, name: str, layer: bytes) -> bool:
    """Push it with its blobs. All times are so short here that it may fail on a machine that is busy."""
    for blob in (b"{}", layer):
        location = http.post(f"/v2/{name}/blobs/uploads/").headers["Location"]
        answer = http.put(location, params={"digest": str(Digest.of(blob))}, content=blob)
        if answer.status_code != 201:
            return False
    content, _ = manifest(layer)
    kind = json.loads(content)["mediaType"]
    return http.put(f"/v2/{name}/manifests/1", content=content, headers={"Content-Type": kind}).status_code == 201


def stored(files: Path) -> int:
    """How many bodies lie in files of their own."""
    return sum(path.is_file() for path in files.rglob("*"))
