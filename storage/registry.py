"""The registry: its nouns, assembled over a store. All that gateway/ needs besides value types and errors."""

import re
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial

from storage import layout
from storage.blobs import Blobs
from storage.catalog import Catalog
from storage.collection.collector import Collector
from storage.errors import CorruptRecord, ForeignFormat, NotFound, PreconditionFailed
from storage.lease import Lease
from storage.manifests import Manifests
from storage.objects.contract import ObjectStore, StoredObject
from storage.observing import UNOBSERVED, Observer
from storage.periods import Periods
from storage.records import Format, decode, encode
from storage.referrers import Referrers
from storage.removals import Journal
from storage.retention.dry_runs import DryRuns
from storage.retention.policies import Policies
from storage.retention.pulls import PullLog
from storage.retention.runs import Retention
from storage.scrub.runs import Scrub
from storage.sessions import Sealer
from storage.shelf import Context
from storage.tags import Tags
from storage.undo import Undo
from storage.uploads import Uploads
from storage.views import Epoch, Views

FORMAT = Format("moorage", 1)
_UPLOADS = "uploads"  # the name of the secret that seals upload sessions
_SECRET_DIGITS = 64
_SECRET = re.compile(rb"[0-9a-f]{%d}" % _SECRET_DIGITS)


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that storage/ knows: sizes in bytes."""

    periods: Periods = field(default_factory=Periods)
    cache_bytes: int = 32 * 1024 * 1024
    max_manifest_bytes: int = 4 * 1024 * 1024
    max_blob_bytes: int = 5 * 1024**4
    allow_sparse: bool = False


class Registry:
    """One attribute a noun. Made by `open_registry`."""

    def __init__(self, context: Context, sealer: Sealer, rules: Rules) -> None:
        self._context = context
        self.store = context.store
        self.rules = rules
        self.catalog = Catalog(context)
        self.blobs = Blobs(context, self.catalog)
        renew = partial(_secret, context.store, _UPLOADS)
        self.uploads = Uploads(context, self.blobs, sealer, renew, most=rules.max_blob_bytes)
        self.tags = Tags(context)
        self.manifests = Manifests(context, self.catalog, self.blobs, self.tags, allow_sparse=rules.allow_sparse)
        self.journal = Journal(context)
        self.undo = Undo(context, self.blobs, self.manifests, self.tags)
        self.referrers = Referrers(context, self.manifests, rules.max_manifest_bytes)
        self.collector = Collector(context)
        self.policies = Policies(context)
        self.dry_runs = DryRuns(context)
        self.retention = Retention(context, self.catalog, self.manifests, self.policies, self.dry_runs)
        self.pull_log = PullLog(context)
        self.scrub = Scrub(context, self.catalog, allow_sparse=rules.allow_sparse)

    def lease(self, work: str) -> Lease:
        """The lease of a kind of maintenance."""
        return Lease(self._context, work)

    async def check(self) -> None:
        """A round trip to the store that raises its errors: one GET."""
        await self.store.get(layout.FORMAT_KEY)


async def open_registry(  # noqa: PLR0913 - all but the store have names
    store: ObjectStore,
    *,
    clock: Callable[[], float],
    nonce: Callable[[], str],
    epoch: Epoch,
    rules: Rules,
    observer: Observer = UNOBSERVED,
) -> Registry:
    """Open the registry in `store`, or make an empty store into one; raises ForeignFormat for a format that is not ours.

    `clock` gives seconds since 1970, `nonce` 16 random hex digits, of a quality fit for secrets; `observer` is
    told what the caches do.
    """
    await _check_format(store)
    sealer = Sealer(await _secret(store, _UPLOADS, _draw(nonce)))
    views = Views(clock, epoch, max_age=rules.periods.view_age, max_bytes=rules.cache_bytes, observer=observer)
    return Registry(Context(store, views, clock, nonce, rules.periods), sealer, rules)


async def require_registry(store: ObjectStore) -> None:
    """Raise ForeignFormat if there is no registry in `store`, which `open_registry` would make. One GET."""
    try:
        await store.get(layout.FORMAT_KEY)
    except NotFound:
        raise ForeignFormat("there is no registry in it") from None


async def inspect(store: ObjectStore) -> None:
    """Raise what `open_registry` would about what is in `store`, and write nothing."""
    try:
        _require_ours(await store.get(layout.FORMAT_KEY))
    except NotFound:
        await _refuse_content(store)


async def _check_format(store: ObjectStore) -> None:
    try:
        written = await store.get(layout.FORMAT_KEY)
    except NotFound:
        await _refuse_content(store)
        written = await _once(store, layout.FORMAT_KEY, lambda: encode(FORMAT))
    _require_ours(written)


def _require_ours(written: StoredObject) -> None:
    try:
        found = decode(written, Format)
    except CorruptRecord as error:
        raise ForeignFormat(f"the store was not written by moorage, or was damaged: {error}") from None
    if found is None or found.format != FORMAT.format:
        raise ForeignFormat(f"{layout.FORMAT_KEY} in the store was not written by moorage")
    if found.version > FORMAT.version:
        raise ForeignFormat(
            f"the store has format {found.version}, written by a newer moorage; this one knows {FORMAT.version}"
        )


async def _refuse_content(store: ObjectStore) -> None:
    """Raise ForeignFormat if there is anything in a store that has no format: another layout, or a registry that lost it."""
    async with aclosing(store.list("")) as listing:
        async for info in listing:
            if info.key.startswith(layout.PROBE_PREFIX):
                continue
            if await _has_format(store):
                return
            raise ForeignFormat(
                f"the store has {info.key!r} but no {layout.FORMAT_KEY}, so moorage did not write it: name an empty"
                " bucket, prefix or directory"
            )


async def _has_format(store: ObjectStore) -> bool:
    """Whether another gateway has written it meanwhile, as each does before anything else."""
    try:
        await store.get(layout.FORMAT_KEY)
    except NotFound:
        return False
    return True


async def _secret(store: ObjectStore, name: str, drawn: bytes) -> bytes:
    """The secret `name`: what the bucket has, or `drawn` if it has none; raises CorruptRecord for what is no secret."""
    key = layout.secret_key(name)
    secret = (await _once(store, key, lambda: drawn)).body
    if not _SECRET.fullmatch(secret):
        raise CorruptRecord(
            key, f"is no secret of moorage, which has {_SECRET_DIGITS} hex digits: put the right one back"
        )
    return secret


def _draw(nonce: Callable[[], str]) -> bytes:
    return "".join(nonce() for _ in range(_SECRET_DIGITS // 16)).encode()


async def _once(store: ObjectStore, key: str, make: Callable[[], bytes]) -> StoredObject:
    """The object under `key`, written by the first who asks for it."""
    try:
        return await store.get(key)
    except NotFound:
        with suppress(PreconditionFailed):
            await store.put(key, make(), if_absent=True)
        return await store.get(key)
