"""Records held against records: what looks wrong side by side, looked at again, told, and mended."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from storage import layout
from storage.errors import CorruptRecord, NotFound
from storage.objects.contract import ObjectStore
from storage.references import Digest, RepositoryName, Tag
from storage.scrub.findings import Finding
from storage.scrub.inventory import Inventory
from storage.scrub.looks import DELETED, Evidence
from storage.scrub.mending import Mend
from storage.scrub.workbench import Workbench
from storage.shelf import PARALLEL, gathered

_AT_ONCE = 50_000  # suspicions that wait for their second look together
_SERVED = (layout.BLOBS_PREFIX, layout.CATALOG_PREFIX, layout.REPOSITORIES_PREFIX)  # where a stray key stops listings


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What may be a finding, how to look again, and how it is mended, if it can be."""

    finding: Finding
    look: Callable[[], Awaitable[Evidence | None]]
    mend: Callable[[Evidence], Awaitable[Mend | None]] | None = None


class Checks:
    """`wait` lets everything end that is under way."""

    def __init__(
        self,
        store: ObjectStore,
        inventory: Inventory,
        bench: Workbench,
        wait: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._inventory = inventory
        self._bench = bench
        self._looks = bench.looks
        self._mending = bench.mending
        self._wait = wait

    async def corrupt(self) -> list[str]:
        """Records that are not what moorage writes, markers first, which others' removal needs; the keys of all of them."""
        keys = [str(row[0]) for row in self._inventory.suspects("corrupt-record")]
        await self._settle(self._corrupt(key) for key in keys if key.startswith(layout.CATALOG_PREFIX))
        await self._settle(self._corrupt(key) for key in keys if not key.startswith(layout.CATALOG_PREFIX))
        return keys

    async def fitting(self, *, before: float, sparse: bool) -> None:
        """Everything else; an empty repository counts if its marker is older than `before`, by the store's clock.

        `sparse` says that manifests may lack content on purpose.
        """
        await self._settle(self._suspicions(before, sparse=sparse))

    async def _settle(self, suspicions: Iterable[Suspicion]) -> None:
        """Look at all of them, wait, look again, and take those for findings that still have the same evidence."""
        waiting = iter(suspicions)
        while chunk := list(islice(waiting, _AT_ONCE)):
            first = await gathered(_looked(each) for each in chunk)
            suspects = [(each, found) for each, found in zip(chunk, first, strict=True) if found is not None]
            if suspects:
                await self._wait()
                await self._conclude(suspects)

    async def _conclude(self, suspects: Sequence[tuple[Suspicion, Evidence]]) -> None:
        for at in range(0, len(suspects), PARALLEL):
            group = suspects[at : at + PARALLEL]
            second = await gathered(_looked(each) for each, _ in group)
            for (each, before), now in zip(group, second, strict=True):
                if now is not None and now == before:
                    await self._found(each, now)
        await self._bench.flush()

    async def _found(self, suspicion: Suspicion, evidence: Evidence) -> None:
        finding = suspicion.finding
        if DELETED in evidence:
            finding = replace(finding, why=f"{finding.why}: it was deleted; the collector takes this", is_note=True)
        if suspicion.mend is None or not self._bench.repair:
            self._bench.tell(finding)
        else:
            await self._bench.mend(finding, await suspicion.mend(evidence))

    def _suspicions(self, before: float, *, sparse: bool) -> Iterator[Suspicion]:
        rows = self._inventory.suspects
        yield from (self._missing(*map(str, row), sparse=sparse) for row in rows("missing"))
        yield from (self._dangling_tag(*map(str, row)) for row in rows("dangling-tag"))
        yield from (self._unlisted_tag(*map(str, row)) for row in rows("unlisted-tag"))
        yield from (self._dead_referrer(*map(str, row)) for row in rows("dead-referrer"))
        yield from (self._missing_referrer(*map(str, row)) for row in rows("missing-referrer"))
        yield from (self._dangling_link(*map(str, row)) for row in rows("dangling-link"))
        yield from (self._quarantined(*map(str, row)) for row in rows("quarantined-bytes"))
        yield from (self._missing_marker(str(row[0])) for row in rows("missing-marker"))
        yield from (self._empty(str(row[0])) for row in rows("empty-repository", before))
        yield from (self._stray(str(row[0])) for row in rows("stray-key"))

    def _corrupt(self, key: str) -> Suspicion:
        why = "it is not what moorage writes there, or was damaged"
        return Suspicion(
            Finding("corrupt-record", key, why), partial(self._looks.corrupt, key), partial(self._mending.corrupt, key)
        )

    def _missing(self, repository: str, manifest: str, needed: str, kind: str, *, sparse: bool) -> Suspicion:
        name, digest, content = RepositoryName(repository), Digest.parse(manifest), Digest.parse(needed)
        key = layout.manifest_key(name, digest)
        lacks = f"lacks {'its blob' if kind == 'blob' else 'the manifest'} {needed}"
        why = f"{lacks}: it was deleted, or lost{', or never there, which allow_sparse allows' if sparse else ''}"
        if kind == "blob":
            finding = Finding("missing-blob", key, why, repository, manifest, is_note=sparse)
            return Suspicion(finding, partial(self._looks.missing_blob, name, digest, content))
        finding = Finding("missing-manifest", key, why, repository, manifest, is_note=sparse)
        return Suspicion(finding, partial(self._looks.missing_manifest, name, digest, content))

    def _dangling_tag(self, repository: str, tag: str) -> Suspicion:
        name, parsed = RepositoryName(repository), Tag(tag)
        finding = Finding("dangling-tag", layout.tag_key(name, tag), "its manifest is gone", repository)
        look, mend = self._looks.dangling_tag, self._mending.dangling_tag
        return Suspicion(finding, partial(look, name, parsed), partial(mend, name, parsed))

    def _unlisted_tag(self, repository: str, tag: str) -> Suspicion:
        name, parsed = RepositoryName(repository), Tag(tag)
        why = "the record of its manifest does not name it, so that a delete would miss it"
        finding = Finding("unlisted-tag", layout.tag_key(name, tag), why, repository)
        look, mend = self._looks.unlisted_tag, self._mending.unlisted_tag
        return Suspicion(finding, partial(look, name, parsed), partial(mend, name, parsed))

    def _dead_referrer(self, repository: str, subject: str, digest: str) -> Suspicion:
        entry = RepositoryName(repository), Digest.parse(subject), Digest.parse(digest)
        finding = Finding("dead-referrer", layout.referrer_key(*entry), "its manifest is gone", repository, digest)
        return Suspicion(
            finding, partial(self._looks.dead_referrer, *entry), partial(self._mending.dead_referrer, *entry)
        )

    def _missing_referrer(self, repository: str, subject: str, digest: str) -> Suspicion:
        entry = RepositoryName(repository), Digest.parse(subject), Digest.parse(digest)
        why = f"the manifest names {subject} as its subject, but is not among its referrers"
        finding = Finding("missing-referrer", layout.referrer_key(*entry), why, repository, digest)
        return Suspicion(
            finding, partial(self._looks.missing_referrer, *entry), partial(self._mending.missing_referrer, *entry)
        )

    def _dangling_link(self, repository: str, digest: str) -> Suspicion:
        link = RepositoryName(repository), Digest.parse(digest)
        why = "it names no instance of its digest, or one of another size"
        finding = Finding("dangling-link", layout.link_key(link[1], link[0]), why, repository, digest)
        return Suspicion(
            finding, partial(self._looks.dangling_link, *link), partial(self._mending.dangling_link, *link)
        )

    def _quarantined(self, repository: str, digest: str, key: str) -> Suspicion:
        link = RepositoryName(repository), Digest.parse(digest), key
        why = f"it names {key}, which was found damaged before"
        finding = Finding("quarantined-bytes", layout.link_key(link[1], link[0]), why, repository, digest)
        return Suspicion(finding, partial(self._looks.link_to, *link), partial(self._mending.link_to, *link))

    def _missing_marker(self, repository: str) -> Suspicion:
        name = RepositoryName(repository)
        why = "the repository has manifests, but the catalog does not list it"
        finding = Finding("missing-marker", layout.catalog_key(name), why, repository)
        return Suspicion(
            finding, partial(self._looks.missing_marker, name), partial(self._mending.missing_marker, name)
        )

    def _empty(self, repository: str) -> Suspicion:
        name = RepositoryName(repository)
        why = "the catalog lists a repository without manifests, until the collector takes it"
        finding = Finding("empty-repository", layout.catalog_key(name), why, repository, is_note=True)
        return Suspicion(finding, partial(self._looks.empty_repository, name))

    def _stray(self, key: str) -> Suspicion:
        is_note = not key.startswith(_SERVED)
        why = "it is no key of moorage" + ("" if is_note else ", and stops listings that come to it: move it away")
        return Suspicion(Finding("stray-key", key, why, is_note=is_note), partial(self._is_there, key))

    async def _is_there(self, key: str) -> Evidence | None:
        try:
            return ((await self._store.head(key)).etag,)
        except NotFound:
            return None


async def _looked(suspicion: Suspicion) -> Evidence | None:
    """The evidence; none where a record that it rests on cannot be read, which is a finding of its own."""
    try:
        return await suspicion.look()
    except CorruptRecord:
        return None
