"""Runs an asynchronous server in a thread with an event loop of its own, beside tests that block."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def in_thread(server: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What `server` gives, while it runs in another thread; only what is safe between threads may be done with it here."""
    started: Future[tuple[T, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        async with server as given:
            stop = asyncio.Event()
            started.set_result((given, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    given, loop, stop = started.result(timeout=30)
    try:
        yield given
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
