"""Collections beside serving: a thread of the parent that starts a child process whenever one is due.

The child works on its own, with low priority, so that nothing that serves ever waits for it. It looks in the bucket for when the last
collection of any gateway ended, and says on its standard output for how long there is nothing to do.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

from gateway.settings import Settings

COMMAND = (sys.executable, "-m", "gateway.cli", "collect-when-due")
AGAIN = 300.0  # seconds, or the whole interval if that is less, after a child that failed
JITTER = 10  # the part of the interval, at most AGAIN, by which gateways that start together differ
ENDS_WITHIN = 5.0  # seconds that a child has to end after SIGTERM
_NICE = 10
_log = structlog.get_logger()


class Schedule:
    """While it is entered, collections are made as `settings` want them."""

    def __init__(self, settings: Settings, command: Sequence[str] = COMMAND) -> None:
        self._every = settings.gc_every
        self._command = command
        self._ends = threading.Event()
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="schedule", daemon=True)

    def __enter__(self) -> Self:
        if self._every:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the child that there may be, and the thread."""
        with self._lock:
            self._ends.set()
            child = self._child
        if child is not None:
            _end(child)
        if self._every:
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._ends.wait(pause + random.uniform(0, min(self._every / JITTER, AGAIN))):  # noqa: S311 - jitter is no secret
            try:
                pause = self._work()
            except OSError as error:  # no memory or no process is left for it now
                _log.error("a collection could not be started", why=str(error))
                pause = min(self._every, AGAIN)

    def _work(self) -> float:
        """Start a child, and wait for it; returns for how many seconds there is nothing to do."""
        with self._lock:
            if self._ends.is_set():
                return 0
            # It ends with its standard input, so it never outlives this process; a terminal's Ctrl-C is not for it.
            self._child = child = subprocess.Popen(  # noqa: S603 - our own
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        assert child.stdout is not None  # noqa: S101 - it is a pipe
        with child:
            said = child.stdout.read()
            status = child.wait()
        with suppress(ValueError):
            if status == 0:
                return float(said)
        if not self._ends.is_set():
            _log.error("a collection failed", status=status)
        return min(self._every, AGAIN)


def follow_parent() -> None:
    """Make this process a child that steps back, and ends with its parent, however that did."""
    os.nice(_NICE)
    threading.Thread(target=_follow, daemon=True).start()


def _follow() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()
