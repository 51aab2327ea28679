"""Retention policies: which versions of which repositories may go, kept in the bucket.

The semantics are those of Yandex Container Registry's lifecycle policies, and more that keeps (docs/retention.md). A policy is a record
that a newer moorage may have written: a field that this one does not know is refused, for it may be what keeps something.
"""

from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import msgspec

from storage import layout
from storage.errors import PolicyError, TagInvalid
from storage.listings import live
from storage.references import Tag
from storage.retention.patterns import Matches, example, glob, takes_every_name, takes_every_tag
from storage.shelf import Context, Shelf, codec, gathered, settle

Status = Literal["ACTIVE", "DISABLED"]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a rule is about, `tag_regexp` or `untagged` or both, and until when or how many of those it keeps.

    Periods are in seconds. It keeps what is younger than `expire_period`, the `retained_top` newest, the `retained_semver` highest by
    semantic versioning, and what was pulled within `retained_pulled`; the rest it wants to go.
    """

    tag_regexp: str | None = None
    untagged: bool = False
    expire_period: int | None = None
    retained_top: int = 0
    retained_semver: int = 0
    retained_pulled: int | None = None
    description: str = ""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rules for the repositories that one of the globs matches; what has a tag that `protect` matches never goes."""

    name: str
    repositories: tuple[str, ...]
    rules: tuple[Rule, ...]
    status: Status = "DISABLED"
    description: str = ""
    protect: tuple[str, ...] = ()

    def scope(self) -> Matches:
        """What tells whether it is about a repository, by name."""
        globs = [glob(each) for each in self.repositories]
        return lambda name: any(matches(name) for matches in globs)

    @property
    def matches_everything(self) -> bool:
        """Whether it is about every tag of every repository."""
        return takes_every_name(self.repositories) and takes_every_tag(
            rule.tag_regexp for rule in self.rules if rule.tag_regexp is not None
        )


class _Stored(msgspec.Struct, frozen=True):
    policy: Policy
    nonce: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A policy in the bucket, and the store's time of its last change."""

    policy: Policy
    modified: float


class Policies:
    """The records under `policies/`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._records = Shelf(context, codec(_Stored))

    async def all(self) -> Sequence[Kept]:
        """Every policy, by name; raises CorruptRecord. One LIST, and a GET each."""
        async with aclosing(live(self._context.store, layout.POLICIES_PREFIX, layout.parse_policy_key)) as listed:
            names = [name async for name in listed]
        found = await gathered(self._find(name) for name in names)
        return [kept for kept in found if kept is not None]

    async def get(self, name: str) -> Kept:
        """The policy of this name; raises PolicyError. One GET."""
        kept = await self._find(name)
        if kept is None:
            raise PolicyError(f"there is no policy {name}")
        return kept

    async def set(self, policies: Sequence[Policy]) -> None:
        """Add the policies, in place of those of the same names; raises PolicyError if two are seen to be active for one repository.

        What cannot be seen from their globs, a run finds out, and leaves that repository alone.
        """
        replaced = {policy.name for policy in policies}
        others = [kept.policy for kept in await self.all() if kept.policy.name not in replaced]
        require_no_conflict([*others, *policies])
        for policy in policies:
            await self._replace(policy)

    async def remove(self, name: str) -> None:
        """Remove the policy; raises PolicyError. What it has condemned is kept: no policy wants it to go any more."""
        key = _key(name)

        async def attempt() -> bool:
            view = await self._records.read(key)
            if view.value is None:
                raise PolicyError(f"there is no policy {name}")
            await self._records.bury(view)
            return True

        await settle(attempt, key)

    async def _find(self, name: str) -> Kept | None:
        view = await self._records.read(_key(name))
        return Kept(view.value.policy, view.modified) if view.value is not None else None

    async def _replace(self, policy: Policy) -> None:
        key = _key(policy.name)

        async def attempt() -> bool:
            view = await self._records.read(key)
            if view.value is None or view.value.policy != policy:
                await self._records.write(key, _Stored(policy, self._context.nonce()), view)
            return True

        await settle(attempt, key)


def _key(name: str) -> str:
    try:
        return layout.policy_key(Tag.parse(name))
    except TagInvalid:
        raise PolicyError(f"there is no policy {name[:200]!r}: its name is letters, digits, '_', '.' and '-'") from None


def require_no_conflict(policies: Iterable[Policy]) -> None:
    """Raise PolicyError if two active policies are seen to match a name: an example of a glob of either."""
    active = [(policy, policy.scope()) for policy in policies if policy.status == "ACTIVE"]
    for (one, _), (other, is_about) in permutations(active, 2):
        for each in one.repositories:
            if is_about(example(each)):
                raise PolicyError(
                    f"{one.name} and {other.name} would both be active for {each}: a repository has one active policy"
                )
