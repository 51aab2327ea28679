"""What is removed is in the journal before it goes, and told as it went."""

from collections.abc import Awaitable, Callable

import pytest

from storage import layout
from storage.errors import CorruptRecord, Denied, Overtaken, PreconditionFailed
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.references import Digest, RepositoryName, Tag
from storage.removals import PAGE, PAGE_BYTES, Journal, Outcome, Removal, Removals, spoken
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.protocol.conftest import keys
from tests.protocol.serving import START, Clock, Nonces

DIGEST = Digest.of(b"x")
NAME = RepositoryName.parse("a/b")


@pytest.fixture
def context(metered: MeteredStore, clock: Clock) -> Context:
    """Of one process."""
    return Context(metered, Views(clock, Epoch(), max_bytes=10**6), clock, Nonces())


class Work:
    """Removals whose acts are told, and what was observed."""

    def __init__(self, context: Context, memory: MemoryStore, *, dry_run: bool = False) -> None:
        self.done: list[tuple[str, int]] = []
        self.observed: list[tuple[str, Outcome]] = []
        self.removals = Removals(context, "collector", dry_run=dry_run, observe=self._observe)
        self.removals.time = START
        self._memory = memory

    def _observe(self, removal: Removal, outcome: Outcome) -> None:
        self.observed.append((removal.key, outcome))

    def act(self, key: str, error: Exception | None = None) -> Callable[[], Awaitable[None]]:
        """An act that notes how many pages the journal had when it was done."""

        async def run() -> None:
            self.done.append((key, len(await keys(self._memory, layout.JOURNAL_PREFIX))))
            if error is not None:
                raise error

        return run

    async def plan(self, key: str, error: Exception | None = None, record: bytes = b"", step: str = "bury") -> None:
        """Plan one."""
        await self.removals.plan(Removal(step, key, "why", record=record), self.act(key, error))  # type: ignore[arg-type]


async def test_the_journal_comes_first(context: Context, memory: MemoryStore) -> None:
    """Nothing is done before a page that names it is in the bucket; what has changed meanwhile is told, and stays."""
    work = Work(context, memory)
    await work.plan("one")
    await work.plan("two", PreconditionFailed("two"))
    await work.plan("three", Overtaken("three"))
    assert (work.done, work.observed) == ([], [])
    await work.removals.flush()
    assert work.done == [("one", 1), ("two", 1), ("three", 1)]
    assert work.observed == [("one", "done"), ("two", "changed"), ("three", "changed")]
    (page,) = [page async for page in Journal(context).pages()]
    assert [removal.key for removal in page.removals] == ["one", "two", "three"]
    assert (page.work, page.at) == ("collector", START)
    await work.removals.flush()
    assert len(work.done) == 3


async def test_other_errors_end_the_run(context: Context, memory: MemoryStore) -> None:
    """They pass through; what was on the page is in the journal."""
    work = Work(context, memory)
    await work.plan("one", Denied("no"))
    with pytest.raises(Denied):
        await work.removals.flush()
    assert len(await keys(memory, layout.JOURNAL_PREFIX)) == 1


async def test_pages_are_of_a_bounded_size(context: Context, memory: MemoryStore) -> None:
    """By number, and by the bytes of what lay there."""
    work = Work(context, memory)
    for number in range(PAGE):
        await work.plan(f"{number}")
    assert len(work.done) == PAGE
    for number in range(4):
        await work.plan(f"large {number}", record=b"x" * (PAGE_BYTES // 4))
    assert len(work.done) == PAGE + 4
    assert len(await keys(memory, layout.JOURNAL_PREFIX)) == 2


async def test_a_dry_run(context: Context, memory: MemoryStore) -> None:
    """Tells the same, and does and writes nothing."""
    work = Work(context, memory, dry_run=True)
    await work.plan("one")
    await work.removals.plan_together([Removal("delete", "two", "why")], work.act("two"))
    await work.removals.flush()
    assert work.observed == [("one", "planned"), ("two", "planned")]
    assert (work.done, await keys(memory)) == ([], [])


async def test_what_goes_together(context: Context, memory: MemoryStore) -> None:
    """Goes by one act, after what was planned before it, and after its page."""
    work = Work(context, memory)
    await work.plan("one")
    await work.removals.plan_together([Removal("delete", key, "why") for key in ("two", "three")], work.act("both"))
    assert work.done == [("one", 1), ("both", 2)]
    assert work.observed == [("one", "done"), ("two", "done"), ("three", "done")]


async def test_purges_are_not_in_the_journal(context: Context, memory: MemoryStore) -> None:
    """What a tombstone stands for is on an older page."""
    work = Work(context, memory)
    await work.plan("one", step="purge")
    await work.removals.flush()
    await work.removals.plan_together([Removal("purge", "two", "why")], work.act("two"))
    assert await keys(memory) == []
    await work.plan("three", step="purge")
    await work.plan("four")
    await work.removals.flush()
    (page,) = [page async for page in Journal(context).pages()]
    assert [removal.key for removal in page.removals] == ["four"]
    assert work.observed == [(key, "done") for key in ("one", "two", "three", "four")]


async def test_pages_in_order(context: Context, memory: MemoryStore) -> None:
    """Oldest first, from the second that is wanted on; records come back as they were."""
    journal = Journal(context)
    for at in (START + 5, START, START + 1000000):
        await journal.write("scrub", at, [Removal("bury", f"{at:.0f}", "why", record=b"\x00\xff")])
    assert [page.at async for page in journal.pages()] == [START, START + 5, START + 1000000]
    assert [page.at async for page in journal.pages(START + 5)] == [START + 5, START + 1000000]
    assert [page.removals[0].record async for page in journal.pages()] == [b"\x00\xff"] * 3


@pytest.mark.parametrize("body", [b"no page", b"0" * 16, b"{}"])
async def test_what_is_no_page(context: Context, memory: MemoryStore, body: bytes) -> None:
    """Is an error that names it, or passed over for those who want to hear of it."""
    journal = Journal(context)
    await journal.write("scrub", START, [])
    key = layout.journal_key(START - 1, "0" * 16)
    await memory.put(key, body)
    with pytest.raises(CorruptRecord, match=key):
        assert [page async for page in journal.pages()] == []
    damaged: list[CorruptRecord] = []
    assert len([page async for page in journal.pages(damaged=damaged.append)]) == 1
    assert [error.key for error in damaged] == [key]


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (layout.link_key(DIGEST, NAME), f"blob a/b@{DIGEST}"),
        (layout.instance_key(DIGEST, layout.Segment("a" * 32, 0, "b" * 16)), f"bytes of {DIGEST}"),
        (layout.manifest_key(NAME, DIGEST), f"manifest a/b@{DIGEST}"),
        (layout.tag_key(NAME, Tag.parse("1")), "tag a/b:1"),
        (layout.referrer_key(NAME, DIGEST, Digest.of(b"y")), f"referrer a/b@{Digest.of(b'y')} of {DIGEST}"),
        (layout.catalog_key(NAME), "repository a/b"),
        ("data/0/1-2", "data/0/1-2"),
    ],
)
def test_what_people_call_it(key: str, words: str) -> None:
    """A kind of thing, and its name."""
    assert spoken(Removal("bury", key, "why")) == words
