"""Which repositories exist, and when content was last deleted from one of them."""

from collections.abc import Sequence
from itertools import chain, repeat
from typing import Any

from storage import layout
from storage.listings import page_of
from storage.records import CatalogMarker, changed
from storage.references import RepositoryName
from storage.shelf import Context, Shelf, codec, settle
from storage.views import Moment, View


class Catalog:
    """The markers under `catalog/`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._markers = Shelf(context, codec(CatalogMarker))

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
        """Rewrite the marker, whatever its state, right before content is removed: one GET, one PUT.

        Writers of manifests read it after the views that they rely on (docs/design.md, Removal, rule 1). It is done before the
        removal, so that none goes unnoted: a crash between the two costs those writers some reads, the other way round a manifest.
        """
        key = layout.catalog_key(name)
        first: View[CatalogMarker] | None = None

        async def attempt() -> bool:
            nonlocal first
            view = await self._markers.read(key)
            first = first or view
            if view.etag != first.etag and _is_marked(view):
                return True  # by another removal, since this one began: that serves as well
            if view.value is None:
                await self._markers.bury(view)
            else:
                await self._markers.write(key, self._renewed(view.value, deletions=True), view)
            return True

        await settle(attempt, key)

    def deleted_since(self, marker: View[CatalogMarker], taken: Moment) -> bool:
        """Whether content may have been deleted from the repository after a view was taken.

        Compares the store's clock with ours, and the time of the marker, which precedes the removal, so it allows for both.
        """
        return _is_marked(marker) and marker.modified > taken.time - self._context.periods.notice

    def _renewed(self, marker: CatalogMarker, **fields: Any) -> CatalogMarker:
        return changed(marker, nonce=self._context.nonce(), **fields)

    async def list(self, last: str, limit: int) -> Sequence[RepositoryName]:
        """At most `limit` repositories after `last`, in the byte order of their markers: one LIST a 1,000."""
        start = layout.catalog_key(last) if last else ""
        return await page_of(self._context.store, layout.CATALOG_PREFIX, layout.parse_catalog_key, start, limit)


def _is_marked(marker: View[CatalogMarker]) -> bool:
    """Whether content was ever deleted from the repository."""
    return marker.etag is not None and (marker.value is None or marker.value.deletions)
