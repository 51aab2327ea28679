"""All versions of one repository, as the retention judges them: manifests that are there, and the tags that point to them."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from math import inf

from storage import layout
from storage.catalog import live
from storage.errors import CorruptRecord
from storage.evidence import Evidence, Known, Unreadable
from storage.objects.contract import ObjectInfo
from storage.records import State, TagPointer, is_tombstone
from storage.references import Digest, RepositoryName, Tag
from storage.retention.judging import Version
from storage.shelf import Context, Shelf, codec, gathered

BATCH = 500  # manifests that are read together


@dataclass(frozen=True, slots=True)
class Listed:
    """A version, and the state of its record that was seen: `modified` is infinite if that is newer than the listing."""

    version: Version
    digest: Digest
    state: State
    etag: str
    modified: float
    size: int


class Versions:
    """Reads repositories, and their manifests through `evidence`; `keep` is called now and then, and may raise."""

    def __init__(self, context: Context, evidence: Evidence, keep: Callable[[], Awaitable[None]]) -> None:
        self._keep = keep
        self._context = context
        self._evidence = evidence
        self._pointers = Shelf(context, codec(TagPointer))

    async def of(self, name: RepositoryName) -> list[Listed]:
        """All versions of a repository; raises CorruptRecord if any record of it cannot be read: then nothing is known of it.

        Two LISTs, and a GET for each tag, and for each manifest that no run has read yet.
        """
        infos = {info.key: info for info in await self._manifests(name)}
        known = await self._read(list(infos.values()))
        tags = await self._tags(name)
        there = {str(layout.parse_manifest_key(each.key)[1]) for each in known}
        return [_listed(each, infos[each.key], tags, there) for each in known]

    async def _manifests(self, name: RepositoryName) -> list[ObjectInfo]:
        found = []
        async with aclosing(self._context.store.list(layout.manifests_prefix(name))) as listing:
            async for info in listing:
                try:
                    layout.parse_manifest_key(info.key)
                except ValueError:
                    raise CorruptRecord(info.key, "is no key of moorage") from None
                if not is_tombstone(info.size):
                    found.append(info)
        return found

    async def _read(self, infos: Sequence[ObjectInfo]) -> list[Known]:
        known: list[Known] = []
        for at in range(0, len(infos), BATCH):
            await self._keep()
            for each in await self._evidence.read(infos[at : at + BATCH]):
                if isinstance(each, Unreadable):
                    raise CorruptRecord(each.key, each.why.removeprefix(f"{each.key}: "))
                known.append(each)
        return known

    async def _tags(self, name: RepositoryName) -> dict[tuple[str, str], set[str]]:
        """The tags that point to each generation of a digest."""
        async with aclosing(live(self._context.store.list(layout.tags_prefix(name)), layout.parse_tag_key)) as listing:
            tags = [tag async for _, tag in listing]
        tags_of = defaultdict[tuple[str, str], set[str]](set)
        for tag, pointer in await gathered(self._pointer(name, tag) for tag in tags):
            if pointer is not None:
                tags_of[pointer.digest, pointer.generation].add(str(tag))
        return tags_of

    async def _pointer(self, name: RepositoryName, tag: Tag) -> tuple[Tag, TagPointer | None]:
        return tag, (await self._pointers.read(layout.tag_key(name, tag))).value


def _listed(known: Known, info: ObjectInfo, tags: dict[tuple[str, str], set[str]], there: set[str]) -> Listed:
    _, digest = layout.parse_manifest_key(known.key)
    header = known.header
    version = Version(
        digest=str(digest),
        tags=frozenset(tags.get((str(digest), header.generation), ())),
        created=header.pushed_at,
        children=tuple(each for each in known.named if each in there and each != header.subject),
        subject=header.subject,
    )
    modified = info.modified if known.etag == info.etag else inf
    return Listed(version, digest, header.state, known.etag, modified, info.size)
