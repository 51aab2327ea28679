"""`moorage serve`: what is done until a server takes over."""

import asyncio
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.composing import epoch_of, opened, opening
from gateway.listening import listening
from gateway.options import SettingsCommand, config_option, given, setting_options
from gateway.schedule import Schedule
from gateway.serving import serve_alone
from gateway.settings import SettingError, Settings
from gateway.starting import require_sense, require_urls
from gateway.supervisor import Supervisor
from gateway.values import Address
from storage.errors import MoorageError
from storage.objects.contract import Capabilities
from storage.objects.opening import found_out, shared_file
from storage.views import Epoch

OPEN_FILES = 65536  # connections, and as many to the store


@click.command(cls=SettingsCommand)
@config_option
@setting_options
def serve(config: Path | None, **flags: Any) -> None:
    """Serve the registry."""
    # Until a server takes over: process 1 of a container, which has no default, would not even notice.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    start = given(config, flags)
    try:
        settings = start.settings()
        found = asyncio.run(_try_to_open(settings))
        listeners, exposure = listening(settings)
    except SettingError as error:
        raise click.ClickException(str(error)) from None
    for sentence in start.overridden():
        click.echo(sentence, err=True)
    _announce(settings, listeners[0].getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="moorage-") as scratch:
        epoch = str(shared_file(settings.store) or Path(scratch, "epoch"))
        msgspec.structs.replace(start, epoch=epoch, exposure=exposure, metrics=scratch, store=found).hand_down()
        _allow_open_files()
        with Schedule(settings):
            status = (
                Supervisor(settings, listeners).run()
                if settings.workers > 1
                else serve_alone(settings, listeners, Path(scratch))
            )
        sys.exit(status)


async def _try_to_open(settings: Settings) -> Capabilities | None:
    """Open the registry once before serving, so that what is wrong is said in a sentence; what `found_out` says of its store."""
    require_sense(settings)
    try:
        found = await found_out(settings.store, opening(settings))
        async with opened(settings, Epoch(), known=found) as registry:
            presigns = registry.store.capabilities.presigning
            epoch_of(settings)  # which the workers open
    except MoorageError as error:
        raise SettingError(f"--store {settings.store}: {error}") from None
    require_urls(settings, presigns=presigns)
    return found


def _allow_open_files() -> None:
    """As many open files as we may have: the usual limit of 1024 is meant for programs that cannot take more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _announce(settings: Settings, port: int) -> None:
    registry = Address(settings.listen.host, port).from_here()
    click.echo(
        f"moorage listens on http://{registry} and stores in {settings.store}. With any image, alpine say:\n"
        f"  docker tag alpine {registry}/alpine:1\n"
        f"  docker push {registry}/alpine:1\n"
        f"  docker pull {registry}/alpine:1",
        err=True,
    )
