"""Arbitrary requests: never a server error, and every error a valid document. FuzzedGateway.ask checks both."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.documents import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from storage.references import Digest
from tests.fuzz.asgi import FuzzedGateway
from tests.fuzz.profile import EVERY_RUN
from tests.protocol.documents import descriptor, image

BLOBS = [b"", b"{}", b"layer"]
DIGESTS = [str(Digest.of(content, algorithm)) for content in BLOBS for algorithm in ("sha256", "sha512")]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "DISPATCH", "TRACE"]

names = st.sampled_from(["a", "a/b", "blobs", "a/blobs/uploads", "tags/list", "_catalog", "A", "", "a//b", "..", "a!b"])
digests = st.sampled_from([*DIGESTS, "sha256:" + "0" * 64, "sha256:", ":", "md5:00", "sha256:" + "A" * 64])
tags = st.sampled_from(["1", "latest", "_", "-x", "x" * 129, "sha256-" + "0" * 64, "", "a%00", "%FF"])
garbage = st.binary(max_size=30).map(quote_from_bytes) | st.text(max_size=20).map(
    lambda text: quote_from_bytes(text.encode("utf-8", "surrogatepass"))
)
numbers = st.integers(-2, 10**20).map(str)
words = st.one_of(garbage, names, digests, tags, numbers)

paths = st.one_of(
    st.builds("/v2/{}/tags/list".format, names),
    st.builds("/v2/{}/manifests/{}".format, names, digests | tags | garbage),
    st.builds("/v2/{}/blobs/{}".format, names, digests | garbage),
    st.builds("/v2/{}/blobs/uploads/".format, names | garbage),
    st.builds("/v2/{}/blobs/uploads/{}".format, names, garbage),
    st.builds("/v2/{}/referrers/{}".format, names, digests),
    st.sampled_from(["/v2/", "/v2", "/v2/_catalog", "/livez", "/readyz", "/", "", "*", "//", "/v2//"]),
    st.lists(words, max_size=6).map("/".join).map("/v2/{}".format),
    garbage.map("/{}".format),
)
parameters = st.sampled_from(
    ["n", "last", "digest", "mount", "from", "tag", "artifactType", "digest-algorithm", "ns", "x"]
)
queries = st.lists(st.builds("{}={}".format, parameters, words), max_size=4).map("&".join) | garbage
ranges = st.builds("bytes={}-{}".format, numbers | st.just(""), numbers | st.just("")) | st.text(max_size=12)
headers = st.lists(
    st.one_of(
        st.tuples(
            st.just("content-type"), st.sampled_from([OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST, ""])
        ),
        st.tuples(st.just("content-range"), st.builds("{}-{}".format, numbers, numbers) | st.text(max_size=12)),
        st.tuples(st.just("content-length"), numbers | st.text(max_size=5)),
        st.tuples(st.just("transfer-encoding"), st.just("chunked")),
        st.tuples(st.just("range"), ranges),
        st.tuples(st.sampled_from(["accept", "if-none-match", "authorization", "host", "x"]), st.text(max_size=20)),
    ),
    max_size=5,
).map(lambda pairs: [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in pairs])

json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(exclude_categories=()), max_size=10),
        digests,
        st.sampled_from([OCI_MANIFEST, OCI_INDEX]),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mediaType", "digest", "size", "annotations", "urls", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
descriptors = st.fixed_dictionaries(
    {"mediaType": st.sampled_from([OCI_MANIFEST, "x"]), "digest": digests, "size": st.integers(-1, 2**70)},
    optional={
        "urls": st.lists(st.text(max_size=5), max_size=2),
        "annotations": json_values,
        "artifactType": json_values,
    },
)
manifests = st.fixed_dictionaries(
    {"schemaVersion": st.just(2) | json_values},
    optional={
        "mediaType": st.sampled_from([OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST]) | json_values,
        "config": descriptors | json_values,
        "layers": st.lists(descriptors, max_size=3) | json_values,
        "manifests": st.lists(descriptors, max_size=3) | json_values,
        "subject": descriptors | json_values,
        "artifactType": st.text(max_size=5) | json_values,
        "annotations": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3) | json_values,
    },
).map(lambda document: json.dumps(document).encode())
bodies = st.one_of(st.just(b""), st.sampled_from(BLOBS), st.binary(max_size=50), manifests)


@pytest.fixture(scope="module")
def gateway() -> Iterator[FuzzedGateway]:
    """A gateway with something in it, which later examples find as earlier ones left it."""
    with FuzzedGateway() as opened:
        for name in ("a", "a/b"):
            for content in BLOBS:
                for algorithm in ("sha256", "sha512"):
                    digest = str(Digest.of(content, algorithm))
                    query = f"digest={digest}".encode()
                    length = [(b"content-length", str(len(content)).encode())]
                    pushed = opened.ask("POST", f"/v2/{name}/blobs/uploads/".encode(), query, length, [content])
                    assert pushed.status == 201
            document = image(descriptor(b"{}"), [descriptor(b"layer")])
            assert opened.ask("PUT", f"/v2/{name}/manifests/1".encode(), chunks=[document]).status == 201
        yield opened


@EVERY_RUN
@given(
    st.sampled_from(METHODS) | st.text(max_size=8), paths, queries, headers, st.lists(bodies, max_size=3), st.booleans()
)
def test_any_request(
    gateway: FuzzedGateway,
    method: str,
    path: str,
    query: str,
    headers: list[tuple[bytes, bytes]],
    chunks: list[bytes],
    hang_up: bool,
) -> None:
    """Whatever the method, path, query, headers and body: no server error, and every error in our shape."""
    gateway.ask(method, path.encode(), query.encode(), headers, chunks, hang_up=hang_up)


@EVERY_RUN
@given(
    manifests, st.sampled_from([OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, None]), st.sampled_from(["1", "x", "digest"])
)
def test_any_manifest(gateway: FuzzedGateway, content: bytes, media_type: str | None, reference: str) -> None:
    """Taken, and then served byte by byte, listed and found as a referrer; or refused with 400."""
    digest = Digest.of(content)
    path = f"/v2/a/manifests/{digest if reference == 'digest' else reference}".encode()
    headers = [(b"content-type", media_type.encode())] if media_type else []
    answer = gateway.ask("PUT", path, b"", headers, [content])
    assert answer.status in {201, 400}
    if answer.status == 201:
        assert answer.headers["docker-content-digest"] == str(digest)
        got = gateway.ask("GET", path)
        assert (got.status, got.body) == (200, content)
        if "oci-subject" in answer.headers:
            listed = gateway.ask("GET", f"/v2/a/referrers/{answer.headers['oci-subject']}".encode())
            assert str(digest).encode() in listed.body


@EVERY_RUN
@given(ranges, st.integers(0, 40))
def test_any_range(gateway: FuzzedGateway, wanted: str, size: int) -> None:
    """Of a blob one gets all, or exactly the bytes that Content-Range names, or 416."""
    content = bytes(range(size))
    path = f"/v2/ranges/blobs/{Digest.of(content)}".encode()
    length = [(b"content-length", str(size).encode())]
    gateway.ask("POST", b"/v2/ranges/blobs/uploads/", f"digest={Digest.of(content)}".encode(), length, [content])
    answer = gateway.ask("GET", path, headers=[(b"range", wanted.encode("utf-8", "surrogatepass"))])
    if answer.status == 206:
        first, last = answer.headers["content-range"].removeprefix("bytes ").partition("/")[0].split("-")
        assert answer.body == content[int(first) : int(last) + 1] != b""
    else:
        assert answer.status == 416 or (answer.status, answer.body) == (200, content)
