"""Policies as they are written: TOML and YAML say the same, and what cannot be is refused with its line."""

from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import PolicyError
from storage.retention.located import read_toml, read_yaml
from storage.retention.policies import Policy, Rule
from storage.retention.policy_files import MAX_BYTES, parse

DAY = 24 * 3600

TOML = """
# Two policies
[[policies]]
name = "ci"
repositories = ["ci/*", "team/**"]
status = "ACTIVE"
description = 'What CI "leaves"'
protect = [
    "release-.*",  # never
    "latest",
]

[[policies.rules]]
tag_regexp = "test.*"
expire_period = "80d"
retained_top = 20

[[policies.rules]]
untagged = true
expire_period = "48h"

[[policies]]
name = "b"
repositories = ["b"]
rules = [{tag_regexp = '.*', retained_semver = 5, retained_pulled = "90d", description = "x"}]
"""
YAML = """
# Two policies
policies:
- name: ci
  repositories: [ci/*, team/**]
  status: ACTIVE
  description: What CI "leaves"
  protect:
  - release-.*
  - latest
  rules:
  - tag_regexp: test.*
    expire_period: 80d
    retained_top: 20
  - untagged: true
    expire_period: 48h
- {name: b, repositories: [b], rules: [{tag_regexp: ".*", retained_semver: 5, retained_pulled: 90d, description: x}]}
"""
BOTH = [
    Policy(
        "ci",
        ("ci/*", "team/**"),
        (
            Rule(tag_regexp="test.*", expire_period=80 * DAY, retained_top=20),
            Rule(untagged=True, expire_period=2 * DAY),
        ),
        status="ACTIVE",
        description='What CI "leaves"',
        protect=("release-.*", "latest"),
    ),
    Policy(
        "b", ("b",), (Rule(tag_regexp=".*", retained_semver=5, retained_pulled=90 * DAY, description="x"),), "DISABLED"
    ),
]


def test_both_languages_say_the_same() -> None:
    """Every field, several policies and comments; a policy that does not say so is DISABLED."""
    assert parse(TOML, "p.toml") == BOTH
    assert parse(TOML.replace("\n", "\r\n"), "p.toml") == BOTH
    assert parse(YAML, "p.yaml") == BOTH
    assert parse(YAML, "p.YML") == BOTH


def test_a_policy_alone() -> None:
    """It needs no list around it."""
    alone = 'name = "a"\nrepositories = ["a"]\n[[rules]]\nuntagged = true\nexpire_period = "86400s"\n'
    assert parse(alone, "p.toml") == [Policy("a", ("a",), (Rule(untagged=True, expire_period=DAY),))]


def refused(text: str, file: str) -> str:
    """What is said of it."""
    with pytest.raises(PolicyError) as caught:
        parse(text, file)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 300
    return said


GOOD = """\
name: a
repositories:
- a/*
status: ACTIVE
protect:
- latest
rules:
- tag_regexp: x.*
  expire_period: 24h
- untagged: true
  retained_top: 3
"""
GOOD_TOML = """\
name = "a"
repositories = [
  "a/*"
]
status = "ACTIVE"
protect = ["latest"]
[[rules]]
tag_regexp = "x.*"
expire_period = "24h"
[[rules]]
untagged = true
retained_top = 3
"""
# What is put in place of what, the line in YAML and in TOML, and what is said.
BAD: Sequence[tuple[str, Any, int, int, str]] = [
    ("expire_period", "25h", 9, 9, "expire_period is a multiple of 24h, not 25h"),
    ("expire_period", "0d", 9, 9, "expire_period is a multiple of 24h, not 0d"),
    ("expire_period", "1w", 9, 9, "expire_period is a number and s, m, h or d, like 48h, not '1w'"),
    ("expire_period", "24", 9, 9, "expire_period is a number and s, m, h or d"),
    ("expire_period", 24, 9, 9, "expire_period is a number and s, m, h or d"),
    ("expire_period", "\u0661d", 9, 9, "expire_period is a number and s, m, h or d"),
    ("tag_regexp", "a(", 8, 8, "a regular expression of RE2, not 'a(': missing ): a("),
    ("tag_regexp", "(?=a)", 8, 8, "a regular expression of RE2, not '(?=a)': invalid perl operator: (?="),
    ("tag_regexp", "x" * 257, 8, 8, "tag_regexp is a text of at most 256 characters"),
    ("tag_regexp", 1, 8, 8, "tag_regexp is a text of at most 256 characters, not 1"),
    ("retained_top", -1, 11, 12, "retained_top is a whole number from 0 to 1000000, not -1"),
    ("retained_top", True, 11, 12, "retained_top is a whole number"),
    ("retained_top", 1.5, 11, 12, "retained_top is a whole number"),
    ("retained_top", 0, 10, 10, "a rule needs expire_period, retained_top, retained_semver or retained_pulled"),
    ("untagged", "yes please", 10, 11, "untagged is true or false, not 'yes please'"),
    ("untagged", False, 10, 10, "a rule needs tag_regexp, or untagged = true"),
    ("status", "active", 4, 5, "status is ACTIVE or DISABLED, not 'active'"),
    ("status", [1], 4, 5, "status is ACTIVE or DISABLED, not [1]"),
    ("name", "a b", 1, 1, "a policy's name is letters, digits, '_', '.' and '-', not 'a b'"),
    ("name", "", 1, 1, "a policy's name is"),
    ("repositories", "a", 2, 2, "repositories is a list of at least one, not 'a'"),
    ("repositories", [], 2, 2, "repositories is a list of at least one, not []"),
    ("rules", [], 7, 7, "rules is a list of at least one, not []"),
]


def with_value(text: str, name: str, value: Any, separator: str) -> str:
    """The good text with another value for one of its fields, on the same line."""
    lines, written = text.splitlines(), yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=999)
    written = written.removesuffix("\n...\n").strip()
    if separator == " = " and isinstance(value, str):
        written = f"'{value}'"
    number = next(n for n, line in enumerate(lines) if line.strip("- []").startswith(name))
    start = lines[number].partition(name)[0]
    kept = [*lines[:number], f"{start.strip('[') if '[[' in start else start}{name}{separator}{written}"]
    rest = lines[number + 1 :]
    if name in {"repositories", "rules"}:
        following = (n for n, line in enumerate(rest) if name == "repositories" and line.startswith("status"))
        rest = rest[next(following, len(rest)) :]
        kept += [""] * (len(lines) - len(kept) - len(rest)) if rest else []
    return "\n".join([*kept, *rest])


@pytest.mark.parametrize(("name", "value", "in_yaml", "in_toml", "words"), BAD)
def test_a_bad_value_is_refused_with_its_line(name: str, value: Any, in_yaml: int, in_toml: int, words: str) -> None:
    """In either language, in one sentence that names file and line."""
    assert refused(with_value(GOOD, name, value, ": "), "p.yaml").startswith(f"p.yaml, line {in_yaml}: {words}")
    if value != [] or name != "rules":
        assert refused(with_value(GOOD_TOML, name, value, " = "), "p.toml").startswith(
            f"p.toml, line {in_toml}: {words}"
        )


UNREADABLE = [
    (GOOD.replace("status", "state"), "p.yaml", "p.yaml, line 4: there is no field 'state', but name, "),
    (
        GOOD.replace("  retained_top", "  keep"),
        "p.yaml",
        "p.yaml, line 11: there is no field 'keep', but tag_regexp, ",
    ),
    (
        GOOD_TOML.replace("retained_top", "keep"),
        "p.toml",
        "p.toml, line 12: there is no field 'keep', but tag_regexp",
    ),
    (GOOD.replace("- a/*", "- A/*"), "p.yaml", "p.yaml, line 3: a repository is lowercase letters, "),
    (GOOD_TOML.replace("a/*", "A/*"), "p.toml", "p.toml, line 3: a repository is lowercase letters, "),
    (GOOD.replace("latest", "'['"), "p.yaml", "p.yaml, line 6: a regular expression of RE2, not '[': missing ]: ["),
    (GOOD_TOML.replace("latest", "["), "p.toml", "p.toml, line 6: a regular expression of RE2, not '[': missing ]"),
    (GOOD.replace("name: a\n", ""), "p.yaml", "p.yaml, line 1: a policy needs name"),
    (GOOD.replace("name: a", "name: a\nname: b"), "p.yaml", "p.yaml, line 2: no YAML: 'name' is there twice"),
    (
        GOOD_TOML.replace('name = "a"', 'name = "a"\nname = "b"'),
        "p.toml",
        "p.toml, line 2: no TOML: Cannot overwrite",
    ),
    (GOOD_TOML.replace('"24h"', "24h"), "p.toml", "p.toml, line 9: no TOML: "),
    (GOOD_TOML + "x = [", "p.toml", "p.toml, line 13: no TOML: "),
    (GOOD + "  - : :\n - x", "p.yaml", "p.yaml, line 12: no YAML: "),
    (GOOD.replace("latest", '"\\ud800"'), "p.yaml", "p.yaml, line 6: protect is a text of at most 256 characters, "),
    ("a: &x [1]\nb: *x", "p.yaml", "p.yaml, line 2: no YAML: aliases are not taken here"),
    ("a: !!python/object:os.system x", "p.yaml", "p.yaml, line 1: no YAML: could not determine a constructor"),
    ("a: !!bool maybe", "p.yaml", "p.yaml, line 1: no YAML: 'maybe'"),
    ("a: !!timestamp foo", "p.yaml", "p.yaml, line 1: no YAML: "),
    ('a: !!int ""', "p.yaml", "p.yaml, line 1: no YAML: "),
    ("a: 1\n---\nb: 2", "p.yaml", "p.yaml, line 2: no YAML: but found another document"),
    (GOOD.replace("ACTIVE", "2001-99-99"), "p.yaml", "p.yaml, line 4: no YAML: month must be in 1..12"),
    (
        GOOD.replace("status: ACTIVE", f"status: {['x' * 9] * 99}"),
        "p.yaml",
        "p.yaml, line 4: status is ACTIVE or DISABLED, not ['xxxxxxxxx', 'xxx",
    ),
    ("a\n\x00", "p.yaml", "p.yaml, line 2: no YAML: special characters are not allowed"),
    ("", "p.yaml", "p.yaml, line 1: a policy is a table of fields, not None"),
    ("- a", "p.yaml", "p.yaml, line 1: a policy is a table of fields, not ['a']"),
    ("", "p.toml", "p.toml, line 1: a policy needs rules"),
    ("policies: []", "p.yaml", "p.yaml, line 1: policies is a list of at least one, not []"),
    ("policies: [1]", "p.yaml", "p.yaml, line 1: a policy is a table of fields, not 1"),
    ("policies: []\nx: 1", "p.yaml", "p.yaml, line 2: there is no field 'x', but policies"),
    (GOOD, "p.json", "p.json: policies are in TOML or YAML, in a file that ends with .toml, .yaml or .yml"),
    ("#" * (MAX_BYTES + 1), "p.yaml", "p.yaml: a file of policies has at most 256 KiB"),
    ("[" * 100_000, "p.yaml", "p.yaml, line 1: no YAML: "),
    ("a = " + "[" * 100_000, "p.toml", "p.toml, line 1: no TOML: "),
    (YAML.replace("name: b", "name: ci"), "p.yaml", "p.yaml, line 17: there are two policies ci"),
    (
        TOML.replace('["b"]', '["ci/x"]\nstatus = "ACTIVE"'),
        "p.toml",
        "b and ci would both be active for ci/x: a repository has one active policy",
    ),
]


@pytest.mark.parametrize(("text", "file", "words"), UNREADABLE, ids=[words for _, _, words in UNREADABLE])
def test_what_cannot_be_read_is_refused_with_its_line(text: str, file: str, words: str) -> None:
    """Unknown fields, what is missing, what is there twice, and what is neither TOML nor YAML."""
    assert refused(text, file).startswith(words)


def test_a_period_that_pulls_are_not_remembered_for() -> None:
    """A policy cannot rest on what is forgotten by then."""
    said = refused(GOOD.replace("retained_top: 3", "retained_pulled: 367d"), "p.yaml")
    assert said.startswith("p.yaml, line 11: retained_pulled is at most 366d")


LINES = '''\
# a comment with a = 1
top = 1
"a b".c.'d' = [ # x = 2
  "#", 'a = 3', """
b = 4
""",
  { k = 1, l = [ 1, [
    2 ] ] },
]
[t] # [u]
x.y = \'\'\'
[v]\'\'\'
[t.z]
w = 1979-05-27 07:32:00
[[arr]]
n = 0
[arr.in]
p = "\\"]"
[[arr.list]]
[[arr.list]]
q = 1
[[arr]]
n = 1
[[arr.list]]
q = 2
'''


def test_lines_of_toml() -> None:
    """The line of each key, and of each item of a list, whatever stands in strings and comments."""
    document = read_toml(LINES, "x.toml")
    expected = {
        ("top",): 2,
        ("a b", "c", "d"): 3,
        ("a b", "c", "d", 0): 4,
        ("a b", "c", "d", 1): 4,
        ("a b", "c", "d", 2): 4,
        ("a b", "c", "d", 3): 7,
        ("a b", "c", "d", 3, "l", 1): 7,
        ("a b", "c", "d", 3, "l", 1, 0): 8,
        ("t",): 10,
        ("t", "x", "y"): 11,
        ("t", "z"): 13,
        ("t", "z", "w"): 14,
        ("arr", 0): 15,
        ("arr", 0, "in", "p"): 18,
        ("arr", 0, "list", 0): 19,
        ("arr", 0, "list", 1, "q"): 21,
        ("arr", 1): 22,
        ("arr", 1, "n"): 23,
        ("arr", 1, "list", 0, "q"): 25,
    }
    assert {path: document.line(path) for path in expected} == expected
    assert document.line(("arr", 0, "list", 1, "missing")) == 20
    assert document.line(("missing",)) == 1


def paths(value: Any, at: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    """Every place in a value."""
    below: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        below = list(value.items())
    elif isinstance(value, list):
        below = list(enumerate(value))
    return {at}.union(*(paths(each, (*at, part)) for part, each in below))


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"], exclude_characters="'\x85\ufeff"))
values: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def in_toml(value: Any) -> str:
    """A value written on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{key}' = {in_toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",\n".join(map(in_toml, value)) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value).lower()


@given(st.dictionaries(texts, values, max_size=4))
def test_every_value_has_a_line(content: dict[str, Any]) -> None:
    """Whatever a document holds: all of it is found, and nothing else."""
    toml = "\n".join(f"'{key}' = {in_toml(value)}" for key, value in content.items())
    document = read_toml(toml, "x.toml")
    assert document.content == content
    assert set(document.lines) == paths(content) - {()}
    document = read_yaml(yaml.safe_dump(content, allow_unicode=True), "x.yaml")
    assert document.content == content
    assert set(document.lines) == paths(content)
