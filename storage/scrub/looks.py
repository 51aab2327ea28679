"""Fresh looks at what seemed not to fit together: evidence that it does not, or None.

A look reads in the order that makes its answer hold whatever gateways do meanwhile; what each rests on is said beside it. Two looks
further apart than an operation lasts, with the same evidence, are a finding.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from storage import layout
from storage.catalog import Catalog
from storage.errors import CorruptRecord, NotFound
from storage.kinds import kind_of
from storage.listings import first, live, ours
from storage.manifests import MANIFEST, Manifest
from storage.objects.contract import StoredObject
from storage.records import (
    Instance,
    Link,
    ReferrerEntry,
    TagPointer,
)
from storage.references import Digest, RepositoryName, Tag
from storage.shelf import Context, Shelf, codec
from storage.views import View

Evidence = tuple[str | None, ...]
DELETED = "deleted"


class Looks:
    """Reads single records anew; every method that returns Evidence is a look."""

    def __init__(self, context: Context, catalog: Catalog) -> None:
        self._context = context
        self._catalog = catalog
        self._pointers = Shelf(context, codec(TagPointer))
        self._entries = Shelf(context, codec(ReferrerEntry))
        self._links = Shelf(context, codec(Link))
        self._instances = Shelf(context, codec(Instance))
        self._manifests = Shelf(context, MANIFEST)

    async def pointer(self, name: RepositoryName, tag: Tag) -> View[TagPointer]:
        """A fresh view of a tag: one GET, as for all that follow."""
        return await self._pointers.read(layout.tag_key(name, tag))

    async def entry(self, name: RepositoryName, subject: Digest, digest: Digest) -> View[ReferrerEntry]:
        """A fresh view of a referrer entry."""
        return await self._entries.read(layout.referrer_key(name, subject, digest))

    async def manifest(self, name: RepositoryName, digest: Digest) -> View[Manifest]:
        """A fresh view of a manifest's record."""
        return await self._manifests.read(layout.manifest_key(name, digest))

    async def link(self, name: RepositoryName, digest: Digest) -> View[Link]:
        """A fresh view of a link, which is not revived."""
        return await self._links.read(layout.link_key(digest, name))

    async def instance(self, key: str) -> View[Instance]:
        """A fresh view of an instance, given its own key."""
        return await self._instances.read(key)

    async def instance_of(self, digest: Digest, link: Link) -> View[Instance] | None:
        """A fresh view of the instance that a link names, None if it names what can be none."""
        try:
            segment = layout.parse_data_key(link.key)
        except ValueError:
            return None
        return await self.instance(layout.instance_key(digest, segment))

    async def damaged(self, key: str) -> StoredObject | None:
        """The record under `key`, if it is still not what moorage writes there; looked at twice, as by every reader."""
        kind = kind_of(key)
        for _ in range(2):
            try:
                found = await self._context.store.get(key)
                if kind is not None:
                    kind.decode(found)
            except NotFound:
                return None
            except CorruptRecord:
                continue
            return None
        return found

    async def corrupt(self, key: str) -> Evidence | None:
        """A record that is not what moorage writes: it was put in one piece, so that one look would do."""
        found = await self.damaged(key)
        return (found.info.etag,) if found is not None else None

    async def dangling_tag(self, name: RepositoryName, tag: Tag) -> Evidence | None:
        """A tag whose manifest is of another generation, or gone.

        The record of its generation was written before the pointer, which is read first here: if it is not there, it is dead for good.
        """
        view = await self.pointer(name, tag)
        if view.value is None:
            return None
        record = await self.manifest(name, Digest.parse(view.value.digest))
        return (view.etag, _why_gone(record)) if _generation(record) != view.value.generation else None

    async def unlisted_tag(self, name: RepositoryName, tag: Tag) -> Evidence | None:
        """A tag that its manifest's record does not name; it is named there before the pointer is written."""
        view = await self.pointer(name, tag)
        if view.value is None:
            return None
        record = await self.manifest(name, Digest.parse(view.value.digest))
        if record.value is None or _generation(record) != view.value.generation or tag in record.value.header.tags:
            return None
        return (view.etag, _generation(record))

    async def dead_referrer(self, name: RepositoryName, subject: Digest, digest: Digest) -> Evidence | None:
        """An entry whose manifest is gone, or never named this subject; as for a tag. One of another generation is `missing_referrer`."""
        view = await self.entry(name, subject, digest)
        if view.value is None:
            return None
        record = await self.manifest(name, digest)
        is_gone = record.value is None or record.value.header.subject != str(subject)
        return (view.etag, _why_gone(record)) if is_gone else None

    async def missing_referrer(self, name: RepositoryName, subject: Digest, digest: Digest) -> Evidence | None:
        """A manifest without its entry, which is written after the record, so that a push under way looks the same."""
        view = await self.entry(name, subject, digest)
        record = await self.manifest(name, digest)
        if record.value is None or record.value.header.subject != str(subject):
            return None
        generation = record.value.header.generation
        is_there = view.value is not None and view.value.generation == generation
        return None if is_there else (view.etag, generation)

    async def missing_blob(self, name: RepositoryName, digest: Digest, blob: Digest) -> Evidence | None:
        """A manifest whose blob has no link, both at one moment: the record is read before and after."""
        before = _generation(await self.manifest(name, digest))
        if before is None or (await self.link(name, blob)).value is not None:
            return None
        return (before,) if _generation(await self.manifest(name, digest)) == before else None

    async def missing_manifest(self, name: RepositoryName, digest: Digest, child: Digest) -> Evidence | None:
        """An index whose child manifest is not there; as for a blob."""
        before = _generation(await self.manifest(name, digest))
        if before is None or (await self.manifest(name, child)).value is not None:
            return None
        return (before,) if _generation(await self.manifest(name, digest)) == before else None

    async def dangling_link(self, name: RepositoryName, digest: Digest) -> Evidence | None:
        """A link to no instance, or with another size, while the link was there; the collector takes none that a link names."""
        before = await self.link(name, digest)
        if before.value is None:
            return None
        instance = await self.instance_of(digest, before.value)
        if instance is not None and instance.value is not None and instance.value.size == before.value.size:
            return None
        return (before.etag,) if (await self.link(name, digest)).etag == before.etag else None

    async def link_to(self, name: RepositoryName, digest: Digest, key: str) -> Evidence | None:
        """A link to bytes that were found damaged before, which never change."""
        view = await self.link(name, digest)
        return (view.etag,) if view.value is not None and view.value.key == key else None

    async def holders(self, digest: Digest) -> AsyncGenerator[RepositoryName]:
        """The repositories with a link to this content; a key that is not ours is a finding of its own. One LIST."""
        async with aclosing(ours(self._context.store, layout.links_prefix(digest), layout.parse_link_key)) as links:
            async for _, name in links:
                yield name

    async def links_to(self, digest: Digest, key: str) -> AsyncGenerator[tuple[RepositoryName, Evidence]]:
        """The repositories whose links name these bytes. One LIST, and a GET each."""
        async with aclosing(self.holders(digest)) as holders:
            async for name in holders:
                try:
                    evidence = await self.link_to(name, digest, key)
                except CorruptRecord:
                    continue  # a finding of its own
                if evidence is not None:
                    yield name, evidence

    async def missing_marker(self, name: RepositoryName) -> Evidence | None:
        """A repository with a manifest that the catalog does not list; the marker is written after the record."""
        marker = await self._catalog.read(name)
        return (marker.etag,) if marker.value is None and await self._has_manifests(name) else None

    async def empty_repository(self, name: RepositoryName) -> Evidence | None:
        """A repository without a manifest that the catalog lists."""
        marker = await self._catalog.read(name)
        return (marker.etag,) if marker.value is not None and not await self._has_manifests(name) else None

    async def _has_manifests(self, name: RepositoryName) -> bool:
        """Whether a manifest's record is there, by a listing: one LIST, and one for each 1,000 tombstones."""
        prefix = layout.manifests_prefix(name)
        return bool(await first(1, live(self._context.store, prefix, layout.parse_manifest_key, few=1)))


def _generation(record: View[Manifest]) -> str | None:
    return record.value.header.generation if record.value is not None else None


def _why_gone(record: View[Manifest]) -> str | None:
    """A tombstone, or another generation, says that the manifest was deleted: what that leaves behind is no damage."""
    return DELETED if record.etag is not None else None
