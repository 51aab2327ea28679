"""Several processes that serve the same listening sockets, and the one that looks after them; what each serves is in gateway.worker.

A worker that dies is replaced; one that ends by itself before it served stops them all, for the next would do no better. Workers take a signal
as often as it comes, since a terminal and some service managers signal every process of a group: only the parent tells a second one apart.
"""

import multiprocessing
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

import structlog

from gateway.serving import CLEAN_UP, KILLED, Server
from gateway.settings import Settings

_POLL = 0.2
_MARGIN = 30.0  # seconds beyond all graces for a worker to end, before it is killed
_spawn = multiprocessing.get_context("spawn")
_log = structlog.get_logger()


class Worker(NamedTuple):
    """A process, and the line on which it says that it serves. The worker drains when the line's other end is gone."""

    process: SpawnProcess
    line: Connection

    def has_served(self) -> bool:
        """Whether it ever began to serve."""
        return self.line.poll() and self._said_so()

    def _said_so(self) -> bool:
        try:
            return bool(self.line.recv())
        except EOFError:
            return False


class Supervisor:
    """Looks after the workers of `settings`, all on `listeners`. Each has a number for a name, which its replacement takes over."""

    def __init__(self, settings: Settings, listeners: list[socket.socket]) -> None:
        self._settings = settings
        self._listeners = listeners
        self._signals: list[int] = []
        self._workers: list[Worker] = []

    def run(self) -> int:
        """Serve until a signal ends it, and return the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _: self._signals.append(received))
        resource_tracker.ensure_running()  # or the first worker would start it, which unblocks SIGINT
        self._workers = [self._start(index) for index in range(self._settings.workers)]
        while not self._signals:
            wait([worker.process.sentinel for worker in self._workers], _POLL)
            if not self._signals and not self._replace_the_dead():
                self._drain(signal.SIGINT)
                return 1
        return self._drain(self._signals[0])

    def _start(self, index: int) -> Worker:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_work, name=str(index), args=(self._settings, self._listeners, theirs))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which the worker inherits, until it can heed it
        process.start()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        theirs.close()
        return Worker(process, ours)

    def _replace_the_dead(self) -> bool:
        """Whether all that died had served, or were killed."""
        for index, worker in enumerate(self._workers):
            status = worker.process.exitcode
            if status is None:
                continue
            _log.error("a worker died", pid=worker.process.pid, status=status)
            if status >= 0 and not worker.has_served():
                return False
            worker.line.close()
            self._workers[index] = self._start(index)
        return True

    def _drain(self, number: int) -> int:
        """Pass the signal on and wait for all to end; at a second one kill them. Returns the exit status."""
        for listener in self._listeners:
            listener.close()
        for worker in self._workers:
            _send(worker.process, number)
        deadline = time.monotonic() + self._settings.drain_delay + self._settings.shutdown_grace + CLEAN_UP + _MARGIN
        while alive := [worker.process.sentinel for worker in self._workers if worker.process.exitcode is None]:
            wait(alive, _POLL)
            if len(self._signals) > 1 or time.monotonic() >= deadline:
                self._kill()
        return KILLED + self._signals[1] if len(self._signals) > 1 else 0

    def _kill(self) -> None:
        for worker in self._workers:
            worker.process.kill()
            worker.process.join()


def _send(process: SpawnProcess, number: int) -> None:
    assert process.pid is not None  # noqa: S101 - it was started
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _work(settings: Settings, listeners: list[socket.socket], line: Connection) -> None:
    """Serve in a process of its own."""

    def started() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        line.send("serving")

    threading.Thread(target=_follow, args=(line,), daemon=True).start()
    Server(settings, started=started, again=lambda _: None).run(sockets=listeners)


def _follow(line: Connection) -> None:
    """End when the parent has ended, however it did."""
    with suppress(EOFError, OSError):
        line.recv()
    os.kill(os.getpid(), signal.SIGTERM)
