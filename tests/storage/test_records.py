"""The codecs of records: what is written reads back, a tombstone is told by its size, and what is broken is said to be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import layout
from storage.errors import CorruptRecord
from storage.objects.contract import ObjectInfo, StoredObject
from storage.records import (
    TOMBSTONE_SIZE,
    CatalogMarker,
    Instance,
    Link,
    ManifestHeader,
    ReferrerEntry,
    TagMove,
    TagPointer,
    changed,
    decode,
    decode_manifest,
    encode,
    encode_manifest,
    is_tombstone,
)
from storage.references import Digest, RepositoryName

nonces = st.text("0123456789abcdef", min_size=16, max_size=16)
text = st.text(st.characters(codec="utf-8"), max_size=20)
moves = st.builds(TagMove, text, nonces, text, st.integers(0, 2**40), st.integers(0, 2**40), nonces)
records = st.one_of(
    st.builds(Link, text, st.integers(0, 2**50), nonces, st.sampled_from(["live", "condemned"])),
    st.builds(Instance, text, st.integers(0, 2**50), nonces),
    st.builds(CatalogMarker, nonces, st.sampled_from(["live", "condemned"]), st.booleans()),
    st.builds(ReferrerEntry, nonces, nonces),
    st.builds(TagPointer, text, nonces, text, st.integers(0, 9), st.integers(0, 9), nonces, st.lists(moves).map(tuple)),
)
headers = st.builds(
    ManifestHeader,
    media_type=text,
    size=st.just(0),
    generation=nonces,
    nonce=nonces,
    pushed_at=st.integers(0, 2**40),
    artifact_type=st.none() | text,
    tags=st.lists(text, max_size=3).map(tuple),
)


def stored(body: bytes, key: str = "the/key") -> StoredObject:
    """As a store gives it back."""
    return StoredObject(ObjectInfo(key, len(body), "etag", 0), body)


def manifest_key(content: bytes, algorithm: str = "sha256") -> str:
    """Where a manifest lies."""
    return layout.manifest_key(RepositoryName.parse("a"), Digest.of(content, algorithm))


@given(records)
def test_what_is_written_reads_back(record: Link) -> None:
    """Every kind, and always longer than a tombstone."""
    body = encode(record)
    assert not is_tombstone(len(body))
    assert len(body) > TOMBSTONE_SIZE
    assert decode(stored(body), type(record)) == record


@given(headers, st.binary(max_size=100), st.sampled_from(["sha256", "sha512"]))
def test_a_manifest_record_keeps_exact_bytes(header: ManifestHeader, content: bytes, algorithm: str) -> None:
    """Whatever they are, newlines included."""
    header = changed(header, size=len(content))
    body = encode_manifest(header, content)
    assert len(body) > TOMBSTONE_SIZE
    assert decode_manifest(stored(body, manifest_key(content, algorithm))) == (header, content)


def damages(body: bytes) -> st.SearchStrategy[bytes]:
    """`body` with one byte changed, cut short, or with something behind it; never a tombstone by its size."""
    flipped = st.tuples(st.integers(0, len(body) - 1), st.integers(1, 255)).map(
        lambda at: body[: at[0]] + bytes([body[at[0]] ^ at[1]]) + body[at[0] + 1 :]
    )
    cut = st.integers(0, len(body) - 1).map(lambda size: body[:size])
    longer = st.binary(min_size=1, max_size=9).map(lambda more: body + more)
    return st.one_of(flipped, cut, longer).filter(lambda damaged: not is_tombstone(len(damaged)))


@given(st.data(), records)
def test_a_damaged_record_is_corrupt(data: st.DataObject, record: Link) -> None:
    """One byte that is another one, missing or too many MUST be found, wherever it is."""
    damaged = data.draw(damages(encode(record)))
    with pytest.raises(CorruptRecord, match="the/key"):
        decode(stored(damaged), type(record))


@given(st.data(), headers, st.binary(max_size=30))
def test_a_damaged_manifest_is_corrupt(data: st.DataObject, header: ManifestHeader, content: bytes) -> None:
    """In its header as in its content."""
    damaged = data.draw(damages(encode_manifest(header, content)))
    with pytest.raises(CorruptRecord, match="_manifests"):
        decode_manifest(stored(damaged, manifest_key(content)))


@given(st.binary(min_size=TOMBSTONE_SIZE, max_size=TOMBSTONE_SIZE))
def test_a_tombstone_is_nothing(body: bytes) -> None:
    """16 bytes, whatever they are."""
    assert decode(stored(body), Link) is None
    assert decode_manifest(stored(body)) is None


@given(st.binary(max_size=60).filter(lambda body: not is_tombstone(len(body))))
def test_other_bytes_are_corrupt(body: bytes) -> None:
    """And the error names the key."""
    with pytest.raises(CorruptRecord, match="the/key"):
        decode(stored(body), TagPointer)
    with pytest.raises(CorruptRecord, match="the/key"):
        decode_manifest(stored(body))


def test_a_deep_record_is_corrupt() -> None:
    """Not a RecursionError."""
    with pytest.raises(CorruptRecord):
        decode(stored(b'{"x":' * 100_000), Link)
