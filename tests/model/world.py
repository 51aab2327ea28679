"""What the actors of the model work on: periods in ticks, records, and the rules, each of which can be switched off.

Keys are short here: `in/A` is repository A's link to the one digest there is, `at/i` the instance i, `data/i` its bytes,
`A/m` the record of manifest m in A, `A/tag/t` a tag, `A/ref/m` m's entry among the referrers of its subject, `catalog/A` the marker.
"""

from dataclasses import dataclass
from enum import Enum

from storage.periods import Periods
from tests.model.steps import Held

LONG_AGO = -1000

# In ticks, and in the same order as those of storage.periods.
SHORT = Periods(grace=3, upload_expiry=4, view_age=1, bound=1, skew=0, quiet=2, horizon=2, purge_age=5, lease=1)


class Rule(Enum):
    """What the code does and a careless version of it would not. The model MUST find what goes wrong without it."""

    EVIDENCE_AFTER_T0 = "rule 3: T0 is read before the first LIST of a run, and ages are counted back from it"
    GRACE_BEFORE_BURIAL = "rule 3: what was condemned is buried a grace period later, by its LastModified"
    BURY_BY_ETAG = "rule 3: what is buried is exactly what was seen condemned"
    REVIVE = "rule 2: whoever needs a condemned record revives it"
    NONCES = "every body has a nonce, so that no two states share an etag"
    NOTE_DELETION = "rule 1: a deletion rewrites the repository's marker, and a push reads it"
    NOTE_FIRST = "rule 1: the marker is rewritten before the removal, so that no crash leaves one unnoted"
    NOTE_AGAIN = "rule 1: it does so even if the marker tells of an earlier one"
    ALLOW_SKEW = "rule 1: the marker's time and a view's are told by two clocks"
    ALLOW_BOUND = "rule 1: the marker precedes the removal by up to the bound of a request"
    FRESH_ACKNOWLEDGEMENT = "rule 1: a mount or push acknowledges its link on a fresh read or write"
    QUIET = "rule 4: bytes go only when no link or tombstone of their digest has changed lately"
    QUIET_LINKS = "rule 4: live links of other instances count for that as tombstones do"
    HORIZON = "rule 4: what was seen of a digest is no proof once a horizon has passed since T0"
    INSTANCE_AGE = "rule 4: an instance whose session may still publish it may not go"
    PURGE_IF_MATCH = "rule 7: a tombstone is purged by DELETE If-Match"
    SWEEP_BY_SKEW = "rule 6: a gateway whose clock is behind takes a session for open that has ended"
    SWEEP_AFTER_T0 = "rule 6: bytes are as old as they were at T0"
    CANCEL_KEEPS_BYTES = "rule 6: cancelling an upload deletes nothing"
    COMMIT_KEEPS_BYTES = "rule 6: a commit does not tidy the bytes that it did not need"
    GENERATIONS = "rule 8: a tag counts only with the generation of the manifest's record"
    POINTER_FIRST = "rule 8: a tag is replaced only on an etag read before the record was last written or confirmed"
    POINTER_BEFORE_RECORD = "rule 8: the collector reads a tag or referrer entry before the record that it names"
    NAMED_AND_DEAD = "rule 8: a tag that some record names may have been moved on, and be dead"
    MOVE_ONCE = "rule 10: a tag's move that may have been applied, and was moved on since, is not made again"
    REMOVE_ONCE = "rule 10: nor is a tag's removal"
    CONDEMN_MANIFESTS = "rule 9: retention condemns a manifest before it buries it"
    CONDEMN_MARKERS = "rule 3: so does the collector with a repository's marker"
    UNDO_COPIES = "rule 11: what was buried is copied and published anew; its old bytes may be dead"
    UNDO_IN_TIME = "rule 11: a copy is published before a session of its age would be over"


@dataclass(frozen=True, slots=True)
class World:
    """What every actor is given: the periods, the rules that are switched off, and how far this gateway's clock is ahead."""

    periods: Periods = SHORT
    off: frozenset[Rule] = frozenset()
    ahead: int = 0

    def keeps(self, rule: Rule) -> bool:
        """Whether the actors go by a rule."""
        return rule not in self.off

    @property
    def bound(self) -> int:
        """How many ticks a client's request takes at most."""
        return int(self.periods.bound)


class State(Enum):
    """That of a record which goes in two steps."""

    LIVE = "live"
    CONDEMNED = "condemned"


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Stands for a removed record."""

    nonce: str


@dataclass(frozen=True, slots=True)
class Link:
    """storage.records.Link."""

    instance: str
    nonce: str
    state: State = State.LIVE


@dataclass(frozen=True, slots=True)
class Instance:
    """storage.records.Instance, and when the session ends that its key names."""

    nonce: str
    end: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """Content, and when the session ends that its key names; it has no nonce, for its key is never written twice."""

    end: int


@dataclass(frozen=True, slots=True)
class Marker:
    """storage.records.CatalogMarker."""

    nonce: str
    state: State = State.LIVE
    deletions: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """storage.records.ManifestHeader. It names the one blob there is, if `has_blob`, and `children` by their names."""

    generation: str
    nonce: str
    state: State = State.LIVE
    tags: frozenset[str] = frozenset()
    has_blob: bool = True
    children: tuple[str, ...] = ()
    has_subject: bool = False


@dataclass(frozen=True, slots=True)
class Pointer:
    """storage.records.TagPointer; `moves` are the nonces of the requests that moved the tag, newest first."""

    manifest: str
    generation: str
    nonce: str
    moves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """storage.records.ReferrerEntry."""

    generation: str
    nonce: str


Mortal = Link | Marker | Manifest


def live(held: Held | None) -> bool:
    """Whether a record is there, live or condemned."""
    return held is not None and not isinstance(held.body, Tombstone)


def is_condemned(held: Held | None) -> bool:
    """Whether a record is there and condemned."""
    return held is not None and isinstance(held.body, Mortal) and held.body.state is State.CONDEMNED
