"""Remembers what clients pull, beside serving it: no request waits for that, and none fails by it."""

import asyncio
from asyncio import sleep as pause
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.requests import Request

from storage.errors import StoreError
from storage.references import Digest, RepositoryName
from storage.retention.pulls import PullLog

EVERY = 60.0  # seconds between two looks at what is to be written
LAST = 10.0  # seconds that the last write may keep a gateway from ending
_log = structlog.get_logger()


def note_pull(request: Request, name: RepositoryName, digest: Digest) -> None:
    """Remember that a manifest was sent. No request to the store."""
    log: PullLog | None = request.app.state.pull_log
    if log is not None:
        log.note(name, digest)


@asynccontextmanager
async def recording(log: PullLog | None) -> AsyncIterator[None]:
    """Write what `log` holds, hour by hour while the block goes on, and the rest at its end."""
    if log is None:
        yield
        return
    task = asyncio.create_task(_keep_writing(log))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await _write_the_rest(log)


async def _keep_writing(log: PullLog) -> None:
    while True:
        await pause(EVERY)
        await _write(log, everything=False)


async def _write_the_rest(log: PullLog) -> None:
    try:
        async with asyncio.timeout(LAST):
            await _write(log, everything=True)
    except TimeoutError:
        _log.warning("what was pulled could not be written down", error=f"the store took longer than {LAST:g} s")


async def _write(log: PullLog, *, everything: bool) -> None:
    """Write what is due; what the store does not take is due again next time."""
    try:
        await log.flush(everything=everything)
    except StoreError as error:
        _log.warning("what was pulled could not be written down yet", error=str(error))
