"""What the journal says that maintenance removed of one repository: enough to bring it back."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from storage import layout
from storage.errors import CorruptRecord
from storage.objects.contract import ObjectInfo, StoredObject
from storage.records import Link, ManifestHeader, decode, decode_manifest
from storage.references import Digest, RepositoryName, Tag
from storage.removals import Journal, Removal, Step


@dataclass(slots=True)
class RemovedBlob:
    """A link. `step` is the last that it took, `tombstone` what was put in its place, and `keys` are those of its bytes, oldest first."""

    step: Step = "condemn"
    tombstone: str = ""
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RemovedManifest:
    """A manifest, as its record was before the last step that it took, what was put in its place, and the tags that pointed to it then."""

    step: Step
    tombstone: str
    tags: tuple[str, ...]
    header: ManifestHeader
    content: bytes


@dataclass(slots=True)
class Removed:
    """All of them, the manifest that went last at the end, and the errors of what in the journal cannot be read."""

    blobs: dict[Digest, RemovedBlob] = field(default_factory=dict)
    manifests: dict[Digest, RemovedManifest] = field(default_factory=dict)
    errors: list[CorruptRecord] = field(default_factory=list)

    def below(self, digest: Digest) -> Iterator[Digest]:
        """`digest`, all that it references, and what refers to any of it; of a loop each once."""
        seen, waiting = {digest}, [digest]
        while waiting:
            each = waiting.pop()
            yield each
            found = {*self._references(each), *self._referrers(each)} - seen
            seen |= found
            waiting += found

    def in_order(self, digests: Iterable[Digest]) -> list[Digest]:
        """The manifests among `digests`, those that an index lists before the index."""
        chosen = [digest for digest in digests if digest in self.manifests]
        ordered: dict[Digest, None] = {}
        waiting = [(digest, False) for digest in reversed(chosen)]
        entered: set[Digest] = set()
        while waiting:
            digest, children_are_done = waiting.pop()
            if children_are_done:
                ordered[digest] = None
            elif digest not in entered:
                entered.add(digest)
                waiting.append((digest, True))
                waiting += [(each, False) for each in self._references(digest) if each in self.manifests]
        return list(ordered)

    def tags(self) -> dict[Digest, list[Tag]]:
        """The tags of the manifests that were buried; one that pointed to several, in turn, is the last one's."""
        last = {tag: digest for digest, each in self.manifests.items() if each.step == "bury" for tag in each.tags}
        found = defaultdict[Digest, list[Tag]](list)
        for tag, digest in last.items():
            found[digest].append(Tag.parse(tag))
        return found

    def _references(self, digest: Digest) -> list[Digest]:
        manifest = self.manifests.get(digest)
        if manifest is None:
            return []
        return [Digest.parse(each) for each in (*manifest.header.blobs, *manifest.header.manifests)]

    def _referrers(self, subject: Digest) -> list[Digest]:
        return [digest for digest, each in self.manifests.items() if each.header.subject == str(subject)]

    def take(self, removal: Removal) -> None:
        """Note one removal, later than those before; raises CorruptRecord."""
        found = StoredObject(ObjectInfo(removal.key, len(removal.record), "", 0.0), removal.record)
        if removal.key.startswith(layout.BLOBS_PREFIX):
            digest, _ = layout.parse_link_key(removal.key)
            link = decode(found, Link)
            blob = self.blobs.setdefault(digest, RemovedBlob())
            blob.step, blob.tombstone = removal.step, removal.tombstone
            if link is not None and link.key not in blob.keys:
                blob.keys.append(link.key)
        elif layout.is_manifest_key(removal.key):
            _, digest = layout.parse_manifest_key(removal.key)
            decoded = decode_manifest(found)
            if decoded is not None:
                self.manifests.pop(digest, None)
                self.manifests[digest] = RemovedManifest(removal.step, removal.tombstone, removal.tags, *decoded)


async def removed_of(name: RepositoryName, journal: Journal, since: float) -> Removed:
    """What the journal has of a repository since then."""
    removed = Removed()
    async for page in journal.pages(since, removed.errors.append):
        for removal in page.removals:
            if removal.repository == name and removal.step in {"condemn", "bury"}:
                _take(removed, removal)
    return removed


def _take(removed: Removed, removal: Removal) -> None:
    try:
        removed.take(removal)
    except CorruptRecord as error:
        removed.errors.append(error)
    except ValueError:
        removed.errors.append(CorruptRecord(removal.key, "is no key of moorage"))
