"""Serving, and how it ends.

SIGTERM drains: `/readyz` says 503 while connections are still taken for `drain_delay`, so that a load balancer looks elsewhere; then
the listener is closed and open requests have `shutdown_grace` to finish; what is open after that is cut, as if its client had gone. SIGINT
skips the delay. A second signal ends everything at once, as a crash would, and a crash loses nothing that was acknowledged.
"""

import asyncio
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import cast

import uvicorn

from gateway.health import DRAINING
from gateway.protocol import Config, Protocol
from gateway.settings import Settings

CLEAN_UP = 10.0  # seconds that requests which were cut have to abort their uploads
KILLED = 128  # plus the signal's number: the status of a process that a second signal ended
_WATCH_EVERY = 5  # of uvicorn's ticks, a tenth of a second each
_LONGEST_LOOK = 1.0  # seconds; what exceeds them, this process stood still
_POLL = 0.05


class Server(uvicorn.Server):
    """One process that serves. `started` is called once it does, `again` with every signal after the first."""

    def __init__(self, settings: Settings, *, started: Callable[[], object], again: Callable[[int], object]) -> None:
        super().__init__(Config(settings))
        self._settings = settings
        self._started = started
        self._again = again
        self._exits_at: float | None = None
        self._watched_at = time.monotonic()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler
        """Begin to end."""
        if self._exits_at is not None:
            self._again(sig)
            return
        self._exits_at = time.monotonic() + (0 if sig == signal.SIGINT else self._settings.drain_delay)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the registry, and take connections."""
        await super().startup(sockets)
        self._started()

    async def on_tick(self, counter: int) -> bool:
        """What is done ten times a second; returns whether to go on to `shutdown`."""
        if counter % _WATCH_EVERY == 0:
            self._watch()
        if self._exits_at is not None:
            self.lifespan.state[DRAINING] = True
            self.should_exit = time.monotonic() >= self._exits_at
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, let requests finish or cut them, and close the registry."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await self._until_idle(self._settings.shutdown_grace)
        for connection in self._connections():
            connection.cut()
        await self._until_idle(CLEAN_UP)
        for task in self.server_state.tasks:
            task.cancel()
        await self.lifespan.shutdown()

    async def _until_idle(self, seconds: float) -> None:
        """Wait until nothing is under way, at most so long; connections that are idle are closed."""
        deadline = time.monotonic() + seconds
        while self.server_state.connections or self.server_state.tasks:
            for connection in self._connections():
                connection.shutdown()
            if time.monotonic() >= deadline:
                return
            if time.monotonic() - self._watched_at >= _WATCH_EVERY / 10:
                self._watch()
            await asyncio.sleep(_POLL)

    def _watch(self) -> None:
        now = time.monotonic()
        elapsed = min(now - self._watched_at, _LONGEST_LOOK)
        self._watched_at = now
        for connection in self._connections():
            connection.watch(elapsed)

    def _connections(self) -> list[Protocol]:
        return list(cast("set[Protocol]", self.server_state.connections))


def serve_alone(settings: Settings, listeners: list[socket.socket], scratch: Path) -> int:
    """Serve in this process until a signal ends it, and return the exit status; a start that fails is a SystemExit of another. `scratch` goes with a process that ends at once."""

    def leave(number: int) -> None:
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(KILLED + number)

    Server(settings, started=lambda: None, again=leave).run(sockets=listeners)
    return 0
