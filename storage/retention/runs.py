"""The retention: removes the versions that no policy keeps, while gateways serve (docs/design.md, Removal, rule 9).

A run condemns what goes, and removes what a run condemned a grace period ago if its policy still says so; what is condemned and is
to be kept after all, it revives. So nothing goes before a grace period has passed, in which it is pulled and pushed as ever, and whoever pushes an index or
a tag that needs it revives it.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from storage import layout
from storage.catalog import Catalog
from storage.documents import read_stored, size
from storage.errors import CorruptRecord, NotFound, PolicyError, PreconditionFailed, ReferencesUnknown
from storage.evidence import Evidence
from storage.lease import Lease, store_time
from storage.manifests import Manifests
from storage.objects.contract import StoredObject
from storage.records import decode_manifest
from storage.references import Digest, RepositoryName, Tag
from storage.removals import Observe, Removal, Removals, Step
from storage.retention.dry_runs import Affected, DryRuns
from storage.retention.judging import Verdict, Version, attached_to, evaluate
from storage.retention.patterns import Matches
from storage.retention.policies import Kept, Policies
from storage.retention.pulls import Pulls, PullTimes, of_repository
from storage.retention.versions import Listed, Versions
from storage.scratch import scratch
from storage.shelf import Context, gathered

WORK = "retention"
PAGE = 1_000  # repositories
_AT_ONCE = 8  # records read at a time, each of which may have megabytes

Progress = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Retained:
    """What a run has to say. `began` is its T0, by the store's clock; `problems` are sentences on what it left alone.

    `images` are those that a dry run found to go, and `dry_run` is the id under which that is kept.
    """

    began: float
    repositories: int
    manifests_read: int
    problems: Sequence[str]
    images: Sequence[Affected] = ()
    dry_run: str = ""


@dataclass(slots=True)
class _Run:
    """What the steps of a run share: the policies, each with what tells whether it is about a repository, and `only` that to apply.

    `keep` keeps the lease, and is called now and then.
    """

    began: float
    policies: Sequence[tuple[Kept, Matches]]
    versions: Versions
    removals: Removals
    keep: Callable[[], Awaitable[None]]
    only: str | None
    pulls: PullTimes | None = None
    problems: list[str] = field(default_factory=list)
    images: list[Affected] = field(default_factory=list)
    repositories: int = 0


async def _nothing() -> None:
    pass


def _ignore(*_: object) -> None:
    pass


class Retention:
    """Applies the policies to the bucket of `context`."""

    def __init__(
        self, context: Context, catalog: Catalog, manifests: Manifests, policies: Policies, dry_runs: DryRuns
    ) -> None:
        self._context = context
        self._catalog = catalog
        self._manifests = manifests
        self._policies = policies
        self._dry_runs = dry_runs
        self._pulls = Pulls(context)

    async def run(
        self, *, policy: str | None = None, observe: Observe = _ignore, progress: Progress = _ignore
    ) -> Retained:
        """Apply the active policies, or the one named; raises Busy, PolicyError, and CorruptRecord for a policy that cannot be read.

        `observe` hears of each removal, `progress` of how many repositories were judged.
        """
        lease = Lease(self._context, WORK)
        with scratch() as database:
            async with lease.held() as began:
                left = await self.compact(began)
                policies = await self._active(policy)
                evidence = Evidence(self._context, database)
                removals = Removals(self._context, WORK, dry_run=False, observe=observe)

                async def keep() -> None:
                    removals.time = await lease.keep()

                run = _Run(began, _scoped(policies), Versions(self._context, evidence, keep), removals, keep, policy)
                await self._prepare(run, evidence)
                await self._all(run, self._apply, progress)
                await removals.flush()
                await evidence.flush()
                return Retained(began, run.repositories, evidence.manifests_read, [*run.problems, *left])

    async def rehearse(self, *, policy: str | None = None, progress: Progress = _ignore) -> Retained:
        """Keep in the bucket what a run would remove in the end, and return it; of a `policy` that is named, even if it is not active.

        Raises PolicyError, and CorruptRecord for a policy that cannot be read. It takes no lease, for it does no work.
        """
        began = await store_time(self._context, WORK)
        policies = [await self._policies.get(policy)] if policy is not None else await self._active(None)
        with scratch() as database:
            evidence = Evidence(self._context, database)
            removals = Removals(self._context, WORK, dry_run=True, observe=_ignore)
            versions = Versions(self._context, evidence, _nothing)
            run = _Run(began, _scoped(policies), versions, removals, _nothing, policy)
            await self._prepare(run, evidence)
            await self._all(run, self._note, progress)
            await evidence.flush()
        names = [kept.policy.name for kept in policies]
        identifier = await self._dry_runs.add(began, names, run.images, run.problems)
        return Retained(began, run.repositories, evidence.manifests_read, run.problems, run.images, identifier)

    async def compact(self, now: float) -> Sequence[str]:
        """Put together what gateways have written down of pulls until a day before `now`, the store's time; sentences on what was left alone.

        One LIST if there is nothing to do. It needs no lease: of two at once, one does it.
        """
        try:
            await self._pulls.compact(now)
        except PreconditionFailed:
            pass  # another run was faster
        except CorruptRecord as error:
            return [f"{error}; it was left alone"]
        return []

    async def _active(self, name: str | None) -> Sequence[Kept]:
        """All active policies; raises PolicyError if the one named is not among them."""
        active = [kept for kept in await self._policies.all() if kept.policy.status == "ACTIVE"]
        if name is not None and name not in {kept.policy.name for kept in active}:
            await self._policies.get(name)
            raise PolicyError(f"the policy {name} is DISABLED: a dry run shows what it would do")
        return active

    async def _prepare(self, run: _Run, evidence: Evidence) -> None:
        """Load what earlier runs have read, and what was pulled if a policy asks for that."""
        run.removals.time = run.began
        if run.policies:
            await evidence.open()
        if any(rule.retained_pulled for kept, _ in run.policies for rule in kept.policy.rules):
            try:
                run.pulls = await self._pulls.read()
            except CorruptRecord as error:
                run.problems.append(f"{error}; so all is kept that may have been pulled")

    async def _all(self, run: _Run, apply: "_Apply", progress: Progress) -> None:
        """Judge all repositories that a policy is about."""
        last = ""
        while run.policies and (names := await self._catalog.list(last, PAGE)):
            for name in names:
                await self._repository(run, name, apply)
                progress("repositories", run.repositories)
            last = names[-1]

    async def _repository(self, run: _Run, name: RepositoryName, apply: "_Apply") -> None:
        policies = [kept for kept, is_about in run.policies if is_about(name)]
        if run.only not in {None, *(kept.policy.name for kept in policies)}:
            return
        if len(policies) > 1:
            both = " and ".join(sorted(kept.policy.name for kept in policies))
            run.problems.append(f"{both} are both active for {name}; so nothing of it was judged")
        if len(policies) != 1:
            return
        try:
            listed = await run.versions.of(name)
            pulled = of_repository(run.pulls, name)
            verdicts = evaluate(policies[0].policy, [each.version for each in listed], pulled, run.began)
            if any(verdict.goes for verdict in verdicts):
                await self._catalog.read(name)  # where every removal is noted first
        except CorruptRecord as error:
            run.problems.append(f"{error}; so nothing of the repository {name} was judged")
            return
        run.repositories += 1
        judged = [_Judged(name, policies[0], *pair) for pair in zip(listed, verdicts, strict=True)]
        await gathered((_applied(run, each, apply) for each in judged), _AT_ONCE)

    async def _note(self, run: _Run, judged: "_Judged") -> None:
        """List what goes."""
        if not judged.verdict.goes:
            return
        record = await self._record(judged)
        if record is not None:
            tags = tuple(sorted(judged.listed.version.tags))
            digest = judged.listed.version.digest
            run.images.append(Affected(str(judged.name), digest, tags, judged.verdict.why, _size(record)))

    async def _apply(self, run: _Run, judged: "_Judged") -> None:
        """Condemn what goes, bury what was condemned long ago, and revive what is kept."""
        listed, grace = judged.listed, self._context.periods.grace
        if not judged.verdict.goes:
            if listed.state == "condemned":
                await self._manifests.revive(judged.name, listed.digest)
        elif listed.state == "live":
            await self._plan(run, judged, "condemn", lambda _: self._condemn(judged))
        elif max(listed.modified, judged.kept.modified) + grace < run.began:
            tombstone = self._context.nonce()
            await self._plan(run, judged, "bury", lambda record: self._bury(judged, tombstone, record), tombstone)

    async def _plan(self, run: _Run, judged: "_Judged", step: Step, act: "_Act", tombstone: str = "") -> None:
        await run.keep()
        record = await self._record(judged)
        if record is None:
            return
        removal = Removal(
            step=step,
            key=record.info.key,
            why=f"{judged.verdict.why} (policy {judged.kept.policy.name})",
            size=_size(record),
            repository=str(judged.name),
            digest=judged.listed.version.digest,
            record=record.body,
            tags=tuple(sorted(judged.listed.version.tags)),
        )
        await run.removals.plan(removal, partial(act, record), tombstone)

    async def _record(self, judged: "_Judged") -> StoredObject | None:
        """The record as it was judged, None if it has changed since. One GET."""
        try:
            record = await self._context.store.get(layout.manifest_key(judged.name, judged.listed.digest))
        except NotFound:
            return None
        return record if record.info.etag == judged.listed.etag else None

    async def _condemn(self, judged: "_Judged") -> None:
        await self._manifests.condemn(judged.name, judged.listed.digest, judged.listed.etag)

    async def _bury(self, judged: "_Judged", tombstone: str, record: StoredObject) -> None:
        """Remove a version, unless what it belongs to has come back since; raises PreconditionFailed.

        Whoever pushes an index or a tag revives what it needs, but a subject is pushed without its referrers being looked at. So it is looked
        for before the removal and, lest it came between, once more after it, and then the version is put back: also if it cannot be
        seen any more whether the subject is gone.
        """
        await self._require_no_subject(judged)
        try:
            await self._manifests.remove(judged.name, judged.listed.digest, judged.listed.etag, tombstone)
            await self._require_no_subject(judged)
        except BaseException:
            if any(_subjects(judged.listed.version)):
                await self._put_back(judged, tombstone, record)
            raise

    async def _require_no_subject(self, judged: "_Judged") -> None:
        for subject in _subjects(judged.listed.version):
            if await self._manifests.exists(judged.name, subject):
                raise PreconditionFailed(f"{subject} is there again")

    async def _put_back(self, judged: "_Judged", tombstone: str, record: StoredObject) -> None:
        """Push a version again, if it went by this tombstone and not by a client."""
        decoded = decode_manifest(record)
        if decoded is None or (await self._context.store.get(record.info.key)).body != tombstone.encode():
            return
        header, content = decoded
        tags = map(Tag.parse, judged.listed.version.tags)
        with suppress(ReferencesUnknown):  # somebody has deleted a part of it, and so itself
            document = await read_stored(content, header.media_type)
            await self._manifests.restore(judged.name, judged.listed.digest, document, *tags)


@dataclass(frozen=True, slots=True)
class _Judged:
    """A version of a repository, and what the policy says of it."""

    name: RepositoryName
    kept: Kept
    listed: Listed
    verdict: Verdict


_Act = Callable[[StoredObject], Coroutine[Any, Any, None]]
_Apply = Callable[[_Run, _Judged], Coroutine[Any, Any, None]]


async def _applied(run: _Run, judged: _Judged, apply: _Apply) -> None:
    """Do what follows, unless the record cannot be read any more: what an earlier run read of it is known, so that it was judged."""
    try:
        await apply(run, judged)
    except CorruptRecord as error:
        run.problems.append(f"{error}; it was left alone")


def _scoped(policies: Sequence[Kept]) -> list[tuple[Kept, Matches]]:
    return [(kept, kept.policy.scope()) for kept in policies]


def _subjects(version: Version) -> Iterator[Digest]:
    """What the version refers to, by its subject or by a tag that attaches it to something."""
    if version.subject is not None:
        yield Digest.parse(version.subject)
    for tag in version.tags:
        attached = attached_to(tag)
        if attached is not None and attached.startswith("sha256-"):
            yield Digest.parse(attached.replace("-", ":"))


def _size(record: StoredObject) -> int:
    decoded = decode_manifest(record)
    return size(decoded[1]) if decoded is not None else 0
