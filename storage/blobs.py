"""Blobs: content by digest, stored once, served by the repositories that link to it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from storage import layout
from storage.catalog import Catalog
from storage.errors import BlobUnknown, CorruptRecord, DigestInvalid, Invalid, NotFound, PreconditionFailed
from storage.hashing import verified
from storage.layout import Segment
from storage.listings import ours
from storage.records import Instance, Link, changed, encode
from storage.references import Digest, RepositoryName
from storage.shelf import Context, Shelf, bounded, codec, settle
from storage.views import View


class Blobs:
    """The records under `blobs/`, and the bytes that they name."""

    def __init__(self, context: Context, catalog: Catalog) -> None:
        self._context = context
        self._catalog = catalog
        self._links = Shelf(context, codec(Link))

    async def find(self, name: RepositoryName, digest: Digest) -> Link:
        """Where the repository's blob lies; raises BlobUnknown. No request within a minute, else one GET."""
        return _held(await self.view(name, digest), name, digest)

    async def view(self, name: RepositoryName, digest: Digest, *, fresh: bool = False) -> View[Link]:
        """A view of the link, revived if it was condemned: who is told 'exists' has nearly a whole grace period."""
        known = None if fresh else self.seen(name, digest)
        if known is not None:
            return known
        key = layout.link_key(digest, name)

        async def attempt() -> View[Link]:
            view = await (self._links.read(key) if fresh else self._links.shared(key))
            if view.value is None or view.value.state == "live":
                return view
            return await self._links.write(key, self._alive(view.value), view)

        return await settle(attempt, key)

    def seen(self, name: RepositoryName, digest: Digest) -> View[Link] | None:
        """The view of a live link that this process already has: no request."""
        view = self._links.known(layout.link_key(digest, name))
        return view if view is not None and view.value is not None and view.value.state == "live" else None

    async def read(self, link: Link, digest: Digest) -> AsyncGenerator[bytes]:
        """Stream a whole blob: one GET. Bytes that are not those of `digest` end in CorruptRecord before the last of them."""
        return _sound(link, await self.read_range(link, 0, link.size), digest)

    async def read_range(self, link: Link, start: int, length: int) -> AsyncGenerator[bytes]:
        """Stream `length` bytes of a blob from `start`, which a digest cannot vouch for: one GET."""
        try:
            return await self._context.store.get_range(link.key, start, length)
        except (NotFound, Invalid) as error:
            raise CorruptRecord(link.key, "a link names it, but it is gone or shorter") from error

    async def url(self, link: Link, expires: int) -> str:
        """A URL that anyone may GET for `expires` seconds: no request."""
        return await self._context.store.presign_get(link.key, expires)

    @bounded
    async def mount(self, name: RepositoryName, digest: Digest, source: RepositoryName | None) -> bool:
        """Link the repository to a blob of `source`, or of any repository; False if there is none to link to."""
        shared = await self.view(source, digest) if source else await self.shared(digest)
        if shared is None or shared.value is None:
            return False
        await self.adopt(name, digest, shared)
        return True

    async def shared(self, digest: Digest) -> View[Link] | None:
        """A live link of any repository, seen within a minute: no request, or one LIST and one GET.

        What is damaged in others' repositories is passed over, and nobody's push fails for it.
        """
        prefix = layout.links_prefix(digest)
        known = self._context.views.get(prefix)
        if known is not None:
            return known
        async with aclosing(ours(self._context.store, prefix, layout.parse_link_key)) as links:
            async for _, holder in links:
                try:
                    view = await self.view(holder, digest)
                except CorruptRecord:
                    continue
                if view.value is not None:
                    self._context.views.keep(prefix, view)
                    return view
        return None

    def is_recent(self, view: View[Link]) -> bool:
        """Whether a view may still be relied on."""
        return self._context.views.is_recent(view.taken)

    @bounded
    async def publish(
        self, name: RepositoryName, digest: Digest, written: Segment, size: int, check: Callable[[], None]
    ) -> None:
        """Link the repository to the verified bytes that `written` holds: two PUTs.

        `check` is called right before the instance is recorded, and may raise.
        """
        check()
        key = layout.data_key(written)
        try:
            record = Instance(key, size, self._context.nonce())
            await self._context.store.put(layout.instance_key(digest, written), encode(record), if_absent=True)
        except PreconditionFailed:
            pass  # an earlier attempt of this very request wrote it
        await self._link(name, digest, Link(key, size, self._context.nonce()))

    @bounded
    async def adopt(self, name: RepositoryName, digest: Digest, shared: View[Link]) -> None:
        """Link the repository to bytes that another one has, given a live view of its link: one PUT."""
        await self._link(name, digest, _held(shared, name, digest))

    @bounded
    async def delete(self, name: RepositoryName, digest: Digest) -> None:
        """Remove the repository's link; raises BlobUnknown. The bytes stay until the collector finds them unneeded."""
        key = layout.link_key(digest, name)

        async def attempt() -> bool:
            view = await self._links.read(key)
            _held(view, name, digest)
            await self._catalog.note_deletion(name)
            await self._links.bury(view)
            return True

        await settle(attempt, key)

    async def _link(self, name: RepositoryName, digest: Digest, target: Link) -> None:
        """Write the repository's link, or find it live by a fresh read: what an acknowledgement rests on."""
        key = layout.link_key(digest, name)
        over: View[Link] | None = None

        async def attempt() -> View[Link]:
            nonlocal over
            if over is not None and over.value is not None and over.value.state == "live":
                return over
            link = target if over is None or over.value is None else over.value
            try:
                return await self._links.write(key, self._alive(link), over)
            except PreconditionFailed:
                over = await self._links.read(key)
                raise

        view = await settle(attempt, key)
        self._context.views.keep(layout.links_prefix(digest), view)

    def _alive(self, link: Link) -> Link:
        return changed(link, state="live", nonce=self._context.nonce())


async def _sound(link: Link, chunks: AsyncGenerator[bytes], digest: Digest) -> AsyncGenerator[bytes]:
    async with aclosing(chunks), aclosing(verified(chunks, digest)) as blocks:
        try:
            async for block in blocks:
                yield block
        except DigestInvalid as error:
            raise CorruptRecord(link.key, f"was damaged, in the store or on the way: {error}") from error


def _held(view: View[Link], name: RepositoryName, digest: Digest) -> Link:
    if view.value is None:
        raise BlobUnknown(f"{name} has no blob {digest}")
    return view.value
