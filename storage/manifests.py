"""Manifests: exact bytes by digest, in one repository, and the order of writes that keeps them whole.

A push sees all that the manifest references, then writes the record, the referrer entry, the catalog marker and the tags, and is
acknowledged last (docs/design.md, Removal, rules 1, 2 and 5).
"""

from collections.abc import Awaitable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from storage import layout
from storage.blobs import Blobs
from storage.catalog import Catalog
from storage.documents import Document
from storage.errors import Contended, ManifestUnknown, MoorageError, PreconditionFailed, ReferencesUnknown
from storage.objects.contract import StoredObject
from storage.records import (
    CatalogMarker,
    ManifestHeader,
    ReferrerEntry,
    TagMove,
    TagPointer,
    changed,
    decode_manifest,
    encode_manifest,
)
from storage.references import Digest, RepositoryName, Tag
from storage.shelf import ATTEMPTS, Codec, Context, Shelf, bounded, codec, gathered, pause, settle
from storage.tags import Tags, points_to, was_moved_by
from storage.views import Moment, View

LARGE_AT_ONCE = 4  # read at a time, since each may have megabytes


@dataclass(frozen=True, slots=True)
class Manifest:
    """A stored manifest: its header, and its exact bytes."""

    header: ManifestHeader
    content: bytes


@dataclass(frozen=True, slots=True)
class Push:
    """A manifest on its way in, and the tags to move to it, unless it `yields` to others that have them. `nonce` is this request's."""

    name: RepositoryName
    digest: Digest
    document: Document
    tags: Sequence[Tag]
    nonce: str
    yields: bool = False

    def may_move(self, view: View[TagPointer]) -> bool:
        """Whether a tag is to be moved from where it was seen."""
        return not self.yields or view.value is None or view.value.digest == str(self.digest)


class Manifests:
    """The records under `repositories/<name>/_manifests/`, and the tags and referrer entries that follow them.

    `allow_sparse` takes manifests whose blobs or children are missing.
    """

    def __init__(self, context: Context, catalog: Catalog, blobs: Blobs, tags: Tags, *, allow_sparse: bool) -> None:
        self._context = context
        self._catalog = catalog
        self._blobs = blobs
        self._tags = tags
        self._allow_sparse = allow_sparse
        self._records = Shelf(context, MANIFEST)
        self._entries = Shelf(context, codec(ReferrerEntry))

    async def get(self, name: RepositoryName, digest: Digest) -> Manifest:
        """The manifest with this digest; raises ManifestUnknown. No request within a minute, else one GET."""
        view = await self._records.recent(layout.manifest_key(name, digest))
        if view.value is None:
            raise ManifestUnknown(f"{name} has no manifest {digest}")
        return view.value

    async def resolve(self, name: RepositoryName, tag: Tag) -> tuple[Digest, Manifest]:
        """The manifest that the tag points to now; raises ManifestUnknown. One GET, two if the manifest was not seen lately.

        The manifest may be gone because the tag has moved on meanwhile: then it is looked at again.
        """
        view = await self._tags.current(name, tag)
        for number in range(ATTEMPTS):
            await pause(number)
            if view.value is None:
                raise ManifestUnknown(f"{name} has no tag {tag}")
            digest = Digest.parse(view.value.digest)
            found = await self._pointed(layout.manifest_key(name, digest), view.value)
            if found is not None:
                return digest, found
            before, view = view, await self._tags.observe(name, tag)
            if view.etag == before.etag:
                raise ManifestUnknown(f"{name} has no tag {tag}: its manifest was deleted")
        raise Contended(layout.tag_key(name, tag))

    async def _pointed(self, key: str, pointer: TagPointer) -> Manifest | None:
        """The manifest at `key` of exactly the generation that a tag points to, if it is there."""
        for look in (self._records.recent, self._records.read):
            found = (await look(key)).value
            if found is not None and found.header.generation == pointer.generation:
                return found
        return None

    @bounded
    async def put(self, name: RepositoryName, digest: Digest, document: Document, tags: Sequence[Tag]) -> None:
        """Store the manifest, and move `tags` to it; raises ReferencesUnknown. Three PUTs or GETs for one tag, as a rule."""
        push = Push(name, digest, document, tags, self._context.nonce())
        familiar = self._catalog.is_familiar(name)
        marker = await self._prepare(push)
        presume_new = familiar or marker.etag is None
        pointers = dict(zip(tags, await gathered(self._expected(push, tag, presume_new) for tag in tags), strict=True))
        await self._write(push, marker, pointers)

    @bounded
    async def restore(self, name: RepositoryName, digest: Digest, document: Document, *tags: Tag) -> None:
        """As `put`, of a manifest that was here before: a tag that points elsewhere by now is left alone."""
        push = Push(name, digest, document, tags, self._context.nonce(), yields=True)
        marker = await self._prepare(push)
        pointers = await self._look_again(push, dict.fromkeys(tags))
        await self._write(replace(push, tags=tuple(pointers)), marker, pointers)

    async def delete(self, name: RepositoryName, digest: Digest) -> None:
        """Remove the manifest, all tags on it and its referrer entry; raises ManifestUnknown.

        It is gone within the bound of an operation; how long the cleaning takes depends on how many tags ever pointed to it.
        """
        await self._clean_up(name, digest, await self._bury_any(name, digest))

    async def exists(self, name: RepositoryName, digest: Digest) -> bool:
        """Whether the manifest is there now: one GET."""
        return (await self._records.read(layout.manifest_key(name, digest))).value is not None

    @bounded
    async def condemn(self, name: RepositoryName, digest: Digest, etag: str) -> None:
        """Mark the record as about to go, if it still has `etag`; raises PreconditionFailed. One GET and one PUT."""
        view, manifest = await self._exactly(name, digest, etag)
        header = changed(manifest.header, state="condemned", nonce=self._context.nonce())
        await self._records.write(view.key, Manifest(header, manifest.content), view)

    async def remove(self, name: RepositoryName, digest: Digest, etag: str, tombstone: str) -> None:
        """As `delete`, if the record still has `etag`, with this tombstone; raises PreconditionFailed."""
        await self._clean_up(name, digest, await self._bury_exactly(name, digest, etag, tombstone))

    @bounded
    async def revive(self, name: RepositoryName, digest: Digest) -> None:
        """Make the record live if it is condemned. One GET, and one PUT if it is."""
        await self._view(name, digest, fresh=True)

    @bounded
    async def _bury_any(self, name: RepositoryName, digest: Digest) -> ManifestHeader:
        """Bury the record, whatever it is by now; raises ManifestUnknown."""
        key = layout.manifest_key(name, digest)

        async def attempt() -> ManifestHeader:
            view = await self._records.read(key)
            if view.value is None:
                raise ManifestUnknown(f"{name} has no manifest {digest}")
            return await self._bury(name, view, view.value)

        return await settle(attempt, key)

    @bounded
    async def _bury_exactly(self, name: RepositoryName, digest: Digest, etag: str, tombstone: str) -> ManifestHeader:
        """Bury the record if it still has `etag`; raises PreconditionFailed."""
        view, manifest = await self._exactly(name, digest, etag)
        return await self._bury(name, view, manifest, tombstone)

    async def _exactly(self, name: RepositoryName, digest: Digest, etag: str) -> tuple[View[Manifest], Manifest]:
        view = await self._records.read(layout.manifest_key(name, digest))
        if view.value is None or view.etag != etag:
            raise PreconditionFailed(view.key)
        return view, view.value

    async def _bury(
        self, name: RepositoryName, view: View[Manifest], manifest: Manifest, tombstone: str | None = None
    ) -> ManifestHeader:
        """Put a tombstone in place of a record, noted first; the header of what was there."""
        await self._catalog.note_deletion(name)
        await self._records.bury(view, tombstone)
        return manifest.header

    async def _clean_up(self, name: RepositoryName, digest: Digest, dead: ManifestHeader) -> None:
        """Remove the tags and the referrer entry of a dead generation: all that can be, even if one of them fails.

        What fails resolves no more all the same; it is left to the collector. It is not bounded, for it relies on no view: a generation that
        is dead stays so, and each step is a compare-and-swap of its own.
        """

        def work() -> Iterator[Awaitable[None]]:
            for tag in dead.tags:
                yield self._tags.remove_generation(name, tag, str(digest), dead.generation)
            if dead.subject:
                yield self._withdraw(name, Digest.parse(dead.subject), digest, dead.generation)

        for failure in await gathered(map(_failure, work())):
            if failure is not None:
                raise failure

    async def _prepare(self, push: Push) -> View[CatalogMarker]:
        """See all that the manifest references live, and then the repository's marker; raises ReferencesUnknown."""
        oldest = await self._require(push)
        marker = await self._catalog.read(push.name)
        if oldest is not None and self._catalog.deleted_since(marker, oldest):
            await self._require(push, fresh=True)
        return marker

    async def _require(self, push: Push, *, fresh: bool = False) -> Moment | None:
        """See all that the manifest references live; raises ReferencesUnknown. The moment of the oldest view relied on."""
        blobs = await self._look_at_blobs(push, fresh=fresh)
        children = await gathered(
            (_sight(self._view(push.name, each, fresh=fresh)) for each in push.document.manifests), LARGE_AT_ONCE
        )
        sights = (*blobs, *children)
        references = (*push.document.blobs, *push.document.manifests)
        missing = [str(digest) for digest, sight in zip(references, sights, strict=True) if not sight.is_there]
        if missing and not self._allow_sparse:
            raise ReferencesUnknown(missing)
        return min((sight.taken for sight in sights), key=lambda taken: taken.time, default=None)

    async def _look_at_blobs(self, push: Push, *, fresh: bool) -> Sequence["_Sight"]:
        """What the manifest's blobs look like, in order: those that were seen lately cost no task, the others are read side by side."""
        views = {each: None if fresh else self._blobs.seen(push.name, each) for each in push.document.blobs}
        sights = {each: _Sight(is_there=True, taken=view.taken) for each, view in views.items() if view is not None}
        unseen = [each for each in views if each not in sights]
        looks = await gathered(_sight(self._blobs.view(push.name, each, fresh=True)) for each in unseen)
        sights.update(zip(unseen, looks, strict=True))
        return [sights[each] for each in views]

    async def _view(self, name: RepositoryName, digest: Digest, *, fresh: bool) -> View[Manifest]:
        """A view of a child manifest, revived if it was condemned."""
        key = layout.manifest_key(name, digest)

        async def attempt() -> View[Manifest]:
            view = await (self._records.read(key) if fresh else self._records.recent(key))
            if view.value is None or view.value.header.state == "live":
                return view
            return await self._records.write(key, self._amended(view.value, ()), view)

        return await settle(attempt, key)

    async def _expected(self, push: Push, tag: Tag, presume_new: bool) -> View[TagPointer] | None:  # noqa: FBT001
        """The view to move a tag from. None stands for a tag that is not there, which its first write then proves.

        A process that has just worked with the repository knows most of its tags, so one that it does not know is taken for new. One
        that seems to point here already is looked at again: then there may be nothing to move.
        """
        known = self._tags.known(push.name, tag)
        if known is None and presume_new:
            return None
        is_there = known is not None and known.value is not None and known.value.digest == str(push.digest)
        return known if known is not None and not is_there else await self._tags.observe(push.name, tag)

    async def _write(
        self, push: Push, marker: View[CatalogMarker], pointers: Mapping[Tag, View[TagPointer] | None]
    ) -> None:
        """Record, referrer entry, catalog marker, tags; all again, on fresh views, whenever one of them is not as expected."""
        entry: View[ReferrerEntry] | None = None
        todo = dict(pointers)
        for number in range(ATTEMPTS):
            await pause(number)
            header = await self._confirm(push)
            try:
                await self._refer(push, header.generation, entry)
                marker = await self._catalog.enter(push.name, marker)
                await self._move(push, header, todo)
            except PreconditionFailed:
                entry = await self._entry(push)
                todo = await self._look_again(push, todo)
            else:
                return
        raise Contended(layout.manifests_prefix(push.name))

    async def _confirm(self, push: Push) -> ManifestHeader:
        """Write the record, or find by a fresh read that it is live and names the tags. One PUT where it is new."""
        key = layout.manifest_key(push.name, push.digest)
        view, is_fresh = self._records.known(key), False
        for number in range(ATTEMPTS):
            await pause(number - 1)  # a second attempt is usual: the first one rests on what was seen before
            wanted = self._wanted(push, view)
            if wanted is not None:
                try:
                    await self._records.write(key, wanted, view)
                except PreconditionFailed:
                    pass
                else:
                    return wanted.header
            elif is_fresh and view is not None and view.value is not None:
                return view.value.header
            view, is_fresh = await self._records.read(key), True
        raise Contended(key)

    def _wanted(self, push: Push, view: View[Manifest] | None) -> Manifest | None:
        """The record as it should be, None if it is so already."""
        if view is None or view.value is None:
            return self._new(push)
        header = view.value.header
        if header.state == "live" and set(push.tags) <= set(header.tags):
            return None
        return self._amended(view.value, push.tags)

    def _new(self, push: Push) -> Manifest:
        document = push.document
        header = ManifestHeader(
            media_type=document.media_type,
            size=len(document.content),
            generation=self._context.nonce(),
            nonce=self._context.nonce(),
            pushed_at=int(self._context.clock()),
            artifact_type=document.artifact_type,
            subject=str(document.subject) if document.subject else None,
            blobs=tuple(map(str, document.blobs)),
            manifests=tuple(map(str, document.manifests)),
            tags=tuple(map(str, push.tags)),
        )
        return Manifest(header, document.content)

    def _amended(self, manifest: Manifest, tags: Sequence[str]) -> Manifest:
        """The record made live, with more tags."""
        header = manifest.header
        together = tuple(sorted({*header.tags, *map(str, tags)}))
        nonce = self._context.nonce()
        return Manifest(changed(header, state="live", tags=together, nonce=nonce), manifest.content)

    async def _refer(self, push: Push, generation: str, over: View[ReferrerEntry] | None) -> None:
        """Enter the manifest among its subject's referrers, if it has one; raises PreconditionFailed. One PUT."""
        subject = push.document.subject
        if subject is None or (over is not None and over.value is not None and over.value.generation == generation):
            return
        key = layout.referrer_key(push.name, subject, push.digest)
        await self._entries.write(key, ReferrerEntry(generation, self._context.nonce()), over)

    async def _entry(self, push: Push) -> View[ReferrerEntry] | None:
        subject = push.document.subject
        return await self._entries.read(layout.referrer_key(push.name, subject, push.digest)) if subject else None

    async def _withdraw(self, name: RepositoryName, subject: Digest, digest: Digest, generation: str) -> None:
        """Remove the referrer entry of a dead generation, and leave a later one alone."""
        key = layout.referrer_key(name, subject, digest)

        async def attempt() -> bool:
            view = await self._entries.read(key)
            if view.value is not None and view.value.generation == generation:
                await self._entries.bury(view)
            return True

        await settle(attempt, key)

    async def _move(self, push: Push, header: ManifestHeader, todo: dict[Tag, View[TagPointer] | None]) -> None:
        """Move the tags that are left to do."""
        move = TagMove(
            digest=str(push.digest),
            generation=header.generation,
            media_type=header.media_type,
            size=header.size,
            pushed_at=int(self._context.clock()),
            nonce=push.nonce,
        )
        for tag, over in list(todo.items()):
            if not points_to(over, move):
                await self._tags.move(push.name, tag, move, over)
            del todo[tag]

    async def _look_again(
        self, push: Push, todo: Mapping[Tag, View[TagPointer] | None]
    ) -> dict[Tag, View[TagPointer] | None]:
        """Fresh views of the tags that are still to be moved; a lost answer may have hidden that one was."""
        views = {tag: await self._tags.observe(push.name, tag) for tag in todo}
        return {
            tag: view for tag, view in views.items() if push.may_move(view) and not was_moved_by(view.value, push.nonce)
        }


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a push needs to know of a view, without the content that the view may hold."""

    is_there: bool
    taken: Moment


async def _sight(look: Awaitable[View[Any]]) -> _Sight:
    view = await look
    return _Sight(view.value is not None, view.taken)


async def _failure(work: Awaitable[None]) -> MoorageError | None:
    try:
        await work
    except MoorageError as error:
        return error
    return None


def _encode(manifest: Manifest) -> bytes:
    return encode_manifest(manifest.header, manifest.content)


def _decode(found: StoredObject) -> Manifest | None:
    decoded = decode_manifest(found)
    return Manifest(*decoded) if decoded else None


MANIFEST = Codec(_encode, _decode)
