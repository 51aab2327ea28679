"""`moorage gc`: a dry run says what then goes, for people and for machines; what is wrong is a sentence and an exit code."""

import asyncio
import io
import json
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from gateway import batch
from gateway.cli import main
from gateway.collection import gc
from gateway.reports import Progress
from gateway.settings import Settings
from gateway.tally import Tally, spoken_size
from storage import layout
from storage.errors import Denied
from storage.objects.memory import MemoryStore
from storage.records import Hold, encode
from storage.references import Digest, RepositoryName
from storage.registry import Registry, Rules, open_registry
from storage.removals import Removal, Step
from storage.retention.pulls import PullTimes
from storage.views import Epoch
from tests.parts.servers import S3Server
from tests.protocol.serving import START, Api, Clock, Pushed, World

DAY = 24 * 3600.0
CONTENT = b"a layer"
DIGEST = Digest.of(CONTENT)
pytestmark = pytest.mark.usefixtures("elsewhere")

Prepare = Callable[[Api], Awaitable[Any]]


@dataclass
class Bench:
    """A registry in memory, clients of it, and the command line on it."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.memory = MemoryStore(self.clock)
        self.world = World(self.memory, self.clock)

    def prepare(self, act: Prepare) -> Any:
        """Let a client do something."""

        async def run() -> Any:
            async with self.world.gateway() as api:
                return await act(api)

        return asyncio.run(run())

    def run(self, *arguments: str) -> Result:
        """`moorage gc` with these arguments."""
        result = CliRunner().invoke(gc, arguments, obj=self.opened)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    @asynccontextmanager
    async def opened(self, _: Settings) -> AsyncGenerator[Registry]:
        """The registry as the command opens it."""
        yield await open_registry(self.memory, clock=self.clock, nonce=self.world.nonces, epoch=Epoch(), rules=Rules())

    def state(self) -> dict[str, str]:
        """All keys but the collector's own, with their etags."""

        async def read() -> dict[str, str]:
            return {info.key: info.etag async for info in self.memory.list("") if not info.key.startswith("collector")}

        return asyncio.run(read())


@pytest.fixture
def bench() -> Bench:
    """One for each test."""
    return Bench()


async def garbage(api: Api) -> None:
    """A blob, and an image that is deleted again, in two repositories; a third one stays."""
    await api.blob("a", CONTENT)
    pushed = await api.image("b/c", "1")
    await api.delete(f"/v2/b/c/manifests/{pushed.digest}")
    await api.image("kept", "1", "kept")


def told(document: Any) -> set[tuple[str, ...]]:
    """Removals, whatever became of them."""
    return {
        tuple(str(each[name]) for name in ("step", "key", "repository", "digest", "size", "why"))
        for each in document["removals"]
    }


def test_a_dry_run_says_what_then_goes(bench: Bench) -> None:
    """At every stage, why, and how much of which repository; and it changes nothing."""
    bench.prepare(garbage)
    steps: list[set[str]] = []
    for _ in range(5):
        bench.clock.advance(DAY + 1)
        before = bench.state()
        planned = bench.run("--dry-run", "--json")
        assert bench.state() == before
        done = bench.run("--json")
        assert (planned.exit_code, done.exit_code) == (0, 0)
        first, second = json.loads(planned.stdout), json.loads(done.stdout)
        assert told(first) == told(second)
        for name in ("repositories", "shared", "total"):
            assert first[name] == second[name]
        assert {each["outcome"] for each in first["removals"]} <= {"planned"}
        assert {each["outcome"] for each in second["removals"]} <= {"done"}
        steps.append({each["step"] for each in second["removals"]})
    assert steps == [{"condemn", "purge"}, {"bury"}, {"delete", "purge"}, set(), set()]


def test_the_document(bench: Bench) -> None:
    """All fields of `--json`, the sums among them, are those of the removals."""
    bench.prepare(garbage)
    bench.clock.advance(DAY + 1)
    document = json.loads(bench.run("--json").stdout)
    assert set(document) == {
        "removals",
        "dryRun",
        "repositories",
        "shared",
        "total",
        "began",
        "manifestsRead",
        "problems",
        "error",
    }
    assert (document["dryRun"], document["began"], document["error"]) == (False, START + DAY + 1, None)
    assert (document["manifestsRead"], document["problems"]) == (1, [])
    link = next(each for each in document["removals"] if each["repository"] == "a")
    assert link == {
        "step": "condemn",
        "key": layout.link_key(DIGEST, RepositoryName.parse("a")),
        "repository": "a",
        "digest": str(DIGEST),
        "size": len(CONTENT),
        "why": "no manifest of the repository references it",
        "outcome": "done",
    }
    assert document["repositories"]["a"] == {"condemn": {"count": 1, "bytes": len(CONTENT)}}
    assert document["repositories"]["b/c"] == {
        "condemn": {"count": 3, "bytes": 4},
        "purge": {"count": 2, "bytes": 0},
    }
    assert "kept" not in document["repositories"]
    assert document["shared"] == {}
    assert document["total"] == {"condemn": {"count": 4, "bytes": 11}, "purge": {"count": 2, "bytes": 0}}


def test_the_text(bench: Bench) -> None:
    """A line a removal, with what, how much and why, then a table; `--quiet` leaves out the lines; nothing is on standard error."""
    bench.prepare(lambda api: api.blob("a", CONTENT))
    bench.clock.advance(DAY + 1)
    row = "condemn blob a@" + str(DIGEST) + ", 7 B: no manifest of the repository references it\n"
    table = "repository  condemn\na           1 (7 B)\ntotal       1 (7 B)\n"
    result = bench.run("--dry-run")
    assert (result.stdout, result.stderr) == (f"{row}{table}a dry run: nothing was changed\n", "")
    result = bench.run("--dry-run", "--quiet")
    assert result.stdout == f"{table}a dry run: nothing was changed\n"
    assert bench.run().stdout == row + table
    result = bench.run()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "nothing to remove\n", "")


def test_what_has_changed_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told, stays, and does not count."""
    put = MemoryStore.put

    async def racing(self: MemoryStore, key: str, body: bytes, **how: Any) -> str:
        if key.startswith(layout.JOURNAL_PREFIX):
            link = layout.link_key(DIGEST, RepositoryName.parse("a"))
            await put(self, link, (await self.get(link)).body + b" ")
        return await put(self, key, body, **how)

    monkeypatch.setattr(MemoryStore, "put", racing)

    def raced(*arguments: str) -> str:
        bench = Bench()
        bench.prepare(lambda api: api.blob("a", CONTENT))
        bench.clock.advance(DAY + 1)
        return bench.run(*arguments).stdout

    document = json.loads(raced("--json"))
    assert [each["outcome"] for each in document["removals"]] == ["changed"]
    assert (document["repositories"], document["total"]) == ({}, {})
    why = "no manifest of the repository references it; but it has changed, and stays"
    assert raced() == f"condemn blob a@{DIGEST}, 7 B: {why}\n"


def test_a_manifest_that_cannot_be_read(bench: Bench) -> None:
    """Is named, exit code 1; nothing of its repository goes, all that others have does."""

    async def damage(api: Api) -> Pushed:
        await garbage(api)
        await api.blob("kept", b"unreferenced")
        pushed = await api.image("kept", "2", "other")
        await bench.memory.put(
            layout.manifest_key(RepositoryName.parse("kept"), Digest.parse(pushed.digest)), b"?" * 99
        )
        return pushed

    pushed = bench.prepare(damage)
    gone: set[str] = set()
    for _ in range(4):
        bench.clock.advance(DAY + 1)
        result = bench.run("--json")
        assert result.exit_code == 1
        document = json.loads(result.stdout)
        (problem,) = document["problems"]
        assert pushed.digest.removeprefix("sha256:") in problem
        assert "kept" in problem
        assert document["error"] is None
        assert "kept" not in document["repositories"]
        gone |= {each["repository"] for each in document["removals"] if each["step"] == "bury"}
    assert gone == {"a", "b/c"}
    result = bench.run()
    assert (result.exit_code, result.stderr) == (1, f"problem: {problem}\n")


def test_another_collection_under_way(bench: Bench) -> None:
    """Is no failure, so that cron stays silent where `serve` has a schedule; it is said, in the document too."""
    bench.prepare(garbage)
    asyncio.run(bench.memory.put(layout.lease_key("collector"), encode(Hold("a" * 16, "held"))))
    words = "another run of the collector is under way; what it has begun, it will end"
    result = bench.run()
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{words}\n")
    result = bench.run("--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["error"], document["began"], document["removals"]) == (0, words, None, [])
    bench.clock.advance(301)
    assert bench.run().exit_code == 0


def test_a_store_that_fails(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, exit code 1, and a document that is whole."""

    async def denied(*_: object, **__: object) -> None:
        raise Denied("data/: the store says no")

    bench.prepare(garbage)
    bench.clock.advance(DAY + 1)
    put = MemoryStore.put

    async def half(self: MemoryStore, key: str, body: bytes, **how: Any) -> str:
        if key.startswith(layout.JOURNAL_PREFIX):
            await denied()
        return await put(self, key, body, **how)

    monkeypatch.setattr(MemoryStore, "put", half)
    result = bench.run()
    assert (result.exit_code, result.stderr) == (1, "Error: data/: the store says no\n")
    result = bench.run("--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["error"], document["began"]) == (1, "data/: the store says no", None)


def test_offline(bench: Bench) -> None:
    """Where tombstones go by plain DELETEs it warns; without `--offline` they stay there."""
    bench.memory.capabilities = replace(bench.memory.capabilities, conditional_delete=False)
    bench.prepare(garbage)
    bench.clock.advance(DAY + 1)
    result = bench.run("--json")
    assert ({each["step"] for each in json.loads(result.stdout)["removals"]}, result.stderr) == ({"condemn"}, "")
    result = bench.run("--json", "--offline")
    assert {each["step"] for each in json.loads(result.stdout)["removals"]} == {"purge"}
    assert "make sure that no gateway serves" in result.stderr
    assert result.stderr.count("\n") == 1


def test_pulls_are_put_together(bench: Bench) -> None:
    """What gateways have written down of them, so that it does not grow for ever where no retention runs; not by a dry run."""
    bench.prepare(garbage)
    keys = [layout.pulls_key(START + hour * 3600, "f" * 16) for hour in range(2)]
    for key in keys:
        asyncio.run(bench.memory.put(key, encode(PullTimes(int(START), {}))))
    bench.clock.advance(DAY + 3600)
    assert bench.run("--dry-run").exit_code == 0
    assert set(keys) <= set(bench.state())
    assert bench.run().exit_code == 0
    assert set(keys) & set(bench.state()) == {keys[1]}
    asyncio.run(bench.memory.put(keys[0], b"damaged"))
    result = bench.run()
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(f"problem: {keys[0]}")
    assert set(keys) <= set(bench.state())


def buried(bench: Bench) -> None:
    """The blob of `a` is a tombstone."""
    bench.prepare(lambda api: api.blob("a", CONTENT))
    for _ in range(2):
        bench.clock.advance(DAY + 1)
        assert bench.run().exit_code == 0


@pytest.mark.parametrize("arguments", [["--dry-run", "undo", "a"], ["undo", "a", "--dry-run"]])
def test_a_dry_undo(bench: Bench, arguments: list[str]) -> None:
    """Changes nothing, wherever the flag stands."""
    buried(bench)
    before = bench.state()
    result = bench.run(*arguments)
    assert (result.exit_code, result.stdout) == (0, f"blob a@{DIGEST} would be back\n")
    assert bench.state() == before


def test_undo(bench: Bench) -> None:
    """A sentence each, or one document; exit code 1 if something is lost."""
    buried(bench)
    result = bench.run("undo", f"a@{DIGEST}", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "dryRun": False,
        "results": [{"fate": "restored", "sentence": f"blob a@{DIGEST} is back"}],
    }
    result = bench.run("undo", "a")
    assert (result.exit_code, result.stdout) == (0, f"blob a@{DIGEST} is there\n")
    result = bench.run("undo", "b")
    assert (result.exit_code, result.stdout) == (1, "b is not in the journal of the last 30 days\n")


@pytest.mark.parametrize("item", ["A", "a@", "a@sha256:1", "", "a:1"])
def test_undo_of_what_cannot_be(bench: Bench, item: str) -> None:
    """One sentence."""
    result = bench.run("undo", item)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1


def test_the_journal(bench: Bench) -> None:
    """Tells what went and when, oldest first, for people and for machines; a page that cannot be read is named, exit code 1."""
    buried(bench)
    result = bench.run("journal")
    why = "7 B: no manifest of the repository references it"
    assert result.stdout.splitlines() == [
        f"2023-11-15T22:13:21Z collector: condemn blob a@{DIGEST}, {why}",
        f"2023-11-16T22:13:22Z collector: bury    blob a@{DIGEST}, {why}, nor has since it was condemned",
    ]
    document = json.loads(bench.run("journal", "--json").stdout)
    assert document["problems"] == []
    assert [(each["at"], each["work"], each["step"]) for each in document["removals"]] == [
        (START + DAY + 1, "collector", "condemn"),
        (START + 2 * DAY + 2, "collector", "bury"),
    ]
    assert document["error"] is None
    assert "record" not in document["removals"][0]
    damaged = layout.journal_key(START, "0" * 16)
    asyncio.run(bench.memory.put(damaged, b"?" * 99))
    for arguments in ([], ["--json"]):
        result = bench.run("journal", *arguments)
        assert (result.exit_code, damaged in result.stderr) == (1, True)
        assert result.stdout.count("condemn") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--store", "memory:"], "--store memory:: a registry in memory goes with its process"),
        (["--store", "file:missing"], "--store file:missing: there is no such directory"),
        (["--store", "file:empty"], "--store file:empty: there is no registry in it"),
        (["--store", "file:occupied"], "--store file:occupied: "),
        (["--store", "ftp:x"], "--store ftp:x: a store is file:PATH, "),
        (["--grace", "59m"], "--grace: a grace period is at least 1h"),
        (["--single-writer"], "--single-writer: a gateway that serves is another writer; stop it, and say --offline"),
        (["undo", "a", "--single-writer"], "--single-writer: a gateway that serves is another writer; stop it, "),
        (["undo", "team/app:1"], "undo takes REPOSITORY or REPOSITORY@DIGEST, without host and tag, not 'team/app:1'"),
        (["--store", "file:missing", "undo", "a"], "--store file:missing: there is no such directory"),
        (["journal", "--store", "file:missing"], "--store file:missing: there is no such directory"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(arguments: list[str], words: str) -> None:
    """Exit code 1; nothing is made where there is nothing."""
    Path("empty").mkdir()
    Path("occupied").write_text("a file")
    result = CliRunner().invoke(main, ["gc", *arguments])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {words}")
    assert result.output.count("\n") == 1
    assert isinstance(result.exception, SystemExit)
    assert not Path("missing").exists()


def test_a_single_writer(rclone_server: S3Server) -> None:
    """Is collected while no gateway serves: a store that ignores conditions, with `--offline`."""
    arguments = ["--store", f"s3://{rclone_server.bucket}/collected", "--single-writer", "--offline"]
    result = CliRunner().invoke(main, ["gc", *arguments], env=rclone_server.env)
    assert (result.exit_code, "there is no registry in it" in result.output) == (1, True)


class Terminal(io.StringIO):
    """A stream that people watch."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal one line that is written over, not too often, and cleared for other output; elsewhere nothing."""
    moments = iter([10.0, 10.0, 10.01, 10.2, 10.2])
    monkeypatch.setattr("gateway.reports.time.monotonic", lambda: next(moments))
    terminal, pipe = Terminal(), io.StringIO()
    progress = Progress(terminal)
    for count in (1000, 2000, 3000):
        progress.show("objects", count)
    progress.clear()
    progress.clear()
    assert terminal.getvalue() == "\r\x1b[K1,000 objects\r\x1b[K3,000 objects\r\x1b[K"
    progress = Progress(pipe)
    progress.show("objects", 1000)
    progress.clear()
    assert pipe.getvalue() == ""


def test_sums() -> None:
    """By repository and step, what belongs to none at its own place; the table has a column for each step that there is."""
    tally = Tally()
    removals: list[tuple[Step, str | None, int]] = [
        ("condemn", "b", 1),
        ("condemn", "b", 2),
        ("delete", None, 2048),
        ("bury", "a", 0),
    ]
    for step, repository, size in removals:
        tally.add(Removal(step, "k", "why", size=size, repository=repository))
    assert dict(tally.repositories()) == {
        "": {"delete": (1, 2048)},
        "a": {"bury": (1, 0)},
        "b": {"condemn": (2, 3)},
    }
    assert list(tally.table()) == [
        "repository          condemn  bury       delete",
        "(of no repository)                 1 (2.0 KiB)",
        "a                               1",
        "b                   2 (3 B)",
        "total               2 (3 B)     1  1 (2.0 KiB)",
    ]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 * 1024**4, "5.0 TiB"),
        (2**60, "1048576.0 TiB"),
    ],
)
def test_sizes(size: int, words: str) -> None:
    """In the unit that suits them."""
    assert spoken_size(size) == words


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT as a process at a terminal has it: in the background of a shell it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal(bench: Bench, number: int, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Ends the work by a cancellation, so that the lease is let go, and says so in a sentence."""

    async def work() -> int:
        async with bench.opened(Settings()) as registry, registry.lease("collector").held():
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
        return 0

    assert batch.run(work()) == status
    assert capsys.readouterr().err == f"Error: {batch.STOPPED}\n"
    assert bench.run().stderr == ""


def test_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """Is a sentence, as everywhere on the command line."""

    async def work() -> int:
        raise Denied("the store says no")

    with pytest.raises(click.ClickException, match="the store says no"):
        batch.run(work())
