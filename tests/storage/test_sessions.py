"""Tokens of upload sessions: only what was sealed here, for this repository, opens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import UploadUnknown
from storage.records import Piece
from storage.references import RepositoryName
from storage.sessions import Sealer, Session

NAME = RepositoryName.parse("a/b")
nonces = st.text("0123456789abcdef", min_size=16, max_size=16)
pieces = st.builds(Piece, st.integers(0, 2**43), st.integers(0, 2**43), nonces)
sessions = st.builds(
    Session,
    nonces,
    st.sampled_from(["sha256", "sha512"]),
    st.integers(0, 2**43),
    st.none() | nonces,
    st.none() | nonces,
    st.lists(pieces, max_size=33).map(tuple),
)
SEALER = Sealer(b"secret")
SESSION = Session("0" * 40, "sha256")


@given(sessions)
def test_what_is_sealed_opens(session: Session) -> None:
    """As it was, and the token needs no escaping in a URL's path."""
    token = SEALER.seal(session, NAME)
    assert SEALER.open(token, NAME) == session
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()


@given(sessions)
def test_for_one_repository_and_one_store(session: Session) -> None:
    """Neither another name nor another secret opens it."""
    token = SEALER.seal(session, NAME)
    for sealer, name in ((SEALER, "a"), (SEALER, "a/b/c"), (Sealer(b"other"), "a/b")):
        with pytest.raises(UploadUnknown):
            sealer.open(token, RepositoryName.parse(name))


@given(st.text(max_size=200) | st.binary(max_size=100).map(bytes.hex))
def test_any_text_is_refused(text: str) -> None:
    """With UploadUnknown alone."""
    with pytest.raises(UploadUnknown):
        SEALER.open(text, NAME)


@given(st.integers(0, 10_000), st.characters())
def test_an_altered_token_is_refused(at: int, character: str) -> None:
    """One character replaced or added, wherever and by whatever."""
    token = SEALER.seal(SESSION, NAME)
    at %= len(token)
    replaced, added = token[:at] + character + token[at + 1 :], token[:at] + character + token[at:]
    for altered in {replaced, added, token[:at], token[at + 1 :]} - {token}:
        with pytest.raises(UploadUnknown):
            SEALER.open(altered, NAME)


def test_a_session_grows_by_segments() -> None:
    """The offset is where the last one ends."""
    grown = SESSION.extended(Piece(0, 5, "a"), "hash").extended(Piece(5, 7, "b"), None)
    assert (grown.offset, grown.prefix, len(grown.pieces)) == (12, None, 2)
    assert SESSION.pieces == ()
