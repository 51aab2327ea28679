"""The names that clients use: what is one, and what is not."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import DigestInvalid, NameInvalid, TagInvalid
from storage.references import ALGORITHMS, Digest, RepositoryName, Tag


@given(st.binary(max_size=50), st.sampled_from(ALGORITHMS))
def test_a_digest_reads_back(content: bytes, algorithm: str) -> None:
    """What is written is read, and is the content's."""
    digest = Digest.of(content, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.new(algorithm, content).hexdigest()


@given(st.text(max_size=100))
def test_any_text_is_a_name_or_is_refused(text: str) -> None:
    """With its own error, and never another one; what is taken is taken to the letter."""
    for parse, refusal in (
        (Digest.parse, DigestInvalid),
        (RepositoryName.parse, NameInvalid),
        (Tag.parse, TagInvalid),
    ):
        try:
            parsed = parse(text)
        except refusal:
            continue
        assert str(parsed) == text


@given(st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*", fullmatch=True))
def test_every_name_of_the_grammar(text: str) -> None:
    """Is taken, up to 255 characters."""
    if len(text) <= 255:
        assert RepositoryName.parse(text) == text
    else:
        with pytest.raises(NameInvalid):
            RepositoryName.parse(text)


@given(st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", fullmatch=True))
def test_every_tag_of_the_grammar(text: str) -> None:
    """Is taken."""
    assert Tag.parse(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "a\n", "a/", "/a", "a//b", "A", "a_", "_a", "a..b", "a.-b", "a___b", "a" * 256, "\u00e9", "a\u0661", "a b"],
)
def test_no_name(text: str) -> None:
    """Is refused."""
    with pytest.raises(NameInvalid):
        RepositoryName.parse(text)


@pytest.mark.parametrize("text", ["", "a\n", ".a", "-a", "a" * 129, "a/b", "a:b", "\u00e9", "\u0661"])
def test_no_tag(text: str) -> None:
    """Is refused."""
    with pytest.raises(TagInvalid):
        Tag.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 65,
        "sha256:" + "A" * 64,
        "sha256:" + "0" * 64 + "\n",
        "sha256:" + "\u0661" * 64,
        "sha512:" + "0" * 64,
        "sha256",
        "SHA256:" + "0" * 64,
        "sha256::" + "0" * 63,
        " sha256:" + "0" * 64,
        "sha384:" + "0" * 96,
    ],
)
def test_no_digest(text: str) -> None:
    """Is refused."""
    with pytest.raises(DigestInvalid):
        Digest.parse(text)


def test_a_slow_name_is_none() -> None:
    """A name that tempts the pattern to try every way is refused at once."""
    with pytest.raises(NameInvalid):
        RepositoryName.parse("a-" * 120 + "!")
