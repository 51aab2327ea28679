"""Policies in the bucket: one active for a repository as far as can be seen, changed by compare-and-swap, and sealed."""

import pytest

from storage import layout
from storage.errors import CorruptRecord, PolicyError
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.retention.policies import Kept, Policies, Policy, Rule
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.protocol.serving import Clock, Nonces

RULES = (Rule(tag_regexp="a.*", retained_top=1),)


def policy(name: str, *repositories: str, active: bool = True) -> Policy:
    """A policy for repositories."""
    return Policy(name, repositories, RULES, status="ACTIVE" if active else "DISABLED")


@pytest.fixture
def policies(metered: MeteredStore, clock: Clock) -> Policies:
    """Those of an empty bucket."""
    return Policies(Context(metered, Views(clock, Epoch(), max_bytes=10**6), clock, Nonces()))


async def test_set_show_list_and_remove(policies: Policies, clock: Clock) -> None:
    """What was set is there, by name, with the time of its last change; what was removed is not, and can be set again."""
    await policies.set([policy("b", "b"), policy("a", "a")])
    since = clock.now
    clock.advance(5)
    assert await policies.all() == [Kept(policy("a", "a"), since), Kept(policy("b", "b"), since)]
    await policies.set([policy("a", "a", active=False), policy("b", "b")])
    assert await policies.get("a") == Kept(policy("a", "a", active=False), clock.now)
    assert (await policies.get("b")).modified == since
    await policies.remove("a")
    assert [kept.policy.name for kept in await policies.all()] == ["b"]
    for gone in (policies.get("a"), policies.remove("a"), policies.get("never")):
        with pytest.raises(PolicyError, match="there is no policy"):
            await gone
    await policies.set([policy("a", "a")])
    assert (await policies.get("a")).policy == policy("a", "a")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["a/*"], ["b", "a/*"]),
        (["a/b"], ["a/*"]),
        (["a/*"], ["a/b"]),
        (["a"], ["a"]),
        (["x", "**"], ["y"]),
        (["**"], ["ci/*"]),
        (["a/*/c"], ["a/**"]),
        (["a?"], ["a*"]),
    ],
)
async def test_two_that_are_active_for_a_repository(policies: Policies, one: list[str], other: list[str]) -> None:
    """They are refused by both names where their globs show it, in one go or one after the other; several may be disabled."""
    with pytest.raises(PolicyError, match=r"would both be active for .*: a repository has one active policy"):
        await policies.set([policy("one", *one), policy("other", *other)])
    await policies.set(
        [policy("one", *one), policy("other", *other, active=False), policy("third", *other, active=False)]
    )
    with pytest.raises(PolicyError, match=r"one.*other|other.*one"):
        await policies.set([policy("other", *other)])
    assert (await policies.get("other")).policy.status == "DISABLED"
    await policies.set([policy("one", *one, active=False), policy("other", *other)])


async def test_two_whose_globs_do_not_show_that_they_meet(policies: Policies) -> None:
    """They are taken: a run tells, once there is a repository of both."""
    await policies.set([policy("one", "team-*", "a/*"), policy("other", "*-old", "b/*")])


@pytest.mark.parametrize("name", ["", "../retention/lease", "a/b", "x" * 200])
async def test_what_is_no_name(policies: Policies, name: str) -> None:
    """No key is made of it."""
    for work in (policies.get(name), policies.remove(name)):
        with pytest.raises(PolicyError, match=f"there is no policy '{name}': its name is "):
            await work


async def test_a_policy_replaces_itself(policies: Policies) -> None:
    """It is in no conflict with what it was."""
    await policies.set([policy("a", "a/*")])
    await policies.set([policy("a", "a/*", "b")])
    assert (await policies.get("a")).policy.repositories == ("a/*", "b")


@pytest.mark.parametrize(("old", "new"), [(b'"name":"a"', b'"name":"b"'), (b"retained_top", b"retained_xyz")])
async def test_a_policy_that_was_changed_by_hand(
    policies: Policies, memory: MemoryStore, old: bytes, new: bytes
) -> None:
    """It is no policy: what maybe keeps something is not read as if it said less."""
    await policies.set([policy("a", "a")])
    key = layout.policy_key("a")
    await memory.put(key, (await memory.get(key)).body.replace(old, new))
    with pytest.raises(CorruptRecord, match="policies/a"):
        await policies.all()


@pytest.mark.parametrize(
    ("repositories", "regexps", "everything"),
    [
        (["**"], [".*"], True),
        (["*", "**/*"], [".*"], True),
        (["**"], ["[a-z].*", "[^a-z].*"], True),
        (["a/**"], [".*"], False),
        (["*"], [".*"], False),
        (["**"], ["test.*"], False),
        (["**"], [], False),
    ],
)
def test_a_policy_that_matches_everything(repositories: list[str], regexps: list[str], everything: bool) -> None:
    """One that is about every tag of every repository, by all of its globs and rules together."""
    rules = [Rule(untagged=True, retained_top=1), *(Rule(tag_regexp=each, retained_top=1) for each in regexps)]
    assert Policy("a", tuple(repositories), tuple(rules)).matches_everything is everything
