"""The threads of the embedded store: SQLite and files block, and MUST NOT block the event loop.

One thread writes to the index, so that writers of this process queue instead of polling SQLite's lock; a few do all else.
"""

import asyncio
import errno
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from storage.errors import Denied, Invalid, Unavailable

_OTHERS = 8
_NOT_ALLOWED = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """Does blocking work, and raises the errors of the contract: their messages begin with `subject`, a key as a rule."""

    def __init__(self) -> None:
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="embedded-writer")
        self._others = ThreadPoolExecutor(_OTHERS, thread_name_prefix="embedded")
        self._closed = False

    async def write(self, subject: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do work that changes the index."""
        return await self._run(subject, self._writer, work, *args, **kwargs)

    async def do(self, subject: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do any other work."""
        return await self._run(subject, self._others, work, *args, **kwargs)

    async def close(self, last: Callable[[], None]) -> None:
        """Wait for what is under way, do `last`, and end the threads. Idempotent."""
        if not self._closed:
            self._closed = True
            await asyncio.wrap_future(self._writer.submit(self._finish, last))
            self._writer.shutdown(wait=False)

    def _finish(self, last: Callable[[], None]) -> None:
        self._others.shutdown(wait=True)
        last()

    async def _run(
        self, subject: str, executor: Executor, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A cancellation waits for work that has begun, so nothing goes on behind the back of a caller who then tidies up."""
        if self._closed:
            raise Unavailable(f"{subject}: the store is closed")
        job = executor.submit(work, *args, **kwargs)
        ended = asyncio.wrap_future(job)
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await asyncio.wait([ended])
            except asyncio.CancelledError as error:
                cancelled = error
                job.cancel()
        if cancelled is not None:
            _ = ended.cancelled() or ended.exception()  # or asyncio would complain that nobody asked
            raise cancelled
        with _store_errors(subject):
            return ended.result()


@contextmanager
def _store_errors(subject: str) -> Iterator[None]:
    """Raise what SQLite and files raise as errors of the contract."""
    try:
        yield
    except sqlite3.Error as error:
        refused = getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_ALLOWED
        raise (Denied if refused else Unavailable)(f"{subject}: {error}") from error
    except OSError as error:
        refused = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
        raise (Denied if refused else Unavailable)(f"{subject}: {error}") from error
    except UnicodeEncodeError as error:
        raise Invalid(f"{subject!r} is not UTF-8") from error
