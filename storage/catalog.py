"""Which repositories exist, and when content was last deleted from one of them."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from itertools import chain, repeat
from typing import Any

from storage import layout
from storage.objects.contract import ObjectInfo
from storage.records import CatalogMarker, changed, decode, encode, is_tombstone
from storage.references import RepositoryName
from storage.shelf import Codec, Context, Shelf, settle
from storage.views import Moment, View

CLOCK_SKEW = 15 * 60.0


class Catalog:
    """The markers under `catalog/`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._markers = Shelf[CatalogMarker](context, Codec(encode, partial(decode, kind=CatalogMarker)))

    async def read(self, name: RepositoryName) -> View[CatalogMarker]:
        """A fresh view of the repository's marker: one GET."""
        return await self._markers.read(layout.catalog_key(name))

    def is_familiar(self, name: RepositoryName) -> bool:
        """Whether this process has seen the repository within the last minute."""
        return self._markers.known(layout.catalog_key(name)) is not None

    async def exists(self, name: RepositoryName) -> bool:
        """Whether the repository has, or lately had, a manifest."""
        return (await self._markers.recent(layout.catalog_key(name))).value is not None

    async def enter(self, name: RepositoryName, seen: View[CatalogMarker]) -> View[CatalogMarker]:
        """Make sure that the repository is in the catalog, given a view of its marker; no request if it is live there."""
        key = layout.catalog_key(name)
        looks = chain([seen], repeat(None))

        async def attempt() -> View[CatalogMarker]:
            view = next(looks) or await self._markers.read(key)
            if view.value is None:
                marker = CatalogMarker(self._context.nonce(), deletions=view.etag is not None)
                return await self._markers.write(key, marker, view)
            if view.value.state == "condemned":
                return await self._markers.write(key, self._renewed(view.value, state="live"), view)
            return view

        return await settle(attempt, key)

    async def note_deletion(self, name: RepositoryName) -> None:
        """Rewrite the marker, whatever its state, between a removal and its answer: one GET, one PUT.

        Writers of manifests read it after the views that they rely on (docs/design.md, Removal, rule 1).
        """
        key = layout.catalog_key(name)

        async def attempt() -> bool:
            view = await self._markers.read(key)
            if view.value is None:
                await self._markers.bury(view)
            else:
                await self._markers.write(key, self._renewed(view.value, deletions=True), view)
            return True

        await settle(attempt, key)

    def _renewed(self, marker: CatalogMarker, **fields: Any) -> CatalogMarker:
        return changed(marker, nonce=self._context.nonce(), **fields)

    async def list(self, last: str, limit: int) -> Sequence[RepositoryName]:
        """At most `limit` repositories after `last`, in the byte order of their markers: one LIST a 1,000."""
        keys = self._context.store.list(layout.CATALOG_PREFIX, start_after=layout.catalog_key(last) if last else "")
        return [layout.parse_catalog_key(key) async for key in live_keys(keys, limit)]


def deleted_since(marker: View[CatalogMarker], taken: Moment) -> bool:
    """Whether content may have been deleted from the repository after a view was taken.

    Compares the store's clock with ours, so it allows for the skew at which S3 refuses signatures.
    """
    if marker.etag is None or (marker.value is not None and not marker.value.deletions):
        return False
    return marker.modified > taken.time - CLOCK_SKEW


async def live_keys(listing: AsyncGenerator[ObjectInfo], limit: int) -> AsyncGenerator[str]:
    """The first `limit` keys of a listing that are no tombstones."""
    left = limit
    async for info in listing:
        if not is_tombstone(info.size):
            yield info.key
            left -= 1
        if left <= 0:
            break
    await listing.aclose()
