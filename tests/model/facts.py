"""What clients were told and did, which the invariants are judged by."""

from dataclasses import dataclass

Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Pushing:
    """The request `who` pushes a manifest; those in `ended` had ended when it arrived."""

    who: str
    key: str
    tag: str | None
    ended: Names


@dataclass(frozen=True, slots=True)
class Pushed:
    """The manifest was acknowledged, as this generation."""

    who: str
    key: str
    tag: str | None
    generation: str


@dataclass(frozen=True, slots=True)
class Linking:
    """The request `who` pushes or mounts the blob into a repository; those in `ended` had ended when it arrived."""

    who: str
    key: str
    ended: Names


@dataclass(frozen=True, slots=True)
class Exists:
    """Somebody was told at this time that the repository has the blob."""

    who: str
    key: str
    at: int


@dataclass(frozen=True, slots=True)
class Removing:
    """The request `who` removes what lies under the key."""

    who: str
    key: str
    ended: Names


@dataclass(frozen=True, slots=True)
class Removed:
    """It was acknowledged that `who` has done so."""

    who: str
    key: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A reader, which arrived after `ended` had ended, found the tag to point to this manifest, or to none."""

    who: str
    tag: str
    key: str | None
    ended: Names
