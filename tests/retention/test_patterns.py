"""Regular expressions and globs: none can hang, none says more than it should, and what takes everything is noticed."""

import subprocess
import sys

import pytest

from storage.retention.patterns import glob, regexp, takes_every_name, takes_every_tag


def test_no_regular_expression_takes_forever() -> None:
    """What makes a backtracking engine try 2 to the 120 ways MUST be answered, for every length of a tag."""
    for text in ("(a*)*b", "(a|a)*b", "(a|aa)+$b", "(.*a){20}b", "([a-zA-Z0-9]+)*_"):
        matches = regexp(text)
        assert not any(matches("a" * length) for length in range(129))


def test_it_is_the_whole_tag_that_matches() -> None:
    """As Yandex has it: `test` is one tag, `test.*` are many."""
    assert regexp("test")("test")
    assert not regexp("test")("test-1")
    assert not regexp("test")("a-test")
    assert regexp("a|b")("b")
    assert not regexp("a|b")("bc")
    assert regexp("(?i)LATEST")("latest")


@pytest.mark.parametrize(
    "text", ["(", "[", "*", "a**", "(?=a)", "\\1", "x{1001}", "(((a{99}){99}){99})", "\\", "a" * 257]
)
def test_what_is_none_is_refused(text: str) -> None:
    """With a reason, in one line."""
    with pytest.raises(ValueError, match="regular expression") as caught:
        regexp(text)
    assert "\n" not in str(caught.value)


def test_nothing_is_printed() -> None:
    """RE2 MUST NOT write what it finds wrong to standard error."""
    script = "from storage.retention.patterns import regexp\ntry: regexp('(')\nexcept ValueError: pass"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert (result.stdout, result.stderr) == ("", "")


@pytest.mark.parametrize(
    ("text", "matching", "others"),
    [
        ("a", ["a"], ["b", "aa", "a/a"]),
        ("a.b", ["a.b"], ["axb"]),
        ("*", ["a", "b-c"], ["a/b"]),
        ("**", ["a", "a/b/c"], []),
        ("a/*", ["a/b"], ["a", "a/b/c", "b/a"]),
        ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
        ("a?", ["ab"], ["a", "abc", "a/"]),
        ("**/x", ["a/x", "a/b/x"], ["x", "a/y"]),
        ("a*b*c", ["abc", "a-b-c"], ["a/b/c", "ab"]),
    ],
)
def test_globs(text: str, matching: list[str], others: list[str]) -> None:
    """One star stays within a component, two do not."""
    matches = glob(text)
    assert [each for each in matching if not matches(each)] == []
    assert [each for each in others if matches(each)] == []


def test_what_takes_everything() -> None:
    """However it is written, by one or by several; and not what leaves something out."""
    for all_tags in ([".*"], [".+"], ["(?s).*"], ["[\\w.-]+"], ["[a-z0-9].*", "[^a-z0-9].*"], ["x", ".{1,128}"]):
        assert takes_every_tag(all_tags), all_tags
    for some in ([], ["test.*"], ["[a-z].*"], ["v.*", "latest"], [".{1,100}"], ["[^l].*"]):
        assert not takes_every_tag(some), some
    for all_names in (["**"], ["*", "**/*"], ["*", "*/**"]):
        assert takes_every_name(all_names), all_names
    for some in ([], ["*"], ["*/*"], ["a/**"], ["**/*"]):
        assert not takes_every_name(some), some
