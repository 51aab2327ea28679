"""What a scrub does about what it found: each a compare-and-swap on what it has just seen.

Nothing is made up: what is written follows from records that are there, or from bytes that were read and have the right digest. What
does not follow from anything is put in quarantine.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from storage import layout
from storage.catalog import Catalog
from storage.errors import DigestInvalid, NotFound, PreconditionFailed
from storage.kinds import kind_of
from storage.manifests import Manifest
from storage.objects.contract import StoredObject
from storage.records import (
    Instance,
    Link,
    ReferrerEntry,
    changed,
    encode,
    encode_manifest,
)
from storage.references import Digest, RepositoryName, Tag
from storage.removals import Act, Removal
from storage.scrub.findings import Outcome
from storage.scrub.looks import Evidence, Looks
from storage.scrub.quarantine import Quarantine
from storage.shelf import Context, bounded
from storage.soundness import Copy, Soundness
from storage.views import View

_Seen = tuple[View[Link], Link]  # a view, and what it saw


@dataclass(frozen=True, slots=True)
class Mend:
    """How a finding is mended, and what it is then; `removal` is for the journal, where something goes."""

    act: Act
    outcome: Outcome = "mended"
    removal: Removal | None = None


class Mending:
    """Every method gives the mend of one kind of finding, by the evidence of the last look; None if it has changed since."""

    def __init__(
        self, context: Context, catalog: Catalog, looks: Looks, quarantine: Quarantine, bytes_: Soundness
    ) -> None:
        self._context = context
        self._catalog = catalog
        self.looks = looks
        self._quarantine = quarantine
        self._bytes = bytes_
        self._copies: dict[str, tuple[RepositoryName, str]] = {}

    async def corrupt(self, key: str, evidence: Evidence) -> Mend | None:
        """Out of the way: what it said is lost. An instance says no more than its key does, and is written again."""
        found = await self._exactly(key, evidence)
        if found is None:
            return None
        kind = kind_of(key)
        if kind is not None and kind.name == "instance":
            return Mend(partial(self._rewrite, found))
        return self.quarantined(found, "it is not what moorage writes there")

    async def dangling_tag(self, name: RepositoryName, tag: Tag, evidence: Evidence) -> Mend | None:
        """Out of the way: a generation that is gone never comes back."""
        found = await self._exactly(layout.tag_key(name, tag), evidence)
        return self.quarantined(found, "its manifest is gone", name) if found is not None else None

    async def unlisted_tag(self, name: RepositoryName, tag: Tag, evidence: Evidence) -> Mend | None:
        """The record names the tag again, so that a delete finds it."""
        pointer = await self.looks.pointer(name, tag)
        if pointer.value is None or pointer.etag != evidence[0]:
            return None
        record = await self.looks.manifest(name, Digest.parse(pointer.value.digest))
        return Mend(partial(self._list_tag, record, tag, evidence[1]))

    async def dead_referrer(
        self, name: RepositoryName, subject: Digest, digest: Digest, evidence: Evidence
    ) -> Mend | None:
        """A tombstone, as the deleter of the manifest would have left."""
        found = await self._exactly(layout.referrer_key(name, subject, digest), evidence)
        if found is None:
            return None
        act = partial(self._quarantine.bury, found.info.key, found.info.etag, self._context.nonce())
        removal = Removal("bury", found.info.key, "its manifest is gone", repository=str(name), record=found.body)
        return Mend(act, removal=removal)

    async def missing_referrer(
        self, name: RepositoryName, subject: Digest, digest: Digest, evidence: Evidence
    ) -> Mend | None:
        """The entry of the manifest's generation, as its writer would have left."""
        etag, generation = evidence
        entry = ReferrerEntry(str(generation), self._context.nonce())
        return Mend(partial(self._put, layout.referrer_key(name, subject, digest), encode(entry), etag))

    async def missing_marker(self, name: RepositoryName, _: Evidence) -> Mend | None:
        """The marker, as a writer of manifests would have left it."""
        seen = await self._catalog.read(name)

        async def enter() -> None:
            await self._catalog.enter(name, seen)

        return Mend(enter)

    async def link_to(self, name: RepositoryName, digest: Digest, key: str, evidence: Evidence) -> Mend | None:
        """Out of the way: 404 rather than wrong bytes, until the digest is pushed again."""
        found = await self._exactly(layout.link_key(digest, name), evidence)
        return self.quarantined(found, f"its bytes at {key} are damaged", name, key) if found is not None else None

    async def dangling_link(self, name: RepositoryName, digest: Digest, evidence: Evidence) -> Mend | None:
        """The link made to fit sound bytes, if it names some; else out of the way.

        An instance that is gone is not written again: the collector, which found it gone, may be about to remove its bytes.
        """
        view = await self.looks.link(name, digest)
        if view.value is None or view.etag != evidence[0]:
            return None
        instance = await self.looks.instance_of(digest, view.value)
        measure = await self._bytes.measure(digest, view.value.key) if instance is not None else None
        if instance is None or measure is None or not measure.is_right:
            found = await self._exactly(view.key, evidence)
            return self.quarantined(found, "it names no sound bytes", name) if found is not None else None
        if instance.value is None:
            return Mend(partial(self._move, name, digest, (view, view.value)))
        return Mend(partial(self._resize, view, instance, measure.size))

    async def wrong_size(self, key: str, size: int) -> Mend | None:
        """The instance's size as it was counted, of bytes whose digest is right."""
        view = await self.looks.instance(key)
        if view.value is None:
            return None
        body = encode(changed(view.value, size=size, nonce=self._context.nonce()))
        return Mend(partial(self._put, key, body, view.etag))

    async def links_to(self, digest: Digest, key: str) -> AsyncGenerator[Mend]:
        """Each link that names damaged bytes out of the way."""
        async with aclosing(self.looks.links_to(digest, key)) as links:
            async for name, evidence in links:
                mend = await self.link_to(name, digest, key, evidence)
                if mend is not None:
                    yield mend

    def quarantined(
        self, found: StoredObject, why: str, name: RepositoryName | None = None, damaged: str | None = None
    ) -> Mend:
        """The mend that puts a record in quarantine."""
        removal = Removal(
            "bury", found.info.key, why, repository=str(name) if name is not None else None, record=found.body
        )
        return Mend(partial(self._quarantine.take, found, why, damaged), "quarantined", removal)

    async def _exactly(self, key: str, evidence: Evidence) -> StoredObject | None:
        """The object under `key`, if it is in the state of the evidence."""
        try:
            found = await self._context.store.get(key)
        except NotFound:
            return None
        return found if found.info.etag == evidence[0] else None

    async def _put(self, key: str, body: bytes, etag: str | None) -> None:
        await self._context.store.put(key, body, if_absent=etag is None, if_match=etag)
        self._context.views.forget(key)

    async def _rewrite(self, found: StoredObject) -> None:
        """The record that an instance's key stands for; whether the bytes are right is for their reader to say."""
        _, segment = layout.parse_instance_key(found.info.key)
        key = layout.data_key(segment)
        try:
            size = (await self._context.store.head(key)).size
        except NotFound:
            size = 0
        await self._put(found.info.key, encode(Instance(key, size, self._context.nonce())), found.info.etag)

    async def _list_tag(self, record: View[Manifest], tag: Tag, generation: str | None) -> None:
        if record.value is None or record.value.header.generation != generation:
            raise PreconditionFailed(record.key)
        header = record.value.header
        named = tuple(sorted({*header.tags, str(tag)}))
        amended = changed(header, tags=named, nonce=self._context.nonce())
        await self._put(record.key, encode_manifest(amended, record.value.content), record.etag)

    async def _resize(self, link: View[Link], instance: View[Instance], size: int) -> None:
        if link.value is not None and link.value.size != size:
            await self._put(link.key, encode(changed(link.value, size=size, nonce=self._context.nonce())), link.etag)
        if instance.value is not None and instance.value.size != size:
            body = encode(changed(instance.value, size=size, nonce=self._context.nonce()))
            await self._put(instance.key, body, instance.etag)

    async def _move(self, name: RepositoryName, digest: Digest, seen: _Seen) -> None:
        """Let a link name a copy of its bytes: the one that another link has got already, or a new one."""
        _, link = seen
        holder, copy = self._copies.get(link.key, (None, None))
        if holder is not None and await self._follow(digest, seen, holder, copy):
            return
        try:
            made = await self._bytes.copy(digest, link.key)
        except (NotFound, DigestInvalid) as error:  # they were there, and right, a moment ago
            raise PreconditionFailed(link.key) from error
        self._copies[link.key] = (name, await self._publish(seen, made))

    @bounded
    async def _follow(self, digest: Digest, seen: _Seen, holder: RepositoryName, copy: str | None) -> bool:
        """Let a link name what another one does, seen live right before (docs/design.md, Removal, rule 5)."""
        source = (await self.looks.link(holder, digest)).value
        if source is None or source.key != copy or source.state != "live":
            return False
        view, link = seen
        target = changed(link, key=source.key, size=source.size, nonce=self._context.nonce())
        await self._put(view.key, encode(target), view.etag)
        return True

    @bounded
    async def _publish(self, seen: _Seen, made: Copy) -> str:
        """Let a link name a new copy; its data key."""
        view, link = seen
        key = await self._bytes.record(made)
        target = changed(link, key=key, size=made.size, nonce=self._context.nonce())
        await self._put(view.key, encode(target), view.etag)
        return key
