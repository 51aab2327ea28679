"""The command line, and the one place that builds components from settings: the composition root."""

import asyncio
import multiprocessing
import os
import resource
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import msgspec
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from gateway import batch, due, logs
from gateway import doctor as checkups
from gateway.access import AccessLog, request_ids
from gateway.admission import Admission
from gateway.app import create_app
from gateway.collection import gc
from gateway.listening import listening
from gateway.metrics import Metrics, keep_alone, keep_among_others
from gateway.options import Given, config_option, given, setting_options, settings_of
from gateway.retention import retention
from gateway.schedule import Schedule, follow_parent
from gateway.scraping import reader, reader_of_all
from gateway.scrub import scrub
from gateway.serving import serve_alone
from gateway.settings import Address, SettingError, Settings, describe
from gateway.starting import require_one_worker, require_schedule, require_urls
from gateway.workers import Workers
from gateway.wrapping import Watch
from storage.errors import MoorageError
from storage.objects.opening import Opening, open_store, shared_file
from storage.observing import UNOBSERVED, Observer
from storage.registry import Registry, Rules, open_registry, require_registry
from storage.views import Epoch

OPEN_FILES = 65536  # connections, and as many to the store
_START = "_MOORAGE_START"  # on the way to a worker process; not a setting


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="moorage")
@click.pass_context
def main(context: click.Context) -> None:
    """A container registry whose only state is an S3-compatible bucket."""
    context.obj = _maintained


main.add_command(gc)
main.add_command(retention)
main.add_command(scrub)


@main.command()
@config_option
@setting_options
def serve(config: Path | None, **flags: Any) -> None:
    """Serve the registry."""
    # Until a server takes over: process 1 of a container, which has no default, would not even notice.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    start = given(config, flags)
    try:
        settings = start.settings()
        asyncio.run(_try_to_open(settings))
        listeners, exposure = listening(settings)
    except SettingError as error:
        raise click.ClickException(str(error)) from None
    _announce(settings, listeners[0].getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="moorage-") as scratch:
        epoch = str(shared_file(settings.store) or Path(scratch, "epoch"))
        start = msgspec.structs.replace(start, epoch=epoch, exposure=exposure, metrics=scratch)
        os.environ[_START] = msgspec.json.encode(start).decode()
        _allow_open_files()
        with Schedule(settings):
            status = (
                Workers(settings, listeners).run()
                if settings.workers > 1
                else serve_alone(settings, listeners, Path(scratch))
            )
        sys.exit(status)


@main.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document rather than a table.")
@setting_options
def doctor(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Examine the store within seconds; exit with 1 if `serve` would not start.

    It takes all that `serve` takes, writes a few small objects below probe/, and removes them.
    """
    settings = settings_of(given(config, flags))
    checkup = asyncio.run(checkups.examined(settings, _opening(settings)))
    click.echo(checkups.as_json(checkup) if as_json else checkups.as_text(checkup))
    sys.exit(not checkup.starts)


@main.command(hidden=True)
def collect_when_due() -> None:
    """Collect as a child of `serve`, and print for how many seconds there is nothing to do."""
    follow_parent()
    start = msgspec.json.decode(os.environ[_START], type=Given)
    settings = start.settings()
    _configure_logs(settings)

    async def work() -> int:
        async with _maintained(settings) as registry:
            click.echo(await due.collect_when_due(registry, settings, time.time))
        return 0

    sys.exit(batch.run(work()))


@main.command()
def settings() -> None:
    """Print all settings as a table in Markdown."""
    click.echo("| setting | environment | flag | value | default | what it does |\n|---|---|---|---|---|---|")
    for each in describe():
        cells = (f"`{each.name}`", f"`{each.variable}`", f"`{each.flag}`", each.kind, each.default, each.description)
        click.echo(f"| {' | '.join(cells)} |")


def application() -> Starlette:
    """The gateway of a worker process, for uvicorn."""
    start = msgspec.json.decode(os.environ[_START], type=Given)
    settings, epoch = start.settings(), Epoch(Path(start.epoch) if start.epoch else None)
    _configure_logs(settings)
    metrics, read_metrics = _metrics(settings, start)
    access_log = AccessLog(time.time, as_text=logs.is_text(settings.log_format)) if settings.access_log else None
    return create_app(
        lambda: _opened(settings, epoch, observer=metrics),
        clock=time.time,
        redirect=settings.blob_delivery != "proxy",
        admission=Admission(settings.max_requests, settings.max_requests_per_client),
        record_pulls=settings.record_pulls,
        watch=Watch(metrics, start.exposure, access_log, request_ids(_nonce()), time.perf_counter),
        read_metrics=read_metrics,
    )


def _metrics(settings: Settings, start: Given) -> tuple[Metrics, Callable[[], bytes]]:
    """The instruments of this process, and what reads them, with those of the other workers if there are any."""
    if settings.workers == 1 or start.metrics is None:
        keep_alone()
        registry = CollectorRegistry()
        return Metrics(registry), reader(registry)
    directory = Path(start.metrics)
    keep_among_others(directory, multiprocessing.current_process().name)
    return Metrics(CollectorRegistry()), reader_of_all(directory)


def _configure_logs(settings: Settings) -> None:
    """Set up logging, which never tells the credentials of the environment."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    logs.configure(settings.log_format, [os.environ.get(name, "") for name in names])


@asynccontextmanager
async def _maintained(settings: Settings) -> AsyncGenerator[Registry]:
    """The registry that the settings name, which must be there, for a command beside the gateways that serve it."""
    if settings.store.startswith("memory:"):
        raise click.ClickException(f"--store {settings.store}: a registry in memory goes with its process")
    shared = shared_file(settings.store)
    if shared is not None and not shared.parent.is_dir():
        raise click.ClickException(f"--store {settings.store}: there is no such directory")
    epoch = Epoch(
        shared if shared is not None and shared.exists() else None
    )  # to make it here could occupy a directory
    async with AsyncExitStack() as stack:
        try:
            registry = await stack.enter_async_context(_opened(settings, epoch, must_exist=True))
        except MoorageError as error:
            raise click.ClickException(f"--store {settings.store}: {error}") from None
        yield registry


@asynccontextmanager
async def _opened(
    settings: Settings, epoch: Epoch, *, must_exist: bool = False, observer: Observer = UNOBSERVED
) -> AsyncGenerator[Registry]:
    """The registry that the settings name, closed at the end."""
    store = await open_store(settings.store, replace(_opening(settings), observer=observer))
    rules = Rules(
        periods=settings.periods(),
        cache_bytes=settings.cache_bytes,
        max_manifest_bytes=settings.max_manifest_bytes,
        max_blob_bytes=settings.max_blob_bytes,
        allow_sparse=settings.allow_sparse,
    )
    try:
        if must_exist:
            await require_registry(store)
        yield await open_registry(store, clock=time.time, nonce=_nonce, epoch=epoch, rules=rules, observer=observer)
    finally:
        await store.close()


def _opening(settings: Settings) -> Opening:
    return Opening(time.time, _nonce, settings.public_s3_endpoint or None, settings.single_writer)


def _nonce() -> str:
    return secrets.token_hex(8)


async def _try_to_open(settings: Settings) -> None:
    """Open the registry once before serving, so that what is wrong is said in a sentence."""
    require_one_worker(settings)
    require_schedule(settings)
    try:
        async with _opened(settings, Epoch()) as registry:
            presigns = registry.store.capabilities.presigning
    except MoorageError as error:
        raise SettingError(f"--store {settings.store}: {error}") from None
    require_urls(settings, presigns=presigns)


def _allow_open_files() -> None:
    """As many open files as we may have: the usual limit of 1024 is meant for programs that cannot take more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _announce(settings: Settings, port: int) -> None:
    registry = str(Address(settings.listen.host, port))
    click.echo(
        f"moorage listens on http://{registry} and stores in {settings.store}. With any image, alpine say:\n"
        f"  docker tag alpine {registry}/alpine:1\n"
        f"  docker push {registry}/alpine:1\n"
        f"  docker pull {registry}/alpine:1",
        err=True,
    )


if __name__ == "__main__":
    main()
