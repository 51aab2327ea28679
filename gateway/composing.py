"""The composition root: the one place that builds the registry from settings, with the real clock and real nonces."""

import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import click

from gateway.settings import Settings
from storage.errors import Denied, Invalid, MoorageError
from storage.objects.contract import Capabilities
from storage.objects.opening import Opening, open_store, shared_file
from storage.observing import UNOBSERVED, Observer
from storage.registry import Registry, Rules, open_registry, require_registry
from storage.views import Epoch

clock = time.time


def nonce() -> str:
    """16 random hex digits, fit for secrets."""
    return secrets.token_hex(8)


def opening(settings: Settings) -> Opening:
    """What the store that the settings name is opened with."""
    return Opening(clock, nonce, settings.public_s3_endpoint or None, settings.single_writer)


@asynccontextmanager
async def opened(
    settings: Settings,
    epoch: Epoch,
    *,
    must_exist: bool = False,
    observer: Observer = UNOBSERVED,
    known: Capabilities | None = None,
) -> AsyncGenerator[Registry]:
    """The registry that the settings name, closed at the end. `known` is what its store can do, if that was found out already."""
    store = await open_store(settings.store, replace(opening(settings), observer=observer, known=known))
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
        yield await open_registry(store, clock=clock, nonce=nonce, epoch=epoch, rules=rules, observer=observer)
    finally:
        await store.close()


@asynccontextmanager
async def maintained(settings: Settings, known: Capabilities | None = None) -> AsyncGenerator[Registry]:
    """The registry that the settings name, which must be there, for a command beside the gateways that serve it. `known` is as in `opened`."""
    if settings.store.startswith("memory:"):
        raise click.ClickException(f"--store {settings.store}: a registry in memory goes with its process")
    async with AsyncExitStack() as stack:
        try:
            epoch = epoch_of(settings)
            registry = await stack.enter_async_context(opened(settings, epoch, must_exist=True, known=known))
        except MoorageError as error:
            raise click.ClickException(f"--store {settings.store}: {error}") from None
        yield registry


def epoch_of(settings: Settings) -> Epoch:
    """That of the gateways which serve the store on this host, if it has a place for one; raises StoreError."""
    file = shared_file(settings.store)
    if file is None:
        return Epoch()
    try:
        if not file.parent.is_dir():
            raise Invalid("there is no such directory")
        return Epoch(file if file.exists() else None)  # to make it here could occupy a directory
    except OSError as error:
        raise Denied(f"{file.parent}: {error}") from None
