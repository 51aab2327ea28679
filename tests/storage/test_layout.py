"""The layout: what a builder writes its parser reads, and no key lies below another."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import layout
from storage.layout import Segment
from storage.references import ALGORITHMS, Digest, RepositoryName, Tag

hexes = st.text("0123456789abcdef", min_size=16, max_size=32)
digests = st.builds(Digest.of, st.binary(max_size=8), st.sampled_from(ALGORITHMS))
components = st.sampled_from(
    ["a", "b", "a-b", "a.b", "a0", "blobs", "tags", "manifests", "in", "at", "data", "catalog"]
)
names = st.lists(components, min_size=1, max_size=4).map("/".join).map(RepositoryName.parse)
tags = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=127).map("t".__add__).map(Tag.parse)
segments = st.builds(Segment, hexes, st.integers(0, 5 * 1024**4), hexes)
seconds = st.integers(0, 10**11)

keys = st.one_of(
    st.just(layout.FORMAT_KEY),
    st.builds(layout.secret_key, st.just("uploads")),
    st.builds(layout.data_key, segments),
    st.builds(layout.segment_index_key, hexes, hexes),
    st.builds(layout.cancelled_key, hexes),
    st.builds(layout.instance_key, digests, segments),
    st.builds(layout.link_key, digests, names),
    st.builds(layout.manifest_key, names, digests),
    st.builds(layout.tag_key, names, tags),
    st.builds(layout.referrer_key, names, digests, digests),
    st.builds(layout.catalog_key, names),
    st.builds(layout.policy_key, tags),
    st.just(layout.PULLED_KEY),
    st.builds(layout.pulls_key, seconds, hexes),
    st.builds(layout.dry_run_key, seconds, hexes),
)
PARSERS = [
    layout.parse_data_key,
    layout.parse_instance_key,
    layout.parse_link_key,
    layout.parse_manifest_key,
    layout.parse_tag_key,
    layout.parse_referrer_key,
    layout.parse_catalog_key,
    layout.parse_policy_key,
    layout.parse_pulls_key,
    layout.parse_dry_run_key,
]


@given(segments, digests, digests, names, tags)
def test_what_is_built_is_parsed(
    segment: Segment, digest: Digest, other: Digest, name: RepositoryName, tag: Tag
) -> None:
    """Every parser is the inverse of its builder."""
    assert layout.parse_data_key(layout.data_key(segment)) == segment
    assert layout.parse_instance_key(layout.instance_key(digest, segment)) == (digest, segment)
    assert layout.parse_link_key(layout.link_key(digest, name)) == (digest, name)
    assert layout.parse_manifest_key(layout.manifest_key(name, digest)) == (name, digest)
    assert layout.parse_tag_key(layout.tag_key(name, tag)) == (name, tag)
    assert layout.parse_referrer_key(layout.referrer_key(name, digest, other)) == (name, digest, other)
    assert layout.parse_catalog_key(layout.catalog_key(name)) == name


@given(st.integers(0, 2**40 - 1), hexes)
def test_an_upload_tells_when_its_session_ends(end: int, nonce: str) -> None:
    """In every key that it writes; one from before that was so has ended, and an end that is no time is no key of ours."""
    upload = layout.upload_until("ab" * 16, end)
    for key in (
        layout.data_key(Segment(upload, 0, nonce)),
        layout.segment_index_key(upload, nonce),
        layout.cancelled_key(upload),
    ):
        assert layout.upload_of(key) == upload
        assert layout.session_end(layout.upload_of(key)) == end
        assert layout.session_end(layout.upload_of(key.replace(upload, "ab" * 16))) == 0
        with pytest.raises(ValueError, match=upload):
            layout.upload_of(key.replace(upload, upload + "0"))


@given(seconds, hexes, tags)
def test_what_maintenance_keeps_is_parsed(time: int, nonce: str, name: Tag) -> None:
    """Times and nonces are read as they were built, in the order of time."""
    for build, parse in (
        (layout.pulls_key, layout.parse_pulls_key),
        (layout.dry_run_key, layout.parse_dry_run_key),
    ):
        assert parse(build(time, nonce)) == (time, nonce)
    for build in (layout.journal_key, layout.pulls_key, layout.dry_run_key):
        assert build(time, nonce) < build(time + 1, nonce)
    assert layout.parse_policy_key(layout.policy_key(name)) == name


@given(segments, digests, digests, names, tags)
def test_keys_lie_below_their_prefixes(
    segment: Segment, digest: Digest, other: Digest, name: RepositoryName, tag: Tag
) -> None:
    """A listing of a prefix has exactly the keys of its kind."""
    assert layout.data_key(segment).startswith(layout.upload_prefix(segment.upload))
    assert layout.cancelled_key(segment.upload).startswith(layout.upload_prefix(segment.upload))
    assert layout.segment_index_key(segment.upload, segment.nonce).startswith(layout.upload_prefix(segment.upload))
    assert layout.upload_prefix(segment.upload).startswith(layout.DATA_PREFIX)
    assert layout.instance_key(digest, segment).startswith(layout.instances_prefix(digest))
    assert layout.link_key(digest, name).startswith(layout.links_prefix(digest))
    assert layout.links_prefix(digest).startswith(layout.BLOBS_PREFIX)
    assert layout.manifest_key(name, digest).startswith(layout.manifests_prefix(name))
    assert layout.tag_key(name, tag).startswith(layout.tags_prefix(name))
    assert layout.referrer_key(name, digest, other).startswith(layout.referrers_prefix(name, digest))
    assert layout.catalog_key(name).startswith(layout.CATALOG_PREFIX)


@given(keys)
def test_a_key_is_read_by_its_own_parser_alone(key: str) -> None:
    """Every other parser says ValueError, and no other error."""
    readers = []
    for parse in PARSERS:
        try:
            parse(key)
        except ValueError:
            continue
        readers.append(parse)
    assert len(readers) <= 1


@given(st.text(max_size=80) | keys.flatmap(lambda key: st.builds(key.__add__, st.text(max_size=3))))
def test_what_is_no_key_is_a_value_error(text: str) -> None:
    """Whatever lies in the bucket, a parser reads it to the letter or says ValueError."""
    for parse in PARSERS:
        try:
            parse(text)
        except ValueError:
            continue
        assert text.isascii()


@pytest.mark.parametrize(
    "key",
    [
        f"data/{'a' * 43}/0000000000000-b",
        "data/a/0-b",
        "data/a/00000000000000-b",
        "data/a/0000000000000-b-c",
        "data/a/index-b",
        "data/a/cancelled",
        "data/a/+000000000001-b",
        "data/a/\u0661000000000000-b",
        "catalog/A",
        "catalog/a/b",
        "repositories/a/_tags/-x",
        "repositories/A/_tags/x",
        "blobs/sha256/00/" + "1" * 64 + "/in/a",
        "blobs/sha256/11/" + "1" * 64 + "/in/a/b",
    ],
)
def test_other_spellings_are_none(key: str) -> None:
    """There is one key for each thing."""
    for parse in PARSERS:
        with pytest.raises(ValueError):  # noqa: PT011 - that it is none is all there is to say
            parse(key)


@given(st.lists(keys, min_size=2, max_size=30), names, names, digests)
def test_no_key_is_ever_a_path_prefix_of_another(
    many: list[str], name: RepositoryName, inner: RepositoryName, digest: Digest
) -> None:
    """Some stores hide `x/y` beside `x`: over all builders, and for repositories inside of repositories above all."""
    nested = RepositoryName.parse(f"{name}/{inner}")
    for each in (name, nested):
        many += [layout.link_key(digest, each), layout.catalog_key(each), layout.manifest_key(each, digest)]
        many += [layout.tag_key(each, tag) for tag in ("x", "x.y", "_manifests", "_tags")]
        many += [layout.referrer_key(each, digest, digest)]
    ordered = set(many)
    parents = {key[:at] for key in ordered for at, character in enumerate(key) if character == "/"}
    assert not ordered & parents


@given(keys)
def test_keys_are_fit_for_every_store(key: str) -> None:
    """ASCII, no empty component, neither '.' nor '..', and not longer than S3's 1,024 bytes."""
    assert key.isascii()
    assert len(key) <= 1024
    assert not {"", ".", ".."} & set(key.split("/"))


def test_the_longest_keys_fit() -> None:
    """Even those of the longest names, tags and digests, and they read back."""
    name = RepositoryName.parse("/".join(["a" * 63] * 4))
    digest = Digest.of(b"", "sha512")
    assert len(layout.referrer_key(name, digest, digest)) <= 1024 - 256
    tag = Tag.parse("x" * 127 + "y")
    assert layout.parse_tag_key(layout.tag_key(name, tag)) == (name, tag)


@given(st.lists(tags, min_size=2, max_size=10, unique=True), names)
def test_tags_sort_as_their_keys_do(some: list[Tag], name: RepositoryName) -> None:
    """So that LIST order is tag order, and `last` is StartAfter."""
    in_order = sorted(some, key=str.encode)
    assert sorted(layout.tag_key(name, tag).encode() for tag in some) == [
        layout.tag_key(name, tag).encode() for tag in in_order
    ]


@given(hexes, st.lists(st.integers(0, 5 * 1024**4), min_size=2, unique=True), hexes)
def test_segments_sort_by_offset(upload: str, offsets: list[int], nonce: str) -> None:
    """So that a listing of an upload is in the order of its bytes."""
    some = sorted(layout.data_key(Segment(upload, offset, nonce)) for offset in offsets)
    assert [layout.parse_data_key(key).offset for key in some] == sorted(offsets)
