"""A store that fails as told: a decorator over the contract, for whatever stands above a store."""

import random
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from enum import Enum

from storage.errors import Denied, NotFound, StoreError, Unavailable
from storage.objects.contract import Capabilities, IncompleteUpload, ObjectInfo, ObjectStore, StoredObject
from storage.objects.retrying import Transient


class Fault(Enum):
    """What may become of a call: refused in one of three ways, applied though the answer is lost, slow, cut short, or stale."""

    UNAVAILABLE = "unavailable"
    TRANSIENT = "transient"
    DENIED = "denied"
    LOST = "lost"
    SLOW = "slow"
    SHORT = "short"
    STALE = "stale"


HONEST = tuple(fault for fault in Fault if fault is not Fault.STALE)
"""What a store may do that keeps the contract; one that answers stale does not."""

_REFUSED: dict[Fault, type[StoreError]] = {
    Fault.UNAVAILABLE: Unavailable,
    Fault.TRANSIENT: Transient,
    Fault.DENIED: Denied,
}
_WRITES = {"put", "put_stream", "compose", "delete", "delete_many"}
_STREAMS = {"get_range", "list"}
_READS = {"get", "get_if_changed", "head"}


@dataclass(frozen=True)
class Call:
    """One call of the store: its number, counted from 0 since the schedule was set, its method and its key or prefix."""

    number: int
    method: str
    key: str


Schedule = Callable[[Call], Fault | None]


def calm(_: Call) -> Fault | None:
    """No faults."""
    return None


def at(position: int, fault: Fault) -> Schedule:
    """One fault, in the call with this number."""
    return lambda call: fault if call.number == position else None


def since(position: int, fault: Fault) -> Schedule:
    """A fault in the call with this number and in all that follow."""
    return lambda call: fault if call.number >= position else None


def seeded(seed: int | str, rate: float, faults: Sequence[Fault]) -> Schedule:
    """One of `faults`, chosen by the seed, in as many of the calls as `rate` says."""
    chance = random.Random(seed)
    return lambda _: chance.choice(faults) if chance.random() < rate else None


class FaultyStore:
    """Decorates a store; a call meets what the schedule says, as far as its method can.

    Writes alone can lose their answers (a read that does is unavailable), streams and listings alone end early, and a read is stale by
    an older version that was written through here. `struck` has the faults that were met. `slow` is what a slow answer takes.
    """

    def __init__(self, inner: ObjectStore, slow: Callable[[], Awaitable[None]]) -> None:
        self._inner = inner
        self._slow = slow
        self._schedule: Schedule = calm
        self.versions: dict[str, list[StoredObject]] = {}
        self.struck: list[tuple[Call, Fault]] = []
        self.calls = 0

    @property
    def capabilities(self) -> Capabilities:
        """See ObjectStore.capabilities."""
        return self._inner.capabilities

    def follow(self, schedule: Schedule) -> None:
        """Take faults from `schedule` now, and count calls from 0 again."""
        self._schedule, self.calls = schedule, 0

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        if await self._meet("get", key) is Fault.STALE:
            return self.versions[key][-1]
        return await self._inner.get(key)

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        if await self._meet("get_if_changed", key) is Fault.STALE:
            found = self.versions[key][-1]
            return None if found.info.etag == etag else found
        return await self._inner.get_if_changed(key, etag)

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range. Cut short, it gives half of its first chunk."""
        fault = await self._meet("get_range", key)
        stream = await self._inner.get_range(key, start, length)
        return _half(stream, key) if fault is Fault.SHORT else stream

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        if await self._meet("head", key) is Fault.STALE:
            return self.versions[key][-1].info
        return await self._inner.head(key)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put. The answer of one that was refused cannot be lost."""
        fault = await self._meet("put", key)
        before = await self._current(key)
        etag = await self._inner.put(key, body, if_absent=if_absent, if_match=if_match)
        if before is not None:
            self.versions.setdefault(key, []).append(before)
        _lose(fault, key)
        return etag

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See ObjectStore.put_stream."""
        fault = await self._meet("put_stream", key)
        size = await self._inner.put_stream(key, chunks)
        _lose(fault, key)
        return size

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """See ObjectStore.compose."""
        fault = await self._meet("compose", key)
        await self._inner.compose(key, sources)
        _lose(fault, key)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        fault = await self._meet("delete", key)
        await self._inner.delete(key, if_match=if_match)
        _lose(fault, key)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        fault = await self._meet("delete_many", keys[0] if keys else "")
        await self._inner.delete_many(keys)
        _lose(fault, "many keys")

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list. Cut short, it gives no more than the first key."""
        fault = await self._meet("list", prefix)
        async with aclosing(self._inner.list(prefix, start_after=start_after, limit=limit)) as listing:
            async for info in listing:
                yield info
                if fault is Fault.SHORT:
                    break
        if fault is Fault.SHORT:
            raise Unavailable(f"{prefix}: the listing ended early")

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get: no request, so no fault."""
        return await self._inner.presign_get(key, expires)

    async def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads."""
        await self._meet("list_incomplete_uploads", "")
        async for upload in self._inner.list_incomplete_uploads():
            yield upload

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload."""
        await self._meet("abort_incomplete_upload", upload.key)
        await self._inner.abort_incomplete_upload(upload)

    async def close(self) -> None:
        """See ObjectStore.close."""
        await self._inner.close()

    async def _meet(self, method: str, key: str) -> Fault | None:
        """The fault that this call meets, raised if it is one that keeps the call from the store."""
        call = Call(self.calls, method, key)
        self.calls += 1
        fault = self._schedule(call)
        if fault is None or not self._can_meet(call, fault):
            return None
        self.struck.append((call, fault))
        if fault in _REFUSED:
            raise _REFUSED[fault](f"{key}: {fault.value} for the test")
        if fault is Fault.SLOW:
            await self._slow()
        return fault

    def _can_meet(self, call: Call, fault: Fault) -> bool:
        if fault is Fault.STALE:
            return call.method in _READS and bool(self.versions.get(call.key))
        if fault is Fault.SHORT:
            return call.method in _STREAMS
        return call.method in _WRITES if fault is Fault.LOST else True

    async def _current(self, key: str) -> StoredObject | None:
        with suppress(NotFound):
            return await self._inner.get(key)
        return None


def _lose(fault: Fault | None, key: str) -> None:
    if fault is Fault.LOST:
        raise Unavailable(f"{key}: the answer was lost for the test")


async def _half(stream: AsyncGenerator[bytes], key: str) -> AsyncGenerator[bytes]:
    async with aclosing(stream):
        chunk = await anext(stream, b"")
    if len(chunk) > 1:
        yield chunk[: len(chunk) // 2]
    raise Unavailable(f"{key}: the body ended early for the test")
