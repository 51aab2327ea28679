"""What makes no sense is refused with a status, a code and an OCI error document, and never breaks the gateway."""

import pytest

from storage.documents import OCI_MANIFEST
from tests.protocol.serving import Api, refused

DIGEST = "sha256:" + "0" * 64
LONG = "x" * 5000

# Method, path, headers, body; status, code.
TABLE: list[tuple[str, str, dict[str, str], bytes, int, str]] = [
    ("GET", "/v2/A/tags/list", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/" + "a" * 256 + "/tags/list", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/" + LONG + "/tags/list", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2//tags/list", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/a%2Fb/tags/list", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/a%2fb/manifests/1", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/a/manifests/1%2F2", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/%FF%FE/tags/list", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/%C3%A9/tags/list", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/%00/tags/list", {}, b"", 400, "NAME_INVALID"),
    ("GET", "/v2/a%0Ab/tags/list", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/a/manifests/%FF", {}, b"", 404, "MANIFEST_UNKNOWN"),
    ("GET", f"/v2/a/manifests/{LONG}", {}, b"", 404, "MANIFEST_UNKNOWN"),
    ("GET", "/v2/a/manifests/sha256:xyz", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/manifests/:", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/manifests/sha256:" + "A" * 64, {}, b"", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/manifests/1%0A", {}, b"", 404, "MANIFEST_UNKNOWN"),
    ("PUT", "/v2/a/manifests/1%0A", {}, b"{}", 400, "MANIFEST_INVALID"),
    ("PUT", f"/v2/a/manifests/{DIGEST}%0A", {}, b"{}", 400, "DIGEST_INVALID"),
    ("PUT", "/v2/a/manifests/1", {}, b"", 400, "MANIFEST_INVALID"),
    ("PUT", "/v2/a/manifests/1", {"Content-Type": "\u00e9"}, b"{}", 400, "MANIFEST_INVALID"),
    ("PUT", "/v2/a/manifests/1", {"Content-Type": OCI_MANIFEST}, b"[" * 200_000, 400, "MANIFEST_INVALID"),
    ("PUT", "/v2/a/manifests/1", {"Content-Type": OCI_MANIFEST}, b" " * 4 * 1024**2, 400, "MANIFEST_INVALID"),
    ("PUT", "/v2/a/manifests/1", {"Content-Type": OCI_MANIFEST}, b" " * (4 * 1024**2 + 1), 413, "SIZE_INVALID"),
    ("GET", f"/v2/a/blobs/{LONG}", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", f"/v2/a/blobs/{DIGEST}", {"Range": "bytes=" + "9" * 400 + "-"}, b"", 404, "BLOB_UNKNOWN"),
    ("GET", "/v2/a/blobs/uploads", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/blobs/uploads/%FF", {}, b"", 404, "BLOB_UPLOAD_UNKNOWN"),
    ("POST", "/v2/a/blobs/uploads/?digest=%FF", {}, b"x", 400, "DIGEST_INVALID"),
    ("POST", "/v2/a/blobs/uploads/?digest=sha256:" + "0" * 63, {}, b"x", 400, "DIGEST_INVALID"),
    ("POST", "/v2/a/blobs/uploads/?digest-algorithm=%FF", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", "/v2/a/tags/list?n=-1", {}, b"", 400, "UNSUPPORTED"),
    ("GET", "/v2/_catalog?n=%FF", {}, b"", 400, "UNSUPPORTED"),
    ("GET", "/v2/a/referrers/x", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", f"/v2/a/referrers/{DIGEST}?last=x", {}, b"", 400, "DIGEST_INVALID"),
    ("GET", "/", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/v1/", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/a", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/a/tags", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/a/tags/list/", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/a/manifests/", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/_catalog/", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/%FF", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/metrics%0A", {}, b"", 404, "NAME_UNKNOWN"),
    ("GET", "/v2/%0A", {}, b"", 404, "NAME_UNKNOWN"),
    ("POST", "/v2/", {}, b"", 405, "UNSUPPORTED"),
    ("DELETE", "/v2/_catalog", {}, b"", 405, "UNSUPPORTED"),
    ("PUT", "/v2/a/tags/list", {}, b"", 405, "UNSUPPORTED"),
    ("POST", "/v2/a/manifests/1", {}, b"", 405, "UNSUPPORTED"),
    ("PATCH", "/v2/a/manifests/1", {}, b"", 405, "UNSUPPORTED"),
    ("PUT", f"/v2/a/blobs/{DIGEST}", {}, b"", 405, "UNSUPPORTED"),
    ("GET", "/v2/a/blobs/uploads/", {}, b"", 405, "UNSUPPORTED"),
    ("POST", "/v2/a/blobs/uploads/x", {}, b"", 405, "UNSUPPORTED"),
    ("DELETE", f"/v2/a/referrers/{DIGEST}", {}, b"", 405, "UNSUPPORTED"),
    ("OPTIONS", "/v2/a/tags/list", {}, b"", 405, "UNSUPPORTED"),
    ("TRACE", "/v2/a/tags/list", {}, b"", 405, "UNSUPPORTED"),
    ("POST", "/livez", {}, b"", 405, "UNSUPPORTED"),
]
NAMES = [f"{number} {method} {path[:40]}" for number, (method, path, *_) in enumerate(TABLE)]


@pytest.mark.parametrize(("method", "path", "headers", "body", "status", "code"), TABLE, ids=NAMES)
async def test_bad_input_is_refused_in_our_shape(
    api: Api, method: str, path: str, headers: dict[str, str], body: bytes, status: int, code: str
) -> None:
    """Status and code of each row; a 405 names in Allow what is possible."""
    encoded = {name.encode(): value.encode() for name, value in headers.items()}
    answer = await api.http(method, path, headers=encoded, content=body or None)
    refused(answer, status, code)
    assert len(answer.content) < 2000
    if status == 405:
        assert method not in answer.headers["Allow"].split(", ")


@pytest.mark.parametrize("method", ["FOO", "DISPATCH", "METHOD_NOT_ALLOWED", "__INIT__", "CONNECT"])
@pytest.mark.parametrize("path", ["/v2/", "/v2/a/tags/list", "/v2/a/manifests/1", "/livez", "/nowhere"])
async def test_unknown_methods(api: Api, method: str, path: str) -> None:
    """405 with Allow, or 404 where there is nothing; whatever the method is called."""
    answer = await api.http(method, path)
    refused(answer, *((404, "NAME_UNKNOWN") if path == "/nowhere" else (405, "UNSUPPORTED")))


def test_codes_are_those_of_the_specification() -> None:
    """The table of this module uses no code that the specification does not know."""
    known = {
        *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"),
        *("MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED"),
        *("DENIED", "UNSUPPORTED", "TOOMANYREQUESTS"),
    }
    assert {row[-1] for row in TABLE} <= known
