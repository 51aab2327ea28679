"""A store that lets a test do something before any of its requests."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, cast

from storage.objects.contract import ObjectInfo, ObjectStore

At = int | str | tuple[str, str]
"""A request by its number from 0, its method, or method and key."""
Act = Callable[[], Awaitable[object]]


class Interrupted:
    """Passes on all requests to `inner`, and does `act` once, before the one that `at` tells; `count` is of all."""

    def __init__(self, inner: ObjectStore, at: At, act: Act) -> None:
        self._inner = inner
        self._at = at
        self._act = act
        self.count = 0

    def __getattr__(self, name: str) -> Any:
        """A method of the store."""
        method = getattr(self._inner, name)
        if name in {"capabilities", "close"}:
            return method
        if name in {"list", "list_incomplete_uploads"}:
            return lambda *args, **named: self._listing(method(*args, **named))

        async def request(*args: Any, **named: Any) -> Any:
            await self._next(name, str(args[0]) if args else "")
            return await method(*args, **named)

        return request

    async def _listing(self, listing: AsyncGenerator[ObjectInfo]) -> AsyncGenerator[ObjectInfo]:
        await self._next("list", "")
        async for info in listing:
            yield info

    async def _next(self, name: str, key: str) -> None:
        number, self.count = self.count, self.count + 1
        if self._at in (number, name, (name, key)):
            self._at = -1
            await self._act()


def interrupted(inner: ObjectStore, at: At, act: Act) -> tuple[ObjectStore, Interrupted]:
    """The same one twice: as a store, and as what counts."""
    store = Interrupted(inner, at, act)
    return cast("ObjectStore", store), store
