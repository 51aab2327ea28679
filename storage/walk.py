"""The collector's walk over all but the blobs, in one listing.

It learns what each repository references, and removes on its way what a crash has left of dead manifests: tags and referrer entries
of a generation that is no more (docs/design.md, Removal, rule 8). A pointer is read before the record that it names.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial

from storage import layout
from storage.errors import CorruptRecord, NotFound
from storage.evidence import Evidence, Unreadable
from storage.objects.contract import ObjectInfo
from storage.records import ReferrerEntry, TagPointer, decode, decode_manifest, encode, is_tombstone
from storage.references import Digest, RepositoryName
from storage.removals import KEPT, Removal
from storage.run import Run
from storage.shelf import Codec, Shelf
from storage.survey import Survey

BATCH = 500  # manifests that are read together
_KEEP_EVERY = 1_000  # keys


class Walk:
    """Goes through a bucket once, for `run`."""

    def __init__(self, run: Run, survey: Survey, evidence: Evidence) -> None:
        self._run = run
        self._survey = survey
        self._evidence = evidence
        self._pointers = Shelf[TagPointer](run.context, Codec(encode, partial(decode, kind=TagPointer)))
        self._entries = Shelf[ReferrerEntry](run.context, Codec(encode, partial(decode, kind=ReferrerEntry)))
        self._parts: list[str] | None = []
        self.old_pages: list[str] = []
        self._repository = _Repository(None)

    async def all(self) -> None:
        """One LIST, a GET for each manifest that no run has read yet, and what goes."""
        handlers: Mapping[str, Callable[[ObjectInfo], Awaitable[None]]] = {
            "catalog": self._marker,
            "collector": self._own,
            "data": self._data,
            "repositories": self._content,
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
        await self._read_manifests()
        await self._evidence.compact()

    async def _marker(self, info: ObjectInfo) -> None:
        if is_tombstone(info.size):
            await self._run.purge(info)
            return
        try:
            self._survey.add_marker(layout.parse_catalog_key(info.key), info)
        except ValueError:
            self._foreign(info.key)

    async def _own(self, info: ObjectInfo) -> None:
        if info.key.startswith(layout.EVIDENCE_PREFIX) and self._parts is not None:
            self._parts.append(info.key)
        elif info.key.startswith(layout.JOURNAL_PREFIX) and info.modified + KEPT < self._run.began:
            self.old_pages.append(info.key)

    async def _data(self, info: ObjectInfo) -> None:
        if layout.is_upload_key(info.key):
            self._survey.add_data(info)
        else:
            self._foreign(info.key)

    async def _content(self, info: ObjectInfo) -> None:
        """Anything of a repository."""
        try:
            name = layout.repository_of(info.key)
        except ValueError:
            self._foreign(info.key)
            return
        if name != self._repository.name:
            await self._read_manifests()
            self._repository = _Repository(name)
        if is_tombstone(info.size):
            await self._run.purge(info)
        elif info.key.startswith(layout.manifests_prefix(name)):
            await self._manifest(name, info)
        else:
            await self._read_manifests()
            if not self._repository.is_blocked:
                await self._pointer(name, info)

    async def _manifest(self, name: RepositoryName, info: ObjectInfo) -> None:
        try:
            layout.parse_manifest_key(info.key)
        except ValueError:
            self._block(name, f"{info.key} is no key of moorage")
            return
        self._repository.listed.append(info)
        if len(self._repository.listed) == BATCH:
            await self._read_manifests()

    async def _read_manifests(self) -> None:
        """Learn what those of the manifests reference that were listed since."""
        name, listed, self._repository.listed = self._repository.name, self._repository.listed, []
        if name is None or not listed:
            return
        if self._parts is not None:
            parts, self._parts = self._parts, None
            await self._evidence.open(parts)
        await self._run.lease.keep()
        for known in await self._evidence.read(listed):
            if isinstance(known, Unreadable):
                self._block(name, known.why)
                continue
            self._survey.add_references(name, known.named)
            self._repository.manifests.add(layout.parse_manifest_key(known.key)[1])
            self._repository.tags.update(known.header.tags)

    async def _pointer(self, name: RepositoryName, info: ObjectInfo) -> None:
        """A tag, or a referrer entry."""
        try:
            if info.key.startswith(layout.tags_prefix(name)):
                await self._tag(name, info)
            else:
                await self._referrer(name, info)
        except ValueError:
            self._foreign(info.key)
        except CorruptRecord as error:
            self._run.problems.append(f"{error}; it was left alone")

    async def _tag(self, name: RepositoryName, info: ObjectInfo) -> None:
        """A tag that no record names points to none: a record names all tags that point to it."""
        _, tag = layout.parse_tag_key(info.key)
        if tag in self._repository.tags:
            return
        view = await self._pointers.read(info.key)
        if view.value is None or await self._lives(name, Digest.parse(view.value.digest), view.value.generation):
            return
        why = f"the manifest that the tag {tag} points to was deleted"
        removal = Removal(
            "bury", info.key, why, repository=str(name), digest=view.value.digest, record=encode(view.value)
        )
        await self._run.removals.plan(removal, partial(self._pointers.bury, view))

    async def _referrer(self, name: RepositoryName, info: ObjectInfo) -> None:
        _, _, referrer = layout.parse_referrer_key(info.key)
        if referrer in self._repository.manifests:
            return
        view = await self._entries.read(info.key)
        if view.value is None or await self._lives(name, referrer, view.value.generation):
            return
        why = "the manifest that refers to this one was deleted"
        removal = Removal("bury", info.key, why, repository=str(name), digest=str(referrer), record=encode(view.value))
        await self._run.removals.plan(removal, partial(self._entries.bury, view))

    async def _lives(self, name: RepositoryName, digest: Digest, generation: str) -> bool:
        """Whether the manifest is there in this generation: one GET."""
        try:
            decoded = decode_manifest(await self._run.context.store.get(layout.manifest_key(name, digest)))
        except NotFound:
            return False
        return decoded is not None and decoded[0].generation == generation

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
        self.listed: list[ObjectInfo] = []
        self.manifests: set[Digest] = set()
        self.tags: set[str] = set()
        self.is_blocked = False
