"""What a policy says of a repository: Yandex's semantics to the letter, and what is kept beyond them."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.references import Digest
from storage.retention.judging import Verdict, Version, attached_to, evaluate, precedence
from storage.retention.policies import Policy, Rule
from storage.retention.pulls import Pulled

DAY = 24 * 3600
NOW = 1_700_000_000.0
UNKNOWN = Pulled()


def digest(name: str) -> str:
    """A digest that is the same for the same name."""
    return str(Digest.of(name.encode()))


def attaching(name: str, suffix: str = ".sig") -> str:
    """The tag that attaches something to what is called `name`."""
    return digest(name).replace(":", "-") + suffix


def version(name: str, *tags: str, age: float = 0, children: Sequence[str] = (), subject: str | None = None) -> Version:
    """A version, `age` days old, whose digest is that of its name."""
    return Version(
        digest(name),
        frozenset(tags),
        NOW - age * DAY,
        tuple(map(digest, children)),
        digest(subject) if subject else None,
    )


def judge(rules: Sequence[Rule], *versions: Version, protect: Sequence[str] = (), pulled: Pulled = UNKNOWN) -> set[str]:
    """The names of those that go, which are found among their tags or the letters a to z."""
    policy = Policy("p", ("**",), tuple(rules), protect=tuple(protect))
    names = {digest(name): name for name in "abcdefghijklmnopqrstuvwxyz"}
    return {names[each.version.digest] for each in evaluate(policy, versions, pulled, NOW) if each.goes}


def of(days: float) -> int:
    """Days in seconds."""
    return int(days * DAY)


TEST = Rule(tag_regexp="test.*", expire_period=of(80), retained_top=2)
UNTAGGED = Rule(untagged=True, expire_period=of(2))


def test_the_example_of_yandex() -> None:
    """Tags that begin with test and are older than 80 days go, but for the newest; and what has no tag, after 48 hours."""
    versions = [
        version("a", "test-1", age=200),
        version("b", "test-2", age=100),
        version("c", "test-3", age=79),
        version("d", "prod", age=400),
        version("e", age=3),
        version("f", age=1),
        version("g", "test-4", "prod-4", age=90),
    ]
    assert judge([TEST, UNTAGGED], *versions) == {"a", "b", "e"}


@pytest.mark.parametrize(
    ("rule", "goes"),
    [
        (Rule(tag_regexp=".*", expire_period=of(10)), "bcdef"),
        (Rule(tag_regexp=".*", expire_period=of(30)), "def"),
        (Rule(tag_regexp=".*", retained_top=2), "cdef"),
        (Rule(tag_regexp=".*", retained_top=99), ""),
        (Rule(tag_regexp=".*", expire_period=of(30), retained_top=4), "ef"),
        (Rule(tag_regexp="1\\..*", retained_top=1), "ef"),
        (Rule(tag_regexp="1", retained_top=1), ""),
        (Rule(tag_regexp="c.*", expire_period=of(1)), "c"),
        (Rule(untagged=True, expire_period=of(1)), "g"),
        (Rule(untagged=True, retained_top=1), ""),
        (Rule(tag_regexp="c.*", untagged=True, expire_period=of(1)), "cg"),
        (Rule(tag_regexp="c.*", untagged=True, retained_top=1), "g"),
        (Rule(tag_regexp=".*", retained_semver=2), "abcf"),
        (Rule(tag_regexp=".*", retained_semver=1, retained_top=1), "bcdf"),
        (Rule(tag_regexp=".*", expire_period=of(40), retained_semver=1), "df"),
    ],
)
def test_a_rule(rule: Rule, goes: str) -> None:
    """It is about whole tags, counts ages from the creation, the newest among what it is about, and keeps for any of its reasons."""
    versions = [
        version("a", "latest", age=5),
        version("b", "x", "y", age=10),
        version("c", "cc", age=20),
        version("d", "1.2.3", age=40),
        version("e", "v1.10.0", "1.10.0", age=50),
        version("f", "1.2.3-rc.1", age=60),
        version("g", age=70),
    ]
    assert judge([rule], *versions) == set(goes)


def test_the_period_is_counted_to_the_second() -> None:
    """What is exactly as old as the period goes; a second before that it stays."""
    rule = Rule(tag_regexp=".*", expire_period=of(1))
    one, other = version("a", "x", age=1), version("b", "x", age=1 - 1 / DAY)
    assert judge([rule], one, other) == {"a"}


def test_all_rules_that_match_have_to_agree() -> None:
    """A rule that keeps it outweighs those that do not, in any order; one that is not about it has no say."""
    strict, lax = Rule(tag_regexp="a.*", expire_period=of(1)), Rule(tag_regexp=".*b", expire_period=of(100))
    other = Rule(tag_regexp="c", retained_top=1)
    both, first = version("a", "ab", age=10), version("b", "aa", age=10)
    for rules in ([strict, lax, other], [other, lax, strict]):
        assert judge(rules, both, first) == {"b"}


def test_an_image_with_several_tags() -> None:
    """A rule is about it if any of its tags matches; what protects it, too."""
    rule = Rule(tag_regexp="test.*", expire_period=of(1))
    image = version("a", "test-1", "latest", age=10)
    assert judge([rule], image) == {"a"}
    assert judge([rule], image, protect=["late.*"]) == set()
    assert judge([rule], image, protect=["late"]) == {"a"}


def test_what_belongs_to_another_is_kept() -> None:
    """A child of an index, a referrer of a subject, their own children and referrers, whatever the rules say."""
    everything = [Rule(tag_regexp=".*", untagged=True, expire_period=of(1))]
    index = version("a", "1", age=10, children=["b", "c"])
    others = [
        version("b", age=10),
        version("c", age=10),
        version("d", age=10, subject="a"),
        version("e", age=10, subject="b"),
        version("f", "attested", age=10, subject="e"),
        version("g", age=10, subject="z"),
    ]
    assert judge(everything, index, *others) == {"a", "g"}
    assert judge(everything, *others) == {"b", "c", "d", "g"}
    assert judge(everything, others[3], others[4]) == {"e"}


@pytest.mark.parametrize("suffix", [".sig", ".att", ".sbom", "", ".x.y"])
def test_what_older_clients_attach_by_tag(suffix: str) -> None:
    """A tag with another version's digest attaches it to that one, as cosign does and the referrers' fallback; so do the fallback's entries."""
    everything = [Rule(tag_regexp=".*", untagged=True, expire_period=of(1))]
    image, attached = version("a", "1", age=10), version("b", attaching("a", suffix), age=10, children=["c"])
    assert judge(everything, image, attached, version("c", age=10)) == {"a"}
    assert judge(everything, attached) == {"b"}


def test_what_is_left_of_something_that_went() -> None:
    """A signature whose image is gone is untagged for a rule, unless it has a name of its own; a regular expression takes it as well."""
    left, named = version("a", attaching("z"), age=10), version("b", attaching("z"), "mine", age=10)
    assert judge([UNTAGGED], left, named) == {"a"}
    assert judge([Rule(tag_regexp="sha256-.*", expire_period=of(1))], left, named) == {"a", "b"}
    assert judge([Rule(tag_regexp="v.*", expire_period=of(1))], left, named) == set()


def test_what_belongs_to_another_takes_nobodys_place() -> None:
    """Children and signatures do not count among the newest, unless they have tags of their own."""
    images = [version("a", "1", age=3), version("b", "2", age=2)]
    signatures = [version("c", attaching("a"), age=1), version("d", attaching("b"), age=1)]
    assert judge([Rule(tag_regexp=".*", retained_top=2)], *images, *signatures) == set()
    assert judge([Rule(tag_regexp=".*", retained_top=1)], *images, *signatures) == {"a"}
    children = [version("e", "3", age=9, children=["f"]), version("f", age=1), version("g", age=2), version("h", age=3)]
    assert judge([Rule(untagged=True, retained_top=1)], *children) == {"h"}
    tagged = [version("i", "0", age=9, children=["j"]), version("j", "4", age=1), version("k", "5", age=2)]
    assert judge([Rule(tag_regexp=".*", retained_top=1)], *tagged) == {"i", "k"}


def test_what_was_pulled_lately() -> None:
    """It is kept, to the hour in doubt, and so is all while less is known than the rule asks for, and what was just pushed."""
    rule = Rule(tag_regexp=".*", retained_pulled=of(30))
    versions = [
        version("a", "1", age=90),
        version("b", "2", age=90),
        version("c", "3", age=29),
        version("d", "4", age=90),
    ]
    hour = int(NOW - of(30))
    pulled = Pulled(0, {digest("a"): hour - 3599, digest("b"): hour - 3600})
    assert judge([rule], *versions, pulled=pulled) == {"b", "d"}
    assert judge([rule], *versions, pulled=Pulled(hour - 3599, pulled.last)) == set()
    assert judge([rule], *versions) == set()


ORDER = """
0.0.1-alpha 0.0.1 v0.1.0-0 0.1.0 0.2.0 0.10.0 1.0.0-0 1.0.0-2 1.0.0-10 1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta
1.0.0-beta.2 1.0.0-beta.11 1.0.0-rc.1 1.0.0 V1.0.1 2.0.0 10.0.0
"""


def test_semantic_versions() -> None:
    """The order of semver.org's own example, and more; what is no semantic version has no place in it."""
    tags = ORDER.split()
    ranks = [precedence(tag) for tag in tags]
    assert None not in ranks
    assert sorted(tags, key=lambda tag: precedence(tag) or ()) == tags
    assert len(set(ranks)) == len(tags)
    assert precedence("v1.0.0") == precedence("1.0.0")
    for tag in (
        "1",
        "1.2",
        "01.2.3",
        "1.2.03",
        "latest",
        "1.2.3-",
        "1.2.3-a..b",
        "1.2.3-01",
        "1.2.3_4",
        "vv1.2.3",
        "1.2.\u0663",
    ):
        assert precedence(tag) is None, tag


def test_tags_that_attach() -> None:
    """A digest with a dash for its colon, alone or before a dot."""
    hexadecimal = "0f" * 32
    assert attached_to(f"sha256-{hexadecimal}") == attached_to(f"sha256-{hexadecimal}.sig") == f"sha256-{hexadecimal}"
    assert attached_to(f"sha512-{hexadecimal}.att") == f"sha512-{hexadecimal}"
    for tag in (
        "latest",
        f"sha256-{hexadecimal}x",
        f"sha256-{hexadecimal[:-1]}",
        f"md5-{hexadecimal}",
        f"x-sha256-{hexadecimal}",
    ):
        assert attached_to(tag) is None, tag


# ---------------------------------------------------------------- properties

NAMES = "abcdefgh"
tags = st.sampled_from(["latest", "1.0.0", "1.2.0", "v2.0.0-rc.1", "test-1", "test-2", "x", *map(attaching, "abc")])
ages = st.integers(0, 6)
periods = st.none() | st.integers(1, 5).map(of)
counts = st.integers(0, 3)


@st.composite
def repositories(draw: st.DrawFn) -> list[Version]:
    """Versions whose tags are theirs alone, and that name only those before them, as digests cannot run in circles."""
    free = set(draw(st.lists(tags, unique=True)))
    found: list[Version] = []
    for number, name in enumerate(NAMES[: draw(st.integers(0, len(NAMES)))]):
        mine = draw(st.sets(st.sampled_from(sorted(free)), max_size=2)) if free else set()
        free -= mine
        before = st.sampled_from(NAMES[:number]) if number else st.nothing()
        children = draw(st.lists(before, max_size=2)) if number else []
        subject = draw(st.none() | before) if number else None
        found.append(version(name, *mine, age=draw(ages), children=children, subject=subject))
    return found


rules = st.builds(
    Rule,
    tag_regexp=st.none() | st.sampled_from([".*", "test.*", "v?[0-9.]+", "latest", "sha256-.*"]),
    untagged=st.booleans(),
    expire_period=periods,
    retained_top=counts,
    retained_semver=counts,
    retained_pulled=periods,
)
policies = st.builds(
    Policy,
    name=st.just("p"),
    repositories=st.just(("**",)),
    rules=st.lists(rules, max_size=3).map(tuple),
    protect=st.lists(st.sampled_from(["latest", "1.*"]), max_size=1).map(tuple),
)
pulls = st.builds(
    Pulled,
    st.none() | st.integers(0, 6).map(lambda days: int(NOW) - of(days)),
    st.dictionaries(st.sampled_from(NAMES).map(digest), st.integers(0, 6).map(lambda days: int(NOW) - of(days))),
)


def goes(verdicts: Sequence[Verdict]) -> set[str]:
    """The digests of those that go."""
    return {each.version.digest for each in verdicts if each.goes}


def matches(rule: Rule, each: Version) -> bool:
    """Whether a rule is about a version, said in another way than the code does."""
    regexp = re.compile(rule.tag_regexp) if rule.tag_regexp else None
    names = [tag for tag in each.tags if not tag.startswith("sha256-")]
    return bool(regexp and any(regexp.fullmatch(tag) for tag in each.tags)) or (rule.untagged and not names)


@given(policies, repositories(), pulls)
@example(
    Policy("p", ("**",), (Rule(tag_regexp=".*", retained_top=1),)), [version("a", "x"), version("b", "y")], UNKNOWN
)
def test_nothing_is_lost(policy: Policy, versions: list[Version], pulled: Pulled) -> None:
    """Nothing goes that no rule is about, that is protected, too young, pulled, or belongs to anything that is there."""
    by_digest = {each.digest: each for each in versions}
    for gone in goes(evaluate(policy, versions, pulled, NOW)):
        each = by_digest[gone]
        about = [rule for rule in policy.rules if matches(rule, each)]
        assert about
        assert not any(tag == "latest" and "latest" in policy.protect for tag in each.tags)
        for rule in about:
            assert rule.expire_period is None or NOW - each.created >= rule.expire_period
            assert rule.retained_pulled is None or pulled.last.get(gone, 0) < NOW - rule.retained_pulled
        assert each.subject not in by_digest
        assert not any(gone in other.children for other in versions)
        assert not {digest(name) for name in "abc" if attaching(name) in each.tags} & (set(by_digest) - {gone})


@given(policies, repositories(), pulls)
def test_enough_is_kept(policy: Policy, versions: list[Version], pulled: Pulled) -> None:
    """Of what a rule is about, as many stay as `retained_top` says, or all, and none that goes is newer than one of them by much."""
    kept = {each.digest for each in versions} - goes(evaluate(policy, versions, pulled, NOW))
    for rule in policy.rules:
        about = [each for each in versions if matches(rule, each)]
        assert len([each for each in about if each.digest in kept]) >= min(rule.retained_top, len(about))
        semver = [each for each in about if any(precedence(tag) for tag in each.tags)]
        if rule.tag_regexp == ".*":
            assert len([each for each in semver if each.digest in kept]) >= min(rule.retained_semver, len(semver))


@given(policies, rules, repositories(), pulls)
def test_more_keeps_more(policy: Policy, rule: Rule, versions: list[Version], pulled: Pulled) -> None:
    """Among what other rules let go, a further rule can only keep; so can a longer period, a larger number and more to protect."""
    before = goes(evaluate(policy, versions, pulled, NOW))
    about = {each.digest for each in versions if any(matches(each_rule, each) for each_rule in policy.rules)}
    more = Policy("p", ("**",), (*policy.rules, rule))
    if not policy.protect:
        assert goes(evaluate(more, versions, pulled, NOW)) & about <= before
    protected = Policy("p", ("**",), policy.rules, protect=(".*",))
    assert all(not each.version.tags for each in evaluate(protected, versions, pulled, NOW) if each.goes)
    lax = tuple(
        Rule(
            tag_regexp=each.tag_regexp,
            untagged=each.untagged,
            expire_period=each.expire_period and each.expire_period + of(1),
            retained_top=each.retained_top + 1,
            retained_semver=each.retained_semver + 1,
            retained_pulled=each.retained_pulled and each.retained_pulled + of(1),
        )
        for each in policy.rules
    )
    assert goes(evaluate(Policy("p", ("**",), lax, protect=policy.protect), versions, pulled, NOW)) <= before


@given(policies, repositories(), pulls)
def test_the_order_does_not_matter(policy: Policy, versions: list[Version], pulled: Pulled) -> None:
    """Neither of the versions nor of the rules; verdicts come in the order of the versions, each with a reason."""
    verdicts = evaluate(policy, versions, pulled, NOW)
    assert [each.version for each in verdicts] == versions
    assert all(each.why for each in verdicts)
    other = Policy("p", ("**",), policy.rules[::-1], protect=policy.protect)
    assert goes(evaluate(other, versions[::-1], pulled, NOW)) == goes(verdicts)
