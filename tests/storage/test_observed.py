"""What an observer is told of a store."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from storage.errors import Contended, Denied, Invalid, NotFound, Overtaken, PreconditionFailed, Unavailable
from storage.objects.memory import MemoryStore
from storage.objects.observed import ObservedStore, current_operation
from storage.objects.parts import FIRST_PART
from storage.objects.retrying import Retries, Transient
from storage.observing import UNOBSERVED, failure_of
from storage.views import Epoch, Views


class Told:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def answered(self, operation: str, requests: int, seconds: float, failure: str | None) -> None:
        """See Observer.answered."""
        assert seconds == 1.0
        self.calls.append((operation, requests, failure))

    def failed(self, operation: str, failure: str) -> None:
        """See Observer.failed."""
        self.calls.append((operation, failure))

    def repeated(self, operation: str) -> None:
        """See Observer.repeated."""
        self.calls.append(("again", operation))

    def looked(self, *, found: bool) -> None:
        """See Observer.looked."""
        self.calls.append(("looked", found))


class Ticks:
    """A second passes whenever somebody looks."""

    def __init__(self) -> None:
        self._now = 0.0

    def __call__(self) -> float:
        """The time now."""
        self._now += 1.0
        return self._now


class Failing(MemoryStore):
    """A store that raises `error`, where one is set, and breaks off its streams."""

    error: Exception | None = None

    async def get(self, key: str) -> Any:
        """See ObjectStore.get."""
        if self.error:
            raise self.error
        return await super().get(key)

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        error, self.error = self.error, None  # of which memory's own would make use
        chunks = await super().get_range(key, start, length)
        self.error = error

        async def broken(failure: Exception) -> AsyncGenerator[bytes]:
            async with aclosing(chunks):
                yield await anext(chunks)
                assert current_operation() == "get_range"
                raise failure

        return broken(error) if error else chunks


@pytest.fixture
def told() -> Told:
    """An observer."""
    return Told()


@pytest.fixture
def inner() -> Failing:
    """A store that can fail."""
    return Failing(lambda: 0.0)


@pytest.fixture
def store(inner: Failing, told: Told) -> ObservedStore:
    """The same, observed."""
    return ObservedStore(inner, told, Ticks())


async def _chunks(size: int) -> AsyncIterator[bytes]:
    while size:
        piece = min(size, 1024 * 1024)
        yield bytes(piece)
        size -= piece


async def test_each_operation_is_told_once(store: ObservedStore, told: Told) -> None:
    """With its name, and the requests that it is worth; and its result MUST be that of the store."""
    etag = await store.put("a/k", b"123")
    assert (await store.get("a/k")).body == b"123"
    assert await store.get_if_changed("a/k", etag) is None
    assert (await store.head("a/k")).size == 3
    assert b"".join([chunk async for chunk in await store.get_range("a/k")]) == b"123"
    assert await store.put_stream("a/l", _chunks(1000)) == 1000
    assert await store.put_stream("a/m", _chunks(FIRST_PART + 1)) == FIRST_PART + 1
    await store.compose("a/n", [("a/k", 3), ("a/l", 1000)])
    await store.delete("a/n")
    await store.delete_many(["a/l", "a/m"])
    assert [info.key async for info in store.list("a/")] == ["a/k"]
    assert told.calls == [
        ("put", 1, None),
        ("get", 1, None),
        ("get_if_changed", 1, None),
        ("head", 1, None),
        ("get_range", 1, None),
        ("put_stream", 1, None),
        ("put_stream", 4, None),
        ("compose", 4, None),
        ("delete", 1, None),
        ("delete_many", 1, None),
        ("list", 1, None),
    ]
    assert current_operation() == "other"


@pytest.mark.parametrize(("limit", "pages"), [(None, 3), (999, 1), (1000, 1), (1001, 2), (2000, 2)])
async def test_a_page_is_an_operation(store: ObservedStore, told: Told, limit: int | None, pages: int) -> None:
    """A listing MUST count a request a page, and the last one if the page before was full."""
    for number in range(2000):
        await store.put(f"a/{number:04}", b"")
    told.calls.clear()
    assert len([info async for info in store.list("a/", limit=limit)]) == (limit or 2000)
    assert told.calls == [("list", 1, None)] * pages


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (NotFound("k"), None),
        (PreconditionFailed("k"), None),
        (Overtaken("k"), None),
        (ValueError("of ours"), None),
        (Unavailable("k"), "unavailable"),
        (Transient("k"), "unavailable"),
        (Contended("k"), "unavailable"),
        (Denied("k"), "denied"),
        (Invalid("k"), "invalid"),
    ],
)
async def test_what_fails(
    store: ObservedStore, inner: Failing, told: Told, error: Exception, failure: str | None
) -> None:
    """Only what the store fails MUST count as a failure; the error MUST pass as it is, of a stream that breaks off too."""
    await inner.put("a/k", bytes(10))
    inner.error = error
    assert failure_of(error) == failure
    with pytest.raises(type(error)) as raised:
        await store.get("a/k")
    assert raised.value is error
    with pytest.raises(type(error)) as raised:
        assert [chunk async for chunk in await store.get_range("a/k")] == []
    assert raised.value is error
    assert told.calls == [
        ("get", 1, failure),
        ("get_range", 1, None),
        *([("get_range", failure)] if failure else []),
    ]


async def test_repeated_requests_have_the_name_of_their_operation(told: Told, inner: Failing) -> None:
    """Each attempt after the first MUST be told, as part of the operation that is under way."""
    attempts = 0

    async def attempt() -> Any:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Transient("again")
        return await MemoryStore.head(inner, "a/k")

    class Retrying(Failing):
        async def head(self, key: str) -> Any:
            return await Retries(20, noted=lambda: told.repeated(current_operation()))(attempt)

    await inner.put("a/k", b"1")
    assert (await ObservedStore(Retrying(lambda: 0.0), told, Ticks()).head("a/k")).size == 1
    assert told.calls == [("again", "head"), ("again", "head"), ("head", 1, None)]


def test_what_the_views_know(told: Told) -> None:
    """A look that finds nothing, or nothing recent, MUST be told as such."""
    views = Views(lambda: 0.0, Epoch(), max_bytes=1000, observer=told)
    assert views.get("k") is None
    assert told.calls == [("looked", False)]


def test_nobody_need_observe() -> None:
    """Without an observer nothing happens."""
    UNOBSERVED.answered("get", 1, 1.0, None)
    UNOBSERVED.failed("get", "denied")
    UNOBSERVED.repeated("get")
    UNOBSERVED.looked(found=True)
