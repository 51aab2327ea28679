"""What this process has lately seen in the bucket: positive, bounded in bytes, and at most a minute old.

A view is dated from before its read began. Workers share an epoch, eight bytes of memory that every removal rewrites: a view from
another epoch is forgotten, so that what one worker deleted is gone on all of them at once. Others learn it by age, which is far below the grace period (docs/design.md, Removal).
"""

import mmap
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from storage.objects.embedded_files import make_file
from storage.observing import UNOBSERVED, Observer

Value = TypeVar("Value")

_EPOCH_SIZE = 8
_ENTRY_OVERHEAD = 600


class Epoch:
    """Eight bytes in memory, shared by the processes that open the same file; private without one."""

    def __init__(self, file: Path | None = None) -> None:
        if file is None:
            self._memory = mmap.mmap(-1, _EPOCH_SIZE)
            return
        make_file(file)
        with file.open("a+b") as opened:
            if opened.seek(0, 2) < _EPOCH_SIZE:
                opened.truncate(_EPOCH_SIZE)
            self._memory = mmap.mmap(opened.fileno(), _EPOCH_SIZE)

    def read(self) -> bytes:
        """The current epoch."""
        return self._memory[:]

    def advance(self, nonce: str) -> None:
        """Begin a new epoch, named by 16 random hex digits: two processes that do so at once still change it."""
        self._memory[:] = bytes.fromhex(nonce)


class Moment(msgspec.Struct, frozen=True):
    """A point in this gateway's time, in seconds since 1970, and the epoch that it lay in."""

    time: float
    epoch: bytes


class View(msgspec.Struct, Generic[Value], frozen=True):
    """What a read or write of `key` saw: no etag means that the key is absent, an etag without a value a tombstone.

    `size` is in bytes, `modified` the store's LastModified, 0 if unknown, and `taken` dates from before the request began.
    """

    key: str
    value: Value | None
    etag: str | None
    size: int
    modified: float
    taken: Moment


class Views:
    """The views of this process, forgotten by age, by epoch, and by least use once they fill `max_bytes`."""

    def __init__(
        self,
        clock: Callable[[], float],
        epoch: Epoch,
        *,
        max_age: float = 60.0,
        max_bytes: int,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._clock = clock
        self._epoch = epoch
        self.max_age = max_age
        self._room = max_bytes
        self._observer = observer
        self._views: OrderedDict[str, View[Any]] = OrderedDict()

    def now(self) -> Moment:
        """The moment to date a read by, taken before it begins."""
        return Moment(self._clock(), self._epoch.read())

    def is_recent(self, taken: Moment) -> bool:
        """Whether a view from `taken` may still be relied on."""
        return taken.epoch == self._epoch.read() and 0 <= self._clock() - taken.time <= self.max_age

    def get(self, key: str) -> View[Any] | None:
        """The recent view of `key`, if there is one."""
        found = self.peek(key)
        self._observer.looked(found=found is not None)
        return found

    def peek(self, key: str) -> View[Any] | None:
        """As `get`, by who has looked for it before: the observer is not told again."""
        found = self._views.get(key)
        if found is None or not self.is_recent(found.taken):
            return None
        self._views.move_to_end(key)
        return found

    def keep(self, key: str, view: View[Any]) -> None:
        """Remember `view` under `key`, which may be another one than its own, and forget the least used beyond the bound."""
        self.forget(key)
        self._views[key] = view
        self._room -= view.size + _ENTRY_OVERHEAD
        while self._room < 0:
            self.forget(next(iter(self._views)))

    def forget(self, key: str) -> None:
        """Drop the view of `key`."""
        found = self._views.pop(key, None)
        if found is not None:
            self._room += found.size + _ENTRY_OVERHEAD

    def begin_epoch(self, nonce: str) -> None:
        """Forget all views, here and in every process that shares the epoch: something was removed."""
        self._epoch.advance(nonce)
