"""The store that all processes of a simulation share, changed one request at a time."""

from bisect import bisect_right
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from storage.objects.contract import Capabilities, ObjectInfo, StoredObject
from storage.objects.memory import MemoryStore

T = TypeVar("T")

PAGE = 3  # keys that a request of a listing returns


class Bucket(MemoryStore):
    """A memory store that notes which keys were changed, and by whom a request is applied at once: it never waits."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.changed: list[str] = []

    def look(self, key: str) -> StoredObject | None:
        """What lies under a key, without a request."""
        return self._objects.get(key)

    def keys(self, prefix: str) -> list[str]:
        """All keys below a prefix, in order, without a request."""
        return sorted(key for key in self._objects if key.startswith(prefix))

    def everything(self) -> list[str]:
        """All keys there are, without a request."""
        return self.keys("")

    def declare(self, **capabilities: bool) -> None:
        """Have other capabilities."""
        fields = {name: getattr(self.capabilities, name) for name in Capabilities.__slots__}
        self.capabilities = Capabilities(**(fields | capabilities))

    def page(self, prefix: str, start_after: str, limit: int) -> list[ObjectInfo]:
        """The first keys below a prefix after another key."""
        keys = self.keys(prefix)
        first = bisect_right(keys, start_after)
        return [self._objects[key].info for key in keys[first : first + limit]]

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        etag = await super().put(key, body, if_absent=if_absent, if_match=if_match)
        self.changed.append(key)
        return etag

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        await super().delete(key, if_match=if_match)
        self.changed.append(key)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        await super().delete_many(keys)
        self.changed.extend(keys)


def at_once(request: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits."""
    try:
        request.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("a request waited")
