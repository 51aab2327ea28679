"""Bringing back what maintenance removed, by its journal, as long as the bytes are there.

A condemned record is revived. One that was buried is never written again as it was: a collector that has slept since may have found
its bytes dead, which is final (docs/design.md, Removal). So its bytes are copied, or shared by a link of another repository, and
manifests are put again, under the rules of any push.
"""

from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal

from storage import documents, layout
from storage.blobs import Blobs
from storage.errors import CorruptRecord, DigestInvalid, ManifestInvalid, NotFound, ReferencesUnknown
from storage.listings import first, live
from storage.manifests import Manifests
from storage.records import Link, State, decode_manifest, is_tombstone
from storage.references import Digest, RepositoryName, Tag
from storage.removals import KEPT, Journal
from storage.removed import RemovedBlob, RemovedManifest, removed_of
from storage.shelf import Context, Shelf, codec
from storage.soundness import Soundness
from storage.tags import Tags

Fate = Literal["revived", "restored", "there", "left", "lost"]
SHOWN = 3  # digests of those that are missing


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one thing, or would in a dry run, and a sentence on it.

    `revived` was condemned, `restored` buried, `there` neither of them; `left` was deleted or moved by a client since, and `lost` cannot
    come back.
    """

    fate: Fate
    sentence: str


class Undo:
    """Brings back what the journal of the last 30 days has of a repository."""

    def __init__(self, context: Context, blobs: Blobs, manifests: Manifests, tags: Tags) -> None:
        self._context = context
        self._blobs = blobs
        self._manifests = manifests
        self._tags = tags
        self._journal = Journal(context)
        self._bytes = Soundness(context)
        self._links = Shelf(context, codec(Link))

    async def run(self, name: RepositoryName, digest: Digest | None, *, dry_run: bool) -> AsyncGenerator[Result]:
        """Bring back all of `name`, or `digest` with what it references and what refers to it.

        Blobs come first, and manifests before the indexes that list them. What the journal has of the repository is held in memory.
        A dry run changes nothing.
        """
        removed = await removed_of(name, self._journal, self._context.clock() - KEPT)
        for error in removed.errors:
            yield Result("lost", f"what the journal has under {error.key} cannot be read: {error}")
        digests = [*removed.below(digest)] if digest else [*removed.blobs, *removed.manifests]
        blobs, manifests = [each for each in digests if each in removed.blobs], removed.in_order(digests)
        tags = removed.tags()
        if not blobs and not manifests:
            what = f"{name}@{digest}" if digest else name
            yield Result("lost", f"{what} is not in the journal of the last 30 days")
        for each in blobs:
            yield await self._sure(f"blob {name}@{each}", self._blob(name, each, removed.blobs[each], dry_run=dry_run))
        for each in manifests:
            before = removed.manifests[each]
            what = f"manifest {name}@{each}"
            result = await self._sure(what, self._manifest(name, each, before, dry_run=dry_run))
            yield result
            if result.fate in {"restored", "there"} and not dry_run:
                for tag in tags.get(each, ()):
                    yield await self._sure(f"tag {name}:{tag}", self._tag(name, tag, each, before))

    async def _sure(self, what: str, work: Awaitable[Result]) -> Result:
        """The result of `work`, which a record that cannot be read does not end for all others."""
        try:
            return await work
        except (CorruptRecord, ManifestInvalid) as error:
            why = str(error)
        except ReferencesUnknown as error:
            missing = f"{', '.join(error.missing[:SHOWN])}{', …' if len(error.missing) > SHOWN else ''}"
            why = f"the repository lacks {missing}"
        return Result("lost", f"{what} cannot come back: {why}")

    async def _blob(self, name: RepositoryName, digest: Digest, blob: RemovedBlob, *, dry_run: bool) -> Result:
        fate = await self._link(name, digest, blob, dry_run=dry_run)
        return _result(fate, f"blob {name}@{digest}", dry_run=dry_run)

    async def _link(self, name: RepositoryName, digest: Digest, blob: RemovedBlob, *, dry_run: bool) -> Fate:
        view = await self._links.read(layout.link_key(digest, name))
        if view.value is not None and view.value.state == "condemned" and not dry_run:
            view = await self._blobs.view(name, digest, fresh=True)  # revives it; it may be gone by then
            fate: Fate = "revived"
        elif view.value is not None:
            fate = "there" if view.value.state == "live" else "revived"
        if view.value is not None:
            return fate
        if blob.step == "condemn" or await self._was_deleted_since(view.key, blob.tombstone):
            return "left"
        is_back = await (self._lies_somewhere(digest, blob) if dry_run else self._relink(name, digest, blob))
        return "restored" if is_back else "lost"

    async def _lies_somewhere(self, digest: Digest, blob: RemovedBlob) -> bool:
        """Whether there are bytes to link to or to copy: a LIST, and HEADs."""
        if await first(1, live(self._context.store, layout.links_prefix(digest), layout.parse_link_key, few=1)):
            return True
        for key in blob.keys:
            with suppress(NotFound):
                await self._context.store.head(key)
                return True
        return False

    async def _relink(self, name: RepositoryName, digest: Digest, blob: RemovedBlob) -> bool:
        """Link to the bytes of another repository, or to a copy of those that may be dead; False if there are none."""
        shared = await self._blobs.shared(digest)
        if shared is not None:
            await self._blobs.adopt(name, digest, shared)
            return True
        for key in reversed(blob.keys):
            with suppress(NotFound, DigestInvalid):  # they went, or were damaged
                await self._copy(name, digest, key)
                return True
        return False

    async def _copy(self, name: RepositoryName, digest: Digest, key: str) -> None:
        """Publish a verified copy of bytes that may go at any moment, as a push does."""
        made = await self._bytes.copy(digest, key)
        await self._blobs.publish(name, digest, made.segment, made.size, partial(self._bytes.check, made))

    async def _manifest(
        self, name: RepositoryName, digest: Digest, before: RemovedManifest, *, dry_run: bool
    ) -> Result:
        """Put the manifest again, which revives one that is condemned."""
        now = await self._state(name, digest)
        what = f"manifest {name}@{digest}"
        if now == "live":
            return _result("there", what, dry_run=dry_run)
        key = layout.manifest_key(name, digest)
        if now is None and (before.step == "condemn" or await self._was_deleted_since(key, before.tombstone)):
            return _result("left", what, dry_run=dry_run)
        document = await documents.read_stored(before.content, before.header.media_type)
        if not dry_run:
            await self._manifests.restore(name, digest, document)
        return _result("revived" if now else "restored", what, dry_run=dry_run)

    async def _was_deleted_since(self, key: str, tombstone: str) -> bool:
        """Whether another tombstone lies there than that of the journal; once it is purged, nothing tells. One GET."""
        try:
            found = await self._context.store.get(key)
        except NotFound:
            return False
        return is_tombstone(found.info.size) and tombstone != "" and found.body != tombstone.encode()

    async def _state(self, name: RepositoryName, digest: Digest) -> State | None:
        """Whether the manifest is live or condemned, None if it is gone: one GET."""
        try:
            decoded = decode_manifest(await self._context.store.get(layout.manifest_key(name, digest)))
        except NotFound:
            return None
        return decoded[0].state if decoded else None

    async def _tag(self, name: RepositoryName, tag: Tag, digest: Digest, before: RemovedManifest) -> Result:
        """Move a tag back to its manifest, which is there, if it points nowhere. An undo that was ended before this goes on here."""
        fate: Fate = "there"
        pointer = (await self._tags.observe(name, tag)).value
        if pointer is None:
            fate = "restored"
            document = await documents.read_stored(before.content, before.header.media_type)
            await self._manifests.restore(name, digest, document, tag)
            pointer = (await self._tags.observe(name, tag)).value
        if pointer is not None and pointer.digest == str(digest):
            return Result(fate, f"tag {name}:{tag} points to it")
        return Result("left", f"tag {name}:{tag} was left alone: it points elsewhere by now")


def _result(fate: Fate, what: str, *, dry_run: bool) -> Result:
    would = "would be" if dry_run else "is"
    sentences: Mapping[Fate, str] = {
        "revived": f"{what} {would} condemned no more",
        "restored": f"{what} {would} back",
        "there": f"{what} is there",
        "left": f"{what} was deleted by a client since",
        "lost": f"{what} cannot come back: its bytes were purged",
    }
    return Result(fate, sentences[fate])
