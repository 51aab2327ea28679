"""Links that were put in quarantine come back once there are sound bytes of their digest.

The record in quarantine proves that the repository had the blob (I6). It is linked again only where nothing was deleted from it since:
over the very tombstone that the quarantine left, or, once that is purged, if the repository's marker shows no later removal.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from storage import layout
from storage.catalog import Catalog
from storage.errors import CorruptRecord, DigestInvalid, NotFound, PreconditionFailed
from storage.kinds import kind_of
from storage.records import Link, encode
from storage.references import Digest, RepositoryName
from storage.scrub.findings import Finding
from storage.scrub.quarantine import Quarantine, Quarantined
from storage.scrub.workbench import Workbench
from storage.shelf import Context, bounded
from storage.soundness import Copy, Soundness


@dataclass(frozen=True, slots=True)
class _Lost:
    """A link in quarantine: where its copy lies, whose it was, and the etag of its tombstone, None if that is purged."""

    place: str
    name: RepositoryName
    digest: Digest
    etag: str | None

    @property
    def key(self) -> str:
        return layout.link_key(self.digest, self.name)


class Healing:
    """Looks at all that is in quarantine; the bench tells of each link that came back."""

    def __init__(
        self,
        context: Context,
        catalog: Catalog,
        quarantine: Quarantine,
        bytes_: Soundness,
        bench: Workbench,
    ) -> None:
        self._context = context
        self._catalog = catalog
        self._quarantine = quarantine
        self._bytes = bytes_
        self._bench = bench
        self._looks = bench.looks

    async def run(self) -> None:
        """Link again what can be, and drop the copies of links that are live again or were deleted since."""
        newest = await self._newest()
        async with aclosing(self._quarantine.kept(damaged=_pass)) as kept:
            async for place, record in kept:
                kind = kind_of(record.key)
                if kind is None or kind.name != "link":
                    continue
                if record.bytes is not None:
                    self._bytes.damaged.add(record.bytes)
                lost = await self._lost(place, record, newest)
                if lost is not None and await self._heal(lost):
                    await self._quarantine.drop(place)
                    self._bench.tell(_healed(lost), "mended")

    async def _newest(self) -> dict[str, float]:
        """When each repository's latest link was put in quarantine, by the store's clock."""
        newest: dict[str, float] = {}
        async with aclosing(self._context.store.list(layout.QUARANTINE_PREFIX)) as listing:
            async for info in listing:
                leaf = info.key.rpartition("/in/")[2]
                newest[leaf] = max(newest.get(leaf, 0.0), info.modified)
        return newest

    async def _lost(self, place: str, record: Quarantined, newest: dict[str, float]) -> _Lost | None:
        """The link, if it is missing for no other reason than that it was put in quarantine."""
        digest, name = layout.parse_link_key(record.key)
        try:
            found = await self._context.store.get(record.key)
        except NotFound:
            marker = await self._catalog.read(name)
            deleted = marker.etag is None or marker.modified > newest.get(record.key.rpartition("/in/")[2], 0.0)
            return None if deleted else _Lost(place, name, digest, None)
        if found.body == record.tombstone.encode():
            return _Lost(place, name, digest, found.info.etag)
        await self._quarantine.drop(place)  # it was pushed again, and maybe deleted since
        return None

    async def _heal(self, lost: _Lost) -> bool:
        """Link to bytes that another repository has, or to a copy of those that no link names; False if none are sound."""
        try:
            async with aclosing(self._holders(lost.digest)) as holders:
                async for holder, link in holders:
                    if await self._bytes.is_sound(lost.digest, link.key, link.size) and await self._follow(
                        lost, holder
                    ):
                        return True
            return await self._publish_copy(lost)
        except PreconditionFailed:
            return False  # somebody was faster: the next scrub tells

    async def _holders(self, digest: Digest) -> AsyncGenerator[tuple[RepositoryName, Link]]:
        async with aclosing(self._looks.holders(digest)) as names:
            async for name in names:
                try:
                    link = (await self._looks.link(name, digest)).value
                except CorruptRecord:
                    continue  # a finding of its own
                if link is not None and link.state == "live":
                    yield name, link

    @bounded
    async def _follow(self, lost: _Lost, holder: RepositoryName) -> bool:
        """A mount of sound bytes from `holder`, whose link is seen live right before (docs/design.md, Removal, rule 5)."""
        source = (await self._looks.link(holder, lost.digest)).value
        if source is None or source.state != "live" or source.key not in self._bytes.known:
            return False
        await self._link(lost, source.key, source.size)
        return True

    async def _publish_copy(self, lost: _Lost) -> bool:
        """A copy of bytes that no link names any more: they may be on their way out, so they are not linked themselves."""
        async with aclosing(self._context.store.list(layout.instances_prefix(lost.digest))) as listing:
            keys = [info.key async for info in listing]
        for key in keys:
            try:
                instance = (await self._looks.instance(key)).value
            except CorruptRecord:
                continue  # a finding of its own
            if instance is None or not await self._bytes.is_sound(lost.digest, instance.key, instance.size):
                continue
            try:
                made = await self._bytes.copy(lost.digest, instance.key)
            except (NotFound, DigestInvalid):
                continue  # they were on their way out
            await self._publish(lost, made)
            return True
        return False

    @bounded
    async def _publish(self, lost: _Lost, made: Copy) -> None:
        await self._link(lost, await self._bytes.record(made), made.size)

    async def _link(self, lost: _Lost, key: str, size: int) -> None:
        body = encode(Link(key, size, self._context.nonce()))
        await self._context.store.put(lost.key, body, if_absent=lost.etag is None, if_match=lost.etag)


def _pass(_: CorruptRecord) -> None:
    """A damaged copy is a finding of its own, and nothing that could come back."""


def _healed(lost: _Lost) -> Finding:
    why = f"the repository has {lost.digest} again: there are sound bytes of it"
    return Finding("lost-link", lost.key, why, lost.name, str(lost.digest))
