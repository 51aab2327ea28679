"""An event loop without a clock of its own: time passes when it is told to, and nothing depends on the machine.

Enough of a loop for what storage/ does with one: tasks, task groups, timeouts and sleeps. What goes to a thread is done at once.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from itertools import count
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready, in the order in which it became so. Times are in seconds since the loop was made."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._soon: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = count()
        self.failures: list[str] = []

    def time(self) -> float:
        """The virtual time."""
        return self._now

    def call_soon(  # type: ignore[override]  # without the types of what is passed on
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        handle = asyncio.Handle(callback, args, self, context)
        self._soon.append(handle)
        return handle

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(  # type: ignore[override]  # a task factory is never set
        self, coro: Coroutine[Any, Any, T], *, name: object = None, context: Context | None = None
    ) -> asyncio.Task[T]:
        """See asyncio. A task that never ends is a process that died: nothing to complain of."""
        task = asyncio.Task(coro, loop=self, name=str(name), context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Call `func` at once."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is for who awaits the future
            future.set_exception(error)
        return future

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what nobody handles: a simulation in which that happens has failed."""
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing: cancelled timers are dropped when they come up."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the loop that runs, within the block."""
        asyncio._set_running_loop(self)  # noqa: SLF001
        try:
            yield
        finally:
            asyncio._set_running_loop(None)  # noqa: SLF001

    def settle(self) -> None:
        """Run what is ready, until nothing is."""
        soon = self._soon
        while soon:
            handle = soon.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001

    def next_timer(self) -> float | None:
        """When the next timer is due, None if there is none."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def advance(self, seconds: float) -> None:
        """Let time pass, and each timer do its work when it is due."""
        until = self._now + seconds
        while (due := self.next_timer()) is not None and due <= until:
            self._now = max(self._now, due)
            heapq.heappop(self._timers)[2]._run()  # noqa: SLF001
            self.settle()
        self._now = until

    def finish(self, task: asyncio.Task[T]) -> T:
        """The result of a task that waits for nothing but time."""
        self.settle()
        while not task.done():
            due = self.next_timer()
            assert due is not None, "the task waits for something that never comes"
            self.advance(due - self._now)
            self.settle()
        return task.result()
