"""Commands that do their work and end: what a signal does to them, and how what is wrong is said."""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any

import click
import uvloop

from gateway.settings import Settings
from storage.errors import MoorageError
from storage.registry import Registry

Opened = Callable[[Settings], AbstractAsyncContextManager[Registry]]
"""Opens the registry that the settings name, beside the gateways that serve it; raises SettingError."""

STOPPED = "stopped by a signal; what was done until then stays done"
_UNWRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
SIGNALLED = 128  # plus the signal's number: the status of a process that it ended


def run(work: Coroutine[Any, Any, int]) -> int:
    """Run `work` to its exit status. SIGTERM and SIGINT cancel it, so that it lets go of what it holds; errors are a sentence."""
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_stoppable(work))
    except MoorageError as error:
        raise click.ClickException(str(error)) from None
    except (asyncio.CancelledError, KeyboardInterrupt) as error:
        click.echo(f"Error: {STOPPED}", err=True)
        number = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
        return SIGNALLED + number


@contextmanager
def printing() -> Iterator[None]:
    """What cannot be printed is a sentence; that nobody reads it any more, click says by the status alone."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITTEN or error.filename is not None:
            raise
        _forget_output()
        raise click.ClickException(f"what there is to say cannot be written: {error.strerror}") from None


def _forget_output() -> None:
    """Have Python not try once more, as it ends, to write what is left."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


async def _stoppable(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine that runs has one
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await work
