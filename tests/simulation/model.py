"""What clients were told, and what the bucket must therefore hold: the invariants of docs/design.md, checked after each step.

Of concurrent requests the delete wins, so a removal that was under way at any time between the beginning of a push and its
acknowledgement, or that begins later, excuses what is missing. A removal whose outcome is unknown is under way for as long as the store may
still apply one of its requests.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from storage import layout
from storage.errors import MoorageError
from storage.periods import Periods
from storage.records import ManifestHeader
from storage.references import Digest, RepositoryName, Tag
from tests.simulation.bucket import Bucket
from tests.simulation.mirror import Mirror
from tests.simulation.universe import BLOB_DIGESTS, BY_DIGEST

Outcome = Literal["open", "done", "refused", "failed"]
What = tuple[RepositoryName, Digest]

START = 1_700_000_000.0  # the store's time when a simulation begins, in seconds since 1970
DAY = 24 * 3600.0
SLACK = 80.0  # seconds that a client is told less than the rules give: a view's age, and what is rounded


class Violation(Exception):
    """Something that must not be. The message says what, and which invariant."""


@dataclass(eq=False)
class Operation:
    """A request of a client to a gateway. `loose` counts its requests that the store may still apply though nobody awaits them."""

    kind: str
    actor: str
    name: RepositoryName | None
    digest: Digest | None
    tags: tuple[Tag, ...]
    began: int
    began_at: float
    ended: int | None = None
    outcome: Outcome = "open"
    loose: int = 0
    last: int = 0
    closed_at: float = 0.0

    @property
    def closed(self) -> int | None:
        """The step after which it changes nothing any more, None while it may."""
        return None if self.ended is None or self.loose else self.last

    def overlaps(self, began: int) -> bool:
        """Whether it may still change something at the step `began` or later."""
        closed = self.closed
        return closed is None or closed >= began


@dataclass(eq=False)
class Claim:
    """What a client may rely on from a time on, until another, or until somebody removes it if that is None."""

    name: RepositoryName
    digest: Digest
    since: float
    until: float | None = None


@dataclass
class Model:
    """Learns of operations by `begin` and `end`, and of the bucket by `check`."""

    bucket: Bucket
    periods: Periods
    now: Callable[[], float]
    mirror: Mirror = field(default_factory=Mirror)
    step: int = 0
    blobs: dict[What, Claim] = field(default_factory=dict)
    manifests: dict[What, Claim] = field(default_factory=dict)
    pushes: dict[What, list[Operation]] = field(default_factory=dict)
    puts: dict[What, list[Operation]] = field(default_factory=dict)
    unlinked: dict[What, list[Operation]] = field(default_factory=dict)
    removed: dict[What, list[Operation]] = field(default_factory=dict)
    moves: dict[tuple[RepositoryName, Tag], list[Operation]] = field(default_factory=dict)
    untagged: dict[tuple[RepositoryName, Tag], list[Operation]] = field(default_factory=dict)
    operations: int = 0

    def begin(self, operation: Operation) -> None:
        """An operation arrives at its gateway."""
        self.absorb(None)
        self.step += 1
        self.operations += 1
        operation.began = self.step
        for notes in self._notes(operation):
            notes.append(operation)
        name, digest = operation.name, operation.digest
        if name is None or digest is None:
            return
        if operation.kind == "unblob":
            self.blobs.pop((name, digest), None)
            self._excuse(name, lambda goods: digest in goods.document.blobs)
        elif operation.kind == "unmanifest":
            self.manifests.pop((name, digest), None)
            self._excuse(name, lambda goods: digest in goods.document.manifests)

    def _notes(self, operation: Operation) -> Iterable[list[Operation]]:
        """Where an operation is remembered, until it is known that it did nothing."""
        name, digest = operation.name, operation.digest
        if name is None:
            return
        if digest is not None:
            by_kind: Mapping[str, dict[What, list[Operation]]] = {
                "upload": self.pushes,
                "mount": self.pushes,
                "put": self.puts,
                "unblob": self.unlinked,
                "unmanifest": self.removed,
            }
            if operation.kind in by_kind:
                yield by_kind[operation.kind].setdefault((name, digest), [])
        if operation.kind == "undo":  # it may bring back anything
            for blob in BLOB_DIGESTS:
                yield self.pushes.setdefault((name, blob), [])
            for manifest in BY_DIGEST:
                yield self.puts.setdefault((name, manifest), [])
        if operation.kind in {"put", "untag", "undo"}:
            by_tag = self.untagged if operation.kind == "untag" else self.moves
            for tag in operation.tags:
                yield by_tag.setdefault((name, tag), [])

    def _excuse(self, name: RepositoryName, needs: Callable[..., bool]) -> None:
        for what in [what for what in self.manifests if what[0] == name and needs(BY_DIGEST[what[1]])]:
            del self.manifests[what]

    def end(self, operation: Operation, outcome: Outcome) -> None:
        """The client has the answer, or will never have one."""
        self.absorb(operation)
        operation.ended, operation.outcome = self.step, outcome
        self.loosen(operation, 0)
        if outcome == "refused":
            for notes in self._notes(operation):
                notes.remove(operation)
        elif outcome == "done":
            self._acknowledge(operation)

    def loosen(self, operation: Operation, number: int) -> None:
        """So many more of its requests may be applied though nobody awaits them."""
        operation.loose += number
        operation.last, operation.closed_at = self.step, self.now()

    def _acknowledge(self, operation: Operation) -> None:
        name, digest = operation.name, operation.digest
        if name is None:
            return
        if operation.kind in {"upload", "mount", "head"} and digest is not None:
            self._claim_blob(operation, name, digest)
        elif operation.kind == "put" and digest is not None:
            self._claim_manifest(operation, name, digest)
        elif operation.kind == "unblob" and digest is not None:
            self._check_scope(layout.link_key(digest, name))
        elif operation.kind == "unmanifest" and digest is not None:
            self._check_manifest_scope(layout.manifest_key(name, digest))
        for tag in operation.tags:
            self._check_tag(layout.tag_key(name, tag))
        if operation.kind == "unmanifest":
            for at, tag in self.moves:
                if at == name:
                    self._check_tag(layout.tag_key(name, tag))

    def _claim_blob(self, operation: Operation, name: RepositoryName, digest: Digest) -> None:
        """A push or mount has seen its link afresh; a HEAD may have been answered from a view as old as views get."""
        removals = self.unlinked.get((name, digest), ())
        if any(removal.overlaps(operation.began) for removal in removals):
            return
        recent = operation.began_at - self.periods.view_age
        if operation.kind == "head" and any(removal.closed_at >= recent for removal in removals):
            return
        until = operation.began_at + self.periods.grace - SLACK
        known = self.blobs.get((name, digest))
        if known is not None and known.until is not None and known.until > until:
            return
        self.blobs[name, digest] = claim = Claim(name, digest, self.now(), until)
        self._check_blob(claim)

    def _claim_manifest(self, operation: Operation, name: RepositoryName, digest: Digest) -> None:
        document = BY_DIGEST[digest].document
        removals = list(self.removed.get((name, digest), ()))
        for blob in document.blobs:
            removals += self.unlinked.get((name, blob), ())
        for child in document.manifests:
            removals += self.removed.get((name, child), ())
        if any(removal.overlaps(operation.began) for removal in removals):
            return
        self.manifests[name, digest] = claim = Claim(name, digest, self.now())
        self._check_manifest(claim)

    def check(self, operation: Operation | None) -> None:
        """Look at what was changed since the last time, by a request of `operation`; raises Violation."""
        self.absorb(operation)
        self.step += 1

    def absorb(self, operation: Operation | None) -> None:
        """The same, within a step."""
        changed = self.bucket.changed
        if not changed:
            return
        self.bucket.changed = []
        try:
            for key in changed:
                self._check_change(key, operation)
        except MoorageError as error:
            raise Violation(f"a record is corrupt: {error}") from error

    def _check_change(self, key: str, operation: Operation | None) -> None:
        mirror = self.mirror
        if operation is not None and operation.kind == "rehearse" and not key.startswith("collector/"):
            raise Violation(f"a dry run has changed {key}")
        is_new_instance = "/at/" in key and self.bucket.look(key) is not None
        before = mirror.manifests.get(key)
        mirror.take(self.bucket, key, self.step)
        if key.startswith(layout.DATA_PREFIX):
            self._check_data(key)
        elif "/at/" in key:
            self._check_instance(key, operation, is_new=is_new_instance)
        elif "/in/" in key:
            _require(mirror.unsound(key))
            self._check_scope(key)
            self._check_needed(key)
        elif "/_manifests/" in key:
            if operation is not None and operation.kind == "retain":
                self._retained(key, before, operation)
            self._check_record(key)
        elif "/_tags/" in key:
            self._check_tag(key)
        elif "/_referrers/" in key or key.startswith(layout.CATALOG_PREFIX):
            self._check_needed(key)

    def _check_data(self, key: str) -> None:
        for link_key in self.mirror.holders.get(key, ()):
            _require(self.mirror.unsound(link_key))
        instance = self.mirror.instances.get(key)
        if instance is not None and self.mirror.holders.get(key):
            _require(self.mirror.unsound(instance))

    def _check_instance(self, key: str, operation: Operation | None, *, is_new: bool) -> None:
        _, segment = layout.parse_instance_key(key)
        for link_key in self.mirror.holders.get(layout.data_key(segment), ()):
            _require(self.mirror.unsound(link_key))
        if is_new:
            _require(self.mirror.unsound(key))
            self._check_single(key, operation)

    def _check_record(self, key: str) -> None:
        self._check_manifest_scope(key)
        self._check_needed(key)
        for tag_key in list(self.mirror.tags):
            self._check_tag(tag_key)

    def _retained(self, key: str, before: tuple[ManifestHeader, bytes] | None, run: Operation) -> None:
        """Rule 9: a run of the retention may bury what nobody needs, a grace period after it was last pushed or needed."""
        if key in self.mirror.manifests or before is None:
            return
        name, digest = layout.parse_manifest_key(key)
        if self.now() - (before[0].pushed_at - START) < DAY - 2 * self.periods.skew:
            raise Violation(f"retention: {digest} of {name} went before a day had passed")
        claim = self.manifests.get((name, digest))
        if claim is not None and self.now() < claim.since + self.periods.grace - SLACK:
            raise Violation(f"retention: {digest} of {name} went within a grace period of its push")
        subject = BY_DIGEST[digest].document.subject
        if subject is not None and self.mirror.since.get(layout.manifest_key(name, subject), inf) < run.began:
            raise Violation(f"retention: {digest} of {name} went before its subject")
        self.manifests.pop((name, digest), None)
        self.removed.setdefault((name, digest), []).append(_finished(run, name, digest, self.step, self.now()))

    def _check_needed(self, key: str) -> None:
        """I1, of what depends on a key."""
        if "/in/" in key:
            digest, name = layout.parse_link_key(key)
            claim = self.blobs.get((name, digest))
            if claim is not None:
                self._check_blob(claim)
        for (name, digest), claim in self.manifests.items():
            if key in self._needs(name, digest):
                self._check_manifest(claim)

    @staticmethod
    def _needs(name: RepositoryName, digest: Digest) -> Sequence[str]:
        """The keys that a manifest needs."""
        document = BY_DIGEST[digest].document
        keys = [layout.manifest_key(name, digest), layout.catalog_key(name)]
        keys += [layout.link_key(blob, name) for blob in document.blobs]
        keys += [layout.manifest_key(name, child) for child in document.manifests]
        if document.subject:
            keys.append(layout.referrer_key(name, document.subject, digest))
        return keys

    def _check_blob(self, claim: Claim) -> None:
        """I1, of a blob that a client was told is there."""
        if claim.until is not None and self.now() > claim.until:
            self.blobs.pop((claim.name, claim.digest), None)
        elif layout.link_key(claim.digest, claim.name) not in self.mirror.links:
            raise Violation(f"I1: {claim.name} was said to have the blob {claim.digest}, and has not")

    def _check_manifest(self, claim: Claim) -> None:
        """I1, of an acknowledged manifest."""
        name, digest, mirror = claim.name, claim.digest, self.mirror
        record = mirror.manifests.get(layout.manifest_key(name, digest))
        document = BY_DIGEST[digest].document
        if record is None or record[1] != document.content:
            raise Violation(f"I1: the acknowledged manifest {digest} of {name} is gone")
        for key in self._needs(name, digest)[1:]:
            if not (key in mirror.links or key in mirror.manifests or key in mirror.markers or key in mirror.entries):
                raise Violation(f"I1: the acknowledged manifest {digest} of {name} lacks {key}")
        if document.subject:
            entry = mirror.entries[layout.referrer_key(name, document.subject, digest)]
            if entry.generation != record[0].generation:
                raise Violation(f"I1: the referrer entry of {digest} in {name} is of a dead generation")

    def check_lapsed(self) -> None:
        """Forget the claims whose time is over."""
        for what in [
            what for what, claim in self.blobs.items() if claim.until is not None and claim.until < self.now()
        ]:
            del self.blobs[what]

    def check_all(self) -> None:
        """I1, of everything that was acknowledged."""
        for claim in self.manifests.values():
            self._check_manifest(claim)

    def check_served(self, get: Operation) -> None:
        """A manifest that was served had not been gone for longer than a view lasts."""
        assert get.name is not None
        assert get.digest is not None
        what = (get.name, get.digest)
        old = get.began_at - self.periods.view_age - 1
        gone = [each for each in self.removed.get(what, ()) if each.outcome == "done" and each.closed_at < old]
        if not _is_brought(self.puts.get(what, ()), gone):
            raise Violation(f"I2: {get.name} serves the manifest {get.digest} after its removal")

    def _check_single(self, key: str, operation: Operation | None) -> None:
        """I3: nobody publishes bytes again who could have seen a link to them all the time."""
        digest, _ = layout.parse_instance_key(key)
        prefix = layout.links_prefix(digest)
        if operation is None:
            return
        for link_key, since in self.mirror.since.items():
            if link_key.startswith(prefix) and since < operation.began:
                raise Violation(f"I3: {key} was written though {link_key} was there all the time")

    def _check_scope(self, key: str) -> None:
        """I6: a repository has a link only if the blob was pushed or mounted there, after what removed it."""
        if key not in self.mirror.links:
            return
        digest, name = layout.parse_link_key(key)
        if not _is_brought(self.pushes.get((name, digest), ()), self.unlinked.get((name, digest), ())):
            raise Violation(f"I6: {name} has a link to {digest} without a push or mount")

    def _check_manifest_scope(self, key: str) -> None:
        """A removed manifest is back only if it was pushed again."""
        if key not in self.mirror.manifests:
            return
        name, digest = layout.parse_manifest_key(key)
        if not _is_brought(self.puts.get((name, digest), ()), self.removed.get((name, digest), ())):
            raise Violation(f"I2: the manifest {digest} of {name} is back after its removal")

    def _check_tag(self, key: str) -> None:
        """I2: a tag points to where an acknowledged move, or one under way, put it last."""
        name, tag = layout.parse_tag_key(key)
        value = self.mirror.points_to(key)
        if not self.may_point(name, tag, value, self.step):
            raise Violation(f"I2: {name}:{tag} points to {value}, which no order of moves explains")

    def may_point(self, name: RepositoryName, tag: Tag, value: str | None, asked: int) -> bool:
        """Whether a tag that is read from step `asked` on may point to `value`."""
        moves = self.moves.get((name, tag), [])
        if any(move.kind == "undo" and move.overlaps(asked) for move in moves):
            return True
        untagged = self.untagged.get((name, tag), [])
        overwriting = [each for each in (*moves, *untagged) if each.kind != "undo" and _is_done(each, asked)]
        if value is None:
            digests = {move.digest: None for move in moves if move.digest}
            removals = [each for digest in digests for each in self.removed.get((name, digest), ())]
            candidates = [*untagged, *removals]
            if not overwriting:
                return True
        else:
            candidates = [move for move in moves if move.kind == "undo" or str(move.digest) == value]
            removals = self.removed.get((name, Digest.parse(value)), [])
            overwriting += [each for each in removals if _is_done(each, asked)]
        return any(not _is_after(overwriting, candidate) for candidate in candidates)


def _is_done(operation: Operation, asked: int) -> bool:
    return operation.outcome == "done" and operation.ended is not None and operation.ended <= asked


def _is_after(others: Iterable[Operation], operation: Operation) -> bool:
    """Whether one of the others began when the operation could change nothing any more."""
    closed = operation.closed
    return closed is not None and any(other.began > closed for other in others)


def _is_brought(bringing: Sequence[Operation], removals: Iterable[Operation]) -> bool:
    """Whether what is there may have been brought since the last removal that was acknowledged."""
    last = max((removal.began for removal in removals if removal.outcome == "done"), default=-1)
    return any(each.overlaps(last) for each in bringing)


def _finished(run: Operation, name: RepositoryName, digest: Digest, step: int, now: float) -> Operation:
    """What a run of maintenance did, as an operation of its own."""
    return Operation("unmanifest", run.actor, name, digest, (), step, now, step, "done", 0, step, now)


def _require(wrong: str | None) -> None:
    if wrong is not None:
        raise Violation(wrong)
