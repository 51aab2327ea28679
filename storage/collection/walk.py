"""The collector's walk over all but the blobs, in one listing.

It learns what each repository references, and removes on its way what a crash has left of dead manifests: tags and referrer entries
of a generation that is no more, which there may be only where content was ever deleted (docs/design.md, Removal, rule 8). A pointer
is read before the record that it names.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial

from storage import layout
from storage.collection.run import Run
from storage.collection.survey import Survey
from storage.errors import CorruptRecord, NotFound
from storage.evidence import Batch, Evidence, KnownMarker, Unreadable
from storage.objects.contract import ObjectInfo
from storage.records import ReferrerEntry, TagPointer, decode_manifest, decode_pointer, encode, is_tombstone
from storage.references import Digest, RepositoryName
from storage.removals import KEPT, Removal
from storage.shelf import Codec, Shelf

_KEEP_EVERY = 1_000  # keys


class Walk:
    """Goes through a bucket once, for `run`."""

    def __init__(self, run: Run, survey: Survey, evidence: Evidence) -> None:
        self._run = run
        self._survey = survey
        self._evidence = evidence
        self._pointers = Shelf[TagPointer | ReferrerEntry](run.context, Codec(encode, decode_pointer))
        self._parts: list[str] | None = []
        self.old_pages: list[str] = []
        self.has_pulls = False
        self._repository = _Repository(None)

    async def all(self) -> None:
        """One LIST, a GET for each manifest that no run has read yet, and what goes."""
        handlers: Mapping[str, Callable[[ObjectInfo], Awaitable[None]]] = {
            "catalog": self._marker,
            "collector": self._own,
            "data": self._data,
            "repositories": self._content,
            "retention": self._retained,
        }
        count = 0
        async with aclosing(self._run.context.store.list("", start_after=layout.AFTER_BLOBS)) as listing:
            async for info in listing:
                count += 1
                if count % _KEEP_EVERY == 0:
                    await self._run.lease.keep()
                    self._run.progress("objects", count)
                handler = handlers.get(info.key.partition("/")[0])
                if handler is not None:
                    await handler(info)
        await self._leave()
        await self._evidence.compact()

    async def _marker(self, info: ObjectInfo) -> None:
        try:
            name = layout.parse_catalog_key(info.key)
        except ValueError:
            self._foreign(info.key)
            return
        if is_tombstone(info.size):
            await self._run.purge(info)
        else:
            self._survey.add_marker(name, info)

    async def _own(self, info: ObjectInfo) -> None:
        if info.key.startswith(layout.EVIDENCE_PREFIX) and self._parts is not None:
            self._parts.append(info.key)
        elif info.key.startswith(layout.JOURNAL_PREFIX):
            if info.modified + KEPT < self._run.began:
                self.old_pages.append(info.key)
            else:
                self._survey.add_page(info.key)

    async def _retained(self, info: ObjectInfo) -> None:
        self.has_pulls = self.has_pulls or info.key.startswith(layout.PULLS_PREFIX)

    async def _data(self, info: ObjectInfo) -> None:
        try:
            upload = layout.upload_of(info.key)
        except ValueError:
            self._foreign(info.key)
        else:
            self._survey.add_data(info, self._run.session_end(upload, info.modified))

    async def _content(self, info: ObjectInfo) -> None:
        """Anything of a repository."""
        try:
            name = layout.repository_of(info.key)
        except ValueError:
            self._foreign(info.key)
            return
        if self._parts is not None:
            parts, self._parts = self._parts, None
            await self._evidence.open(parts)
        if name != self._repository.name:
            await self._leave()
            self._repository = _Repository(name)
        if layout.is_manifest_key(info.key):
            await self._manifest(name, info)
        else:
            await self._read_manifests()
            await self._pointer(info)

    async def _leave(self) -> None:
        """All of a repository was listed."""
        await self._read_manifests()
        await self._read_pointers()

    async def _manifest(self, name: RepositoryName, info: ObjectInfo) -> None:
        try:
            layout.parse_manifest_key(info.key)
        except ValueError:
            self._block(name, f"{info.key} is no key of moorage")
            return
        if is_tombstone(info.size):
            await self._run.purge(info)
            return
        if self._repository.manifests.add(info):
            await self._read_manifests()

    async def _read_manifests(self) -> None:
        """Learn what those of the manifests reference that were listed since."""
        name, listed = self._repository.name, self._repository.manifests.taken()
        if name is None or not listed:
            return
        await self._run.lease.keep()
        for known in await self._evidence.manifests(listed):
            if isinstance(known, Unreadable):
                self._block(name, known.why)
            else:
                self._survey.add_references(name, known.named)

    async def _pointer(self, info: ObjectInfo) -> None:
        """A tag, or a referrer entry."""
        parse = layout.parse_tag_key if layout.is_tag_key(info.key) else layout.parse_referrer_key
        try:
            parse(info.key)
        except ValueError:
            self._foreign(info.key)
            return
        if is_tombstone(info.size):
            await self._run.purge(info)
            return
        if self._repository.is_blocked:
            return
        if self._repository.pointers.add(info):
            await self._read_pointers()

    async def _read_pointers(self) -> None:
        """Find the dead ones of the pointers that were listed since; where nothing was ever deleted, there are none."""
        name, listed = self._repository.name, self._repository.pointers.taken()
        if name is None or not listed or not await self._may_have_dead_ones(name):
            return
        await self._run.lease.keep()
        infos = {info.key: info for info in listed}
        for known in await self._evidence.pointers(listed):
            if isinstance(known, Unreadable):
                self._run.problems.append(f"{known.why}; it was left alone")
                continue
            manifest = layout.manifest_key(name, Digest.parse(known.digest))
            if self._evidence.generation(manifest) != known.generation:
                await self._bury_if_dead(infos[known.key], name, manifest)

    async def _may_have_dead_ones(self, name: RepositoryName) -> bool:
        """Whether content was ever deleted from the repository, as far as can be known."""
        marker = self._survey.marker(name)
        found = await self._evidence.markers([marker]) if marker is not None else []
        return not any(isinstance(known, KnownMarker) and not known.deletions for known in found)

    async def _bury_if_dead(self, info: ObjectInfo, name: RepositoryName, manifest: str) -> None:
        """Remove a pointer to a manifest that was not seen, if a last look does not find it, in the pointer's generation, either."""
        view = await self._run.look(self._pointers, info)
        if view is None or view.value is None:
            return
        try:
            generation = await self._generation(manifest)
        except CorruptRecord as error:
            self._run.problems.append(f"{error}; {info.key} was left alone")
            return
        if generation == view.value.generation:
            return
        _, digest = layout.parse_manifest_key(manifest)
        removal = Removal(
            "bury", info.key, _why(info.key), repository=str(name), digest=str(digest), record=encode(view.value)
        )
        await self._run.removals.plan(removal, partial(self._pointers.bury, view))

    async def _generation(self, manifest: str) -> str | None:
        """That of a manifest's record, None if it is not there: one GET."""
        try:
            decoded = decode_manifest(await self._run.context.store.get(manifest))
        except NotFound:
            return None
        return None if decoded is None else decoded[0].generation

    def _block(self, name: RepositoryName, why: str) -> None:
        self._survey.block(name)
        self._repository.is_blocked = True
        self._run.problems.append(f"{why}; so nothing of the repository {name} was collected")

    def _foreign(self, key: str) -> None:
        self._run.problems.append(f"{key} is no key of moorage; it was left alone")


class _Repository:
    """What the walk knows of the repository that it is in; a listing has all of it together, manifests first."""

    def __init__(self, name: RepositoryName | None) -> None:
        self.name = name
        self.manifests = Batch()
        self.pointers = Batch()
        self.is_blocked = False


def _why(key: str) -> str:
    if layout.is_tag_key(key):
        return f"the manifest that the tag {layout.parse_tag_key(key)[1]} points to was deleted"
    return "the manifest that refers to this one was deleted"
