"""Dry runs of the retention: what would have gone, kept in the bucket to be read later."""

from collections.abc import Sequence
from contextlib import aclosing

import msgspec

from storage import layout
from storage.errors import NotFound, PolicyError
from storage.listings import ours
from storage.records import decode, encode
from storage.shelf import Context

KEPT = 30 * 24 * 3600.0  # seconds that a dry run is kept


class Affected(msgspec.Struct, frozen=True):
    """An image that would go. `size` is in bytes, of the manifest and the blobs that it names, which others may name too."""

    repository: str
    digest: str
    tags: tuple[str, ...]
    why: str
    size: int


class DryRun(msgspec.Struct, frozen=True):
    """What a run at `at`, in seconds since 1970 by the store's clock, found; `problems` are sentences on what it left alone."""

    at: float
    policies: tuple[str, ...]
    images: tuple[Affected, ...]
    problems: tuple[str, ...]
    nonce: str


class DryRuns:
    """The records under `retention/dry-runs/`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def add(self, at: float, policies: Sequence[str], images: Sequence[Affected], problems: Sequence[str]) -> str:
        """Keep what a dry run found, and forget those that are too old; its id. One PUT and one LIST."""
        nonce = self._context.nonce()
        record = DryRun(at, tuple(policies), tuple(images), tuple(problems), nonce)
        key = layout.dry_run_key(at, nonce)
        await self._context.store.put(key, encode(record), if_absent=True)
        old = [each for each in await self.ids() if layout.parse_dry_run_key(_key(each))[0] < at - KEPT]
        if old:
            await self._context.store.delete_many([_key(each) for each in old[:1000]])
        return key.removeprefix(layout.DRY_RUNS_PREFIX)

    async def ids(self) -> list[str]:
        """Of all of them, oldest first. One LIST."""
        async with aclosing(ours(self._context.store, layout.DRY_RUNS_PREFIX, _id)) as listing:
            return [each async for each in listing]

    async def get(self, identifier: str) -> DryRun:
        """The dry run with this id; raises PolicyError and CorruptRecord. One GET."""
        try:
            layout.parse_dry_run_key(_key(identifier))
            record = decode(await self._context.store.get(_key(identifier)), DryRun)
        except (ValueError, NotFound):
            record = None
        if record is None:
            raise PolicyError(f"there is no dry run {identifier[:200]}")
        return record


def _id(key: str) -> str:
    layout.parse_dry_run_key(key)
    return key.removeprefix(layout.DRY_RUNS_PREFIX)


def _key(identifier: str) -> str:
    return layout.DRY_RUNS_PREFIX + identifier
