"""Requests that wait: before the store applies them, and before their answers arrive. Who goes on next is for the simulation to say."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from storage.errors import Overtaken, StoreError, Unavailable
from storage.objects.contract import Capabilities, IncompleteUpload, ObjectInfo, StoredObject
from tests.simulation.bucket import PAGE, Bucket, at_once

if TYPE_CHECKING:
    from tests.simulation.model import Operation

Fate = Literal["answer", "hold", "refuse", "break", "lose", "miss"]
"""What comes of a request that goes on.

answer: applied, and answered at once. hold: applied, and answered at a later step. refuse: not applied, Unavailable. break: applied,
but Unavailable. lose: applied, the answer lost, so that the state is read back at a later step. miss: the same, but not applied.
"""

Stage = Literal["asked", "answered", "unknown"]


class Died(BaseException):
    """The process is no more. No code can handle that, so this is no Exception."""


@dataclass(eq=False)
class Actor:
    """A client or a collector: its requests that wait, and what it is doing."""

    name: str
    is_maintenance: bool = False
    waiting: "list[Request]" = field(default_factory=list)
    operation: "Operation | None" = None
    busy: bool = False


ACTOR: ContextVar[Actor] = ContextVar("actor")


@dataclass(eq=False)
class Request:
    """A request of an actor to the store, or that of a client to a gateway, which has no `line`."""

    actor: Actor
    line: "Line | None"
    kind: str
    key: str
    apply: Callable[[], Any]
    future: asyncio.Future[Any]
    asked: float
    body: bytes | None = None
    stage: Stage = "asked"
    before: StoredObject | None = None
    result: Any = None
    error: StoreError | None = None
    operation: "Operation | None" = None

    @property
    def is_write(self) -> bool:
        """Whether it changes something."""
        return self.kind in {"put", "create", "replace", "stream", "delete"}

    @property
    def is_conditional(self) -> bool:
        """Whether it is a conditional PutObject."""
        return self.kind in {"create", "replace"}

    def proceed(self, fate: Fate) -> bool:
        """Take the next step; whether the request is over."""
        if self.stage == "answered":
            self._answer()
        elif self.stage == "unknown":
            self._resolve()
        elif fate in {"refuse", "break"}:
            if fate == "break":
                self.perform()
            self.error = Unavailable(f"{self.key}: the store did not answer")
            self._answer()
        elif fate in {"lose", "miss"} and self.is_write:
            self._lose(applied=fate == "lose")
            return False
        else:
            self.perform()
            if fate == "hold":
                self.stage = "answered"
                return False
            self._answer()
        return True

    def perform(self) -> None:
        """Have the store apply it."""
        try:
            self.result = self.apply()
        except StoreError as error:
            self.error = error

    def fail(self, error: BaseException) -> None:
        """End it without an answer."""
        if not self.future.done():
            self.future.set_exception(error)

    def _lose(self, *, applied: bool) -> None:
        assert self.line is not None
        self.before = self.line.bucket.look(self.key)
        if applied:
            self.perform()
        self.result = self.error = None
        self.stage = "unknown"

    def _resolve(self) -> None:
        """As the contract says: success if the bytes are ours; from the state before it is made again; else nobody can tell."""
        assert self.line is not None
        now = self.line.bucket.look(self.key)
        if not self.is_conditional:
            self.perform()
        elif now is not None and now.body == self.body:
            self.result = now.info.etag
        elif now == self.before:
            self.perform()
        else:
            self.error = Overtaken(self.key)
        self._answer()

    def _answer(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Line:
    """Implements storage.objects.contract.ObjectStore: the way of one process to the bucket.

    `ask` takes a request that is to wait, `abandon` one whose task no longer does. While `is_open`, nothing waits.
    """

    def __init__(
        self,
        bucket: Bucket,
        ask: Callable[[Request], None],
        abandon: Callable[[Request], None],
        now: Callable[[], float],
    ) -> None:
        self.bucket = bucket
        self.is_open = True
        self.is_dead = False
        self._ask, self._abandon, self._now = ask, abandon, now

    @property
    def capabilities(self) -> Capabilities:
        """See ObjectStore.capabilities."""
        return self.bucket.capabilities

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        found: StoredObject = await self._request("get", key, lambda: at_once(self.bucket.get(key)))
        return found

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        found: StoredObject | None = await self._request(
            "get", key, lambda: at_once(self.bucket.get_if_changed(key, etag))
        )
        return found

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        found: AsyncGenerator[bytes] = await self._request(
            "get", key, lambda: at_once(self.bucket.get_range(key, start, length))
        )
        return found

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        found: ObjectInfo = await self._request("head", key, lambda: at_once(self.bucket.head(key)))
        return found

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        kind = "create" if if_absent else "put" if if_match is None else "replace"
        etag: str = await self._request(
            kind, key, lambda: at_once(self.bucket.put(key, body, if_absent=if_absent, if_match=if_match)), body
        )
        return etag

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See ObjectStore.put_stream."""
        body = b"".join([chunk async for chunk in chunks])
        await self._request("stream", key, lambda: at_once(self.bucket.put(key, body)), body)
        return len(body)

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """See ObjectStore.compose."""
        await self._request("stream", key, lambda: at_once(self.bucket.compose(key, sources)))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        await self._request("delete", key, lambda: at_once(self.bucket.delete(key, if_match=if_match)))

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        await self._request("delete", " ".join(keys), lambda: at_once(self.bucket.delete_many(keys)))

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list. A request for a few keys each."""
        left = limit
        while left is None or left > 0:
            most = PAGE if left is None else min(PAGE, left)
            page: list[ObjectInfo] = await self._request("list", prefix, self._page(prefix, start_after, most))
            for info in page:
                yield info
            if len(page) < most:
                return
            start_after = page[-1].key
            left = None if left is None else left - len(page)

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get."""
        return await self.bucket.presign_get(key, expires)

    def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads."""
        return self.bucket.list_incomplete_uploads()

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload."""
        await self.bucket.abort_incomplete_upload(upload)

    async def close(self) -> None:
        """See ObjectStore.close."""

    def _page(self, prefix: str, start_after: str, most: int) -> Callable[[], Sequence[ObjectInfo]]:
        return lambda: self.bucket.page(prefix, start_after, most)

    async def _request(self, kind: str, key: str, apply: Callable[[], Any], body: bytes | None = None) -> Any:
        if self.is_dead:
            self._die()
        if self.is_open:
            return apply()
        actor = ACTOR.get()
        future = asyncio.get_running_loop().create_future()
        request = Request(actor, self, kind, key, apply, future, self._now(), body, operation=actor.operation)
        self._ask(request)
        try:
            return await future
        except asyncio.CancelledError:
            self._abandon(request)
            raise

    def _die(self) -> NoReturn:
        raise Died


def require_death(error: BaseException) -> None:
    """Raise the error again unless it is the death of the process, or of several of its tasks."""
    if isinstance(error, Died) or (isinstance(error, BaseExceptionGroup) and error.split(Died)[1] is None):
        return
    raise error
