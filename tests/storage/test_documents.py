"""What a manifest says, from its bytes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.documents import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, annotations, entries, read, size
from storage.errors import ManifestInvalid
from storage.references import Digest
from tests.protocol.documents import descriptor, image, index

CONFIG = descriptor(b"config", "application/vnd.oci.image.config.v1+json")
LAYER = descriptor(b"layer")


def test_an_image() -> None:
    """Config and layers are its blobs, each named once; bytes and type are kept."""
    content = image(CONFIG, [LAYER, LAYER, CONFIG])
    document = read(content, OCI_MANIFEST)
    assert (document.content, document.media_type) == (content, OCI_MANIFEST)
    assert document.blobs == (Digest.of(b"config"), Digest.of(b"layer"))
    assert document.manifests == ()
    assert document.subject is None
    assert document.artifact_type == CONFIG["mediaType"]


@pytest.mark.parametrize("media_type", [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST])
def test_an_index(media_type: str) -> None:
    """Manifests of every kind are children, all else are blobs, and `entries` is both, in order."""
    content = index([LAYER, descriptor(b"child", media_type)])
    document = read(content, OCI_INDEX)
    assert document.blobs == (Digest.of(b"layer"),)
    assert document.manifests == (Digest.of(b"child"),)
    assert entries(document.content) == (Digest.of(b"layer"), Digest.of(b"child"))
    assert document.artifact_type is None


def test_a_subject_is_no_reference() -> None:
    """It need not exist, so it is among neither blobs nor manifests."""
    document = read(image(CONFIG, subject=descriptor(b"subject", OCI_MANIFEST)), None)
    assert document.subject == Digest.of(b"subject")
    assert document.subject not in (*document.blobs, *document.manifests)


def test_layers_with_urls_are_no_references() -> None:
    """Unless the list of them is empty."""
    document = read(image(CONFIG, [{**LAYER, "urls": ["https://example.com"]}]), None)
    assert document.blobs == (Digest.of(b"config"),)
    assert Digest.of(b"layer") in read(image(CONFIG, [{**LAYER, "urls": []}]), None).blobs


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")), max_size=5))
def test_annotations(pairs: dict[str, str]) -> None:
    """All of them, as they are."""
    content = image(CONFIG, annotations=pairs)
    read(content, None)
    assert annotations(content) == pairs
    assert annotations(image(CONFIG)) is None


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_manifest_or_are_refused(content: bytes) -> None:
    """With ManifestInvalid, and a message of moderate length."""
    with pytest.raises(ManifestInvalid) as caught:
        read(content, OCI_MANIFEST)
    assert len(str(caught.value)) < 2000


def test_a_hundred_levels_and_no_more() -> None:
    """Whatever the strings between them hold; who reads it later has room for it, however deep its own stack is."""
    within = image(CONFIG, x=json.loads('["[[\\"{{\\\\", ' + "[" * 98 + "]" * 98 + "]"))
    read(within, OCI_MANIFEST)
    assert _from_below(800, within) == len(within) + 6
    with pytest.raises(ManifestInvalid):
        read(image(CONFIG, x=json.loads("[" * 100 + "]" * 100)), OCI_MANIFEST)


@pytest.mark.parametrize("value", [0, {}, [], {"a": "b"}])
def test_no_more_values_than_can_be_checked_soon(value: Any) -> None:
    """Of whatever kind, and whatever the strings between them hold; as many as real manifests may have are taken."""
    read(image(CONFIG, x=[value] * 99_000, y=["[{,"] * 1_000, z='[{,\\"' * 100_000), OCI_MANIFEST)
    with pytest.raises(ManifestInvalid, match="200,000 values"):
        read(image(CONFIG, x=[value] * 200_000), OCI_MANIFEST)
    with pytest.raises(ManifestInvalid, match="200,000 values"):
        read(image(CONFIG, x={str(number): value for number in range(200_000)}), OCI_MANIFEST)


def test_4_mib_of_descriptors_are_taken() -> None:
    """Of the least that a descriptor is: no manifest of layers alone MUST be refused for the number of its values."""
    least = {"mediaType": "a", "digest": CONFIG["digest"], "size": 1}
    content = image(CONFIG, [least] * (4 * 2**20 // len(json.dumps(least, separators=(",", ":"))) - 10))
    read(json.dumps(json.loads(content), separators=(",", ":")).encode(), OCI_MANIFEST)


def _from_below(depth: int, content: bytes) -> int:
    return _from_below(depth - 1, content) if depth else size(content)


@pytest.mark.parametrize("place", ["schemaVersion", "config", "digest", "annotations"])
def test_a_name_that_is_said_twice(place: str) -> None:
    """Two readers could take it in two ways, at any depth: refused."""
    content = image(CONFIG, annotations={"x": "y"}).replace(
        f'"{place}":'.encode(), f'"{place}": 2, "{place}":'.encode(), 1
    )
    with pytest.raises(ManifestInvalid):
        read(content, OCI_MANIFEST)


def test_names_that_differ_in_case_are_two() -> None:
    """JSON's names are compared as they are."""
    assert read(image(CONFIG, Config=None, CONFIG=1), None).blobs == (Digest.of(b"config"),)
