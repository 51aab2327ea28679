"""What a retention policy says of the versions of one repository: a function of values, which asks nobody.

A version is a manifest by its digest. One that belongs to another which is there is kept whatever the rules say: a child of an index, a
referrer of its subject, and what older clients attach by a tag such as `sha256-<hex>.sig`, or list under the tag `sha256-<hex>`.
Being there alone counts, not being about to be kept, for what is condemned may yet be kept: so what belongs to something goes after it.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from storage.retention.patterns import Matches, regexp
from storage.retention.policies import Policy, Rule
from storage.retention.pulls import Pulled

_DAY = 24 * 3600
_ATTACHED = re.compile(r"(sha(?:256|512)-[0-9a-f]{64})(?:\..*)?", re.DOTALL)
_ATTACHED_DIGITS = 64
_NUMBER = r"(0|[1-9]\d*)"
_IDENTIFIERS = r"((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)"
_SEMVER = re.compile(rf"[vV]?{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_IDENTIFIERS})?", re.ASCII)

Precedence = tuple[int, int, int, tuple[tuple[int, int, str], ...]]


@dataclass(frozen=True, slots=True)
class Version:
    """A manifest of a repository: its tags, when it was created, in seconds since 1970, and what it names."""

    digest: str
    tags: frozenset[str]
    created: float
    children: tuple[str, ...] = ()
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a version goes, and why it does or does not."""

    version: Version
    goes: bool
    why: str


def evaluate(policy: Policy, versions: Sequence[Version], pulled: Pulled, now: float) -> list[Verdict]:
    """What the policy says of all versions of a repository, in their order."""
    case = _Case(versions, _owners(versions), pulled, now)
    protect = [(text, regexp(text)) for text in policy.protect]
    rules = [_Judge(number, rule, case) for number, rule in enumerate(policy.rules, 1)]
    return [_verdict(version, case.owners.get(version.digest), protect, rules) for version in versions]


def attached_to(tag: str) -> str | None:
    """The beginning of the tag, which stands for the digest of what it is attached to; None for any other tag."""
    match = _ATTACHED.fullmatch(tag)
    return match[1] if match else None


def precedence(tag: str) -> Precedence | None:
    """Where a tag stands in the order of semantic versioning, None if it is no version; a `v` before it does not matter.

    https://semver.org/spec/v2.0.0.html#spec-item-11. A tag cannot hold the '+' of build metadata.
    """
    match = _SEMVER.fullmatch(tag)
    if match is None:
        return None
    before = [_identifier(each) for each in match[4].split(".")] if match[4] else [(3, 0, "")]
    return int(match[1]), int(match[2]), int(match[3]), tuple(before)


def _identifier(text: str) -> tuple[int, int, str]:
    """Numbers come before words, and a release, which has none, after both."""
    return (1, int(text), "") if text.isdigit() else (2, 0, text)


def _verdict(
    version: Version, owner: str | None, protect: Iterable[tuple[str, Matches]], rules: Iterable["_Judge"]
) -> Verdict:
    if owner is not None:
        return Verdict(version, goes=False, why=f"it belongs to {owner}, which is there")
    for text, matches in protect:
        if any(map(matches, version.tags)):
            return Verdict(version, goes=False, why=f"it is protected by {text!r}")
    concerned = [rule for rule in rules if version.digest in rule.matching]
    if not concerned:
        return Verdict(version, goes=False, why="no rule is about it")
    for rule in concerned:
        reason = rule.keeps(version)
        if reason is not None:
            return Verdict(version, goes=False, why=f"{rule.label}: {reason}")
    return Verdict(version, goes=True, why="; ".join(f"{rule.label}: {rule.reason}" for rule in concerned))


@dataclass(frozen=True, slots=True)
class _Case:
    """What the rules are applied to; `owners` has for what belongs to another version that one's digest."""

    versions: Sequence[Version]
    owners: Mapping[str, str]
    pulled: Pulled
    now: float


class _Judge:
    """A rule, and what it is about in a repository."""

    def __init__(self, number: int, rule: Rule, case: "_Case") -> None:
        self._rule = rule
        self._pulled = case.pulled
        self._now = case.now
        self.label = f"rule {number}{f' ({rule.description})' if rule.description else ''}"
        matches = regexp(rule.tag_regexp) if rule.tag_regexp is not None else _none
        about = [each for each in case.versions if _is_about(rule, matches, each)]
        self.matching = {each.digest for each in about}
        # What belongs to another version and has no name of its own takes nobody's place.
        counted = [each for each in about if each.digest not in case.owners or _names(each)]
        newest = sorted(counted, key=lambda each: (-each.created, each.digest))
        self._newest = {each.digest for each in newest[: rule.retained_top]}
        ranked = [(rank, each) for each in newest if (rank := _rank(each, matches)) is not None]
        ranked.sort(key=lambda pair: pair[0], reverse=True)  # of equals, the newest comes first
        self._highest = {each.digest for _, each in ranked[: rule.retained_semver]}

    def keeps(self, version: Version) -> str | None:
        """Why the rule keeps a version that it is about, None if it wants it to go."""
        rule = self._rule
        if rule.expire_period is not None and self._now - version.created < rule.expire_period:
            return f"it is younger than {_days(rule.expire_period)}"
        if version.digest in self._newest:
            return f"it is among the {rule.retained_top} newest"
        if version.digest in self._highest:
            return f"it is among the {rule.retained_semver} highest versions"
        if rule.retained_pulled is not None and self._is_in_use(version, rule.retained_pulled):
            return f"it was pulled within {_days(rule.retained_pulled)}, or may have been"
        return None

    @property
    def reason(self) -> str:
        """Why what the rule does not keep goes."""
        rule = self._rule
        reasons = [
            (rule.expire_period, f"{_days(rule.expire_period or 0)} old or older"),
            (rule.retained_top, f"not among the {rule.retained_top} newest"),
            (rule.retained_semver, f"not among the {rule.retained_semver} highest versions"),
            (rule.retained_pulled, f"not pulled within {_days(rule.retained_pulled or 0)}"),
        ]
        return ", ".join(reason for value, reason in reasons if value)

    def _is_in_use(self, version: Version, seconds: int) -> bool:
        """Whether it was pulled lately; one that was only just pushed had no time to be."""
        return self._now - version.created < seconds or self._pulled.within(version.digest, seconds, self._now)


def _is_about(rule: Rule, matches: Matches, version: Version) -> bool:
    return any(map(matches, version.tags)) or (rule.untagged and not _names(version))


def _names(version: Version) -> list[str]:
    """The tags that are names: not those that only attach it to something."""
    return [tag for tag in version.tags if attached_to(tag) is None]


def _rank(version: Version, matches: Matches) -> Precedence | None:
    """The highest of the semantic versions among the tags that a rule is about."""
    return max((rank for tag in version.tags if matches(tag) and (rank := precedence(tag)) is not None), default=None)


def _owners(versions: Sequence[Version]) -> dict[str, str]:
    """For each version that belongs to another one which is there, that one's digest."""
    there = {version.digest for version in versions}
    attachable = {_attachable(digest): digest for digest in there}
    owners: dict[str, str] = {}

    def own(owner: str | None, digest: str) -> None:
        if owner is not None and owner in there and owner != digest:
            owners.setdefault(digest, owner)

    for version in versions:
        for child in version.children:
            own(version.digest, child)
        own(version.subject, version.digest)
        for tag in version.tags:
            own(attachable.get(attached_to(tag) or ""), version.digest)
    return owners


def _attachable(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    return f"{algorithm}-{digits[:_ATTACHED_DIGITS]}"


def _days(seconds: int) -> str:
    return f"{seconds // _DAY}d"


_none: Callable[[str], bool] = lambda _: False  # noqa: E731
