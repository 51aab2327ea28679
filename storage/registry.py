"""The registry: its nouns, assembled over a store. All that gateway/ needs besides value types and errors."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from storage import layout
from storage.blobs import Blobs
from storage.catalog import Catalog
from storage.errors import ForeignFormat, NotFound, PreconditionFailed
from storage.manifests import Manifests
from storage.objects.contract import ObjectStore, StoredObject
from storage.records import Format, decode, encode
from storage.referrers import Referrers
from storage.sessions import Sealer
from storage.shelf import Context
from storage.tags import Tags
from storage.uploads import Uploads
from storage.views import MAX_AGE, Epoch, Views

FORMAT = Format("moorage", 1)
_SECRET_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that storage/ knows: ages in seconds, sizes in bytes."""

    upload_expiry: float = 48 * 3600.0
    view_age: float = MAX_AGE
    cache_bytes: int = 32 * 1024 * 1024
    max_manifest_bytes: int = 4 * 1024 * 1024
    max_blob_bytes: int = 5 * 1024**4
    allow_sparse: bool = False


class Registry:
    """One attribute a noun. Made by `open_registry`."""

    def __init__(self, context: Context, sealer: Sealer, rules: Rules) -> None:
        self.store = context.store
        self.rules = rules
        self.catalog = Catalog(context)
        self.blobs = Blobs(context, self.catalog)
        self.uploads = Uploads(context, self.blobs, sealer, rules.upload_expiry, rules.max_blob_bytes)
        self.tags = Tags(context)
        self.manifests = Manifests(context, self.catalog, self.blobs, self.tags, allow_sparse=rules.allow_sparse)
        self.referrers = Referrers(context, self.manifests, rules.max_manifest_bytes)

    async def check(self) -> None:
        """A round trip to the store that raises its errors: one GET."""
        await self.store.get(layout.FORMAT_KEY)


async def open_registry(
    store: ObjectStore, *, clock: Callable[[], float], nonce: Callable[[], str], epoch: Epoch, rules: Rules
) -> Registry:
    """Open the registry in `store`, or make an empty store into one; raises ForeignFormat for a format that is not ours.

    `clock` gives seconds since 1970, `nonce` 16 random hex digits, of a quality fit for secrets.
    """
    await _check_format(store)
    secret = await _secret(store, nonce, "uploads")
    views = Views(clock, epoch, max_age=rules.view_age, max_bytes=rules.cache_bytes)
    return Registry(Context(store, views, clock, nonce), Sealer(secret), rules)


async def _check_format(store: ObjectStore) -> None:
    found = decode(await _once(store, layout.FORMAT_KEY, lambda: encode(FORMAT)), Format)
    if found is None or found.format != FORMAT.format:
        raise ForeignFormat(f"{layout.FORMAT_KEY} in the store was not written by moorage")
    if found.version > FORMAT.version:
        raise ForeignFormat(
            f"the store has format {found.version}, written by a newer moorage; this one knows {FORMAT.version}"
        )


async def _secret(store: ObjectStore, nonce: Callable[[], str], name: str) -> bytes:
    """The secret `name`, drawn by whoever comes first."""
    return (await _once(store, layout.secret_key(name), partial(_draw, nonce))).body


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
