"""All versions of one repository, as the retention judges them: manifests that are there, and the tags that point to them."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from storage import layout
from storage.errors import CorruptRecord
from storage.evidence import Evidence, KnownManifest, KnownPointer, Unreadable, batches
from storage.objects.contract import ObjectInfo
from storage.records import State, is_tombstone
from storage.references import Digest, RepositoryName
from storage.retention.judging import Version
from storage.shelf import Context

Known = TypeVar("Known", KnownManifest, KnownPointer)
_Read = Callable[[Sequence[ObjectInfo]], Awaitable[Sequence[Known | Unreadable]]]


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
    """Reads repositories through `evidence`; `keep` is called now and then, and may raise."""

    def __init__(self, context: Context, evidence: Evidence, keep: Callable[[], Awaitable[None]]) -> None:
        self._keep = keep
        self._context = context
        self._evidence = evidence

    async def of(self, name: RepositoryName) -> list[Listed]:
        """All versions of a repository; raises CorruptRecord if any record of it cannot be read: then nothing is known of it.

        Two LISTs, and a GET for each manifest and each tag that no run has read yet.
        """
        infos = {info.key: info for info in await self._list(layout.manifests_prefix(name), layout.parse_manifest_key)}
        known = await self._read(list(infos.values()), self._evidence.manifests)
        listed = await self._list(layout.tags_prefix(name), layout.parse_tag_key)
        tags_of = defaultdict[tuple[str, str], set[str]](set)
        for each in await self._read(listed, self._evidence.pointers):
            tags_of[each.digest, each.generation].add(str(layout.parse_tag_key(each.key)[1]))
        there = {str(layout.parse_manifest_key(each.key)[1]) for each in known}
        return [_listed(each, infos[each.key], tags_of, there) for each in known]

    async def _list(self, prefix: str, parse: Callable[[str], object]) -> list[ObjectInfo]:
        found = []
        async with aclosing(self._context.store.list(prefix)) as listing:
            async for info in listing:
                try:
                    parse(info.key)
                except ValueError:
                    raise CorruptRecord(info.key, "is no key of moorage") from None
                if not is_tombstone(info.size):
                    found.append(info)
        return found

    async def _read(self, infos: Sequence[ObjectInfo], read: _Read[Known]) -> list[Known]:
        found: list[Known] = []
        for batch in batches(infos):
            await self._keep()
            for each in await read(batch):
                if isinstance(each, Unreadable):
                    raise CorruptRecord(each.key, each.why.removeprefix(f"{each.key}: "))
                found.append(each)
        return found


def _listed(known: KnownManifest, info: ObjectInfo, tags: dict[tuple[str, str], set[str]], there: set[str]) -> Listed:
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
