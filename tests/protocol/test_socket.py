"""What only a real HTTP server shows: `moorage serve` in a process of its own."""

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from storage.references import Digest
from tests.parts.gateway import Gateway
from tests.protocol.serving import refused
from tests.protocol.test_bad_input import DIGEST, TABLE


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that every test here uses, which none of them may end or bring to a traceback."""
    with Gateway(tmp_path_factory.mktemp("gateway"), "memory:") as started:
        yield started
        assert started.stop() == 0
        assert '"exception"' not in started.log.read_text()


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        yield client


def test_the_same_over_a_socket(http: httpx.Client) -> None:
    """A real server hands the rows over as the tests above did."""
    for method, path, headers, body, status, code in TABLE:
        encoded = {name.encode(): value.encode() for name, value in headers.items()}
        refused(http.request(method, path, headers=encoded, content=body or None), status, code)


def test_an_error_to_head_has_no_body(http: httpx.Client) -> None:
    """Status and headers as for GET, and not a byte more: the connection stays usable."""
    for path, status in (
        ("/v2/a/manifests/1", 404),
        (f"/v2/a/blobs/{DIGEST}", 404),
        ("/v2/a/blobs/x", 400),
        ("/v2/A/manifests/1", 400),
        ("/nowhere", 404),
        ("/v2/a/blobs/uploads/", 405),
    ):
        answer = http.head(path)
        assert (answer.status_code, answer.content) == (status, b"")
        assert http.get("/v2/").status_code == 200


def test_a_manifest_that_is_too_large_over_a_socket(http: httpx.Client) -> None:
    """The client gets its 413 though it was still sending, by Content-Length or chunked."""
    for body in (b" " * 5 * 1024**2, (b" " * 65536 for _ in range(80))):
        refused(http.put("/v2/a/manifests/1", content=body), 413, "SIZE_INVALID")
    assert http.get("/v2/").status_code == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"FOO /v2/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http(gateway: Gateway, raw: bytes) -> None:
    """An error document and the end of the connection, for what never becomes a request."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: application/json" in head.lower()
    document = json.loads(body)
    assert [entry["code"] for entry in document["errors"]] == ["UNSUPPORTED"]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_no_http_behind_requests(gateway: Gateway, http: httpx.Client, at_once: bool) -> None:
    """They are answered, whole and in order, and then the connection ends: an error document MUST never get into another answer."""
    content = bytes(16 * 1024 * 1024)  # more than fits between the two
    digest = Digest.of(content)
    assert http.post(f"/v2/a/blobs/uploads/?digest={digest}", content=content).status_code == 201
    requests = [f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in (f"/v2/a/blobs/{digest}", "/v2/")]
    garbage = b"nonsense\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        for segment in [b"".join(requests) + garbage] if at_once else [*requests, garbage]:
            connection.sendall(segment)
            time.sleep(0.2)
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    blob, version = answers.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert blob.partition(b"\r\n\r\n")[2] == content
    assert version.partition(b"\r\n\r\n")[2] == b"{}"
    assert b"connection: close" in version


def test_an_upload_over_a_socket_that_is_cut(gateway: Gateway, http: httpx.Client) -> None:
    """A client that vanishes in the middle of its body does the gateway no harm."""
    for _ in range(3):
        location = http.post("/v2/a/blobs/uploads/").headers["Location"]
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
            connection.sendall(head.encode() + b"x" * 1000)
        status = http.get(location)
        assert (status.status_code, status.headers["Range"]) == (204, "0-0")


OFFERS = (
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\n",
)
SMUGGLED = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("at_once", [True, False])
def test_an_upgrade_that_is_offered(gateway: Gateway, http: httpx.Client, offer: str, at_once: bool) -> None:
    """It is declined, and the request served with its body (RFC 9110, section 7.8): the body MUST never be taken for a request."""
    location = http.post("/v2/a/blobs/uploads/").headers["Location"]
    head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\n{offer}Content-Length: {len(SMUGGLED)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        for segment in [head + SMUGGLED] if at_once else [head[:50], head[50:], SMUGGLED]:
            connection.sendall(segment)
            time.sleep(0.1)
        connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    assert [line.split()[1] for line in answers.splitlines() if line.startswith(b"HTTP/1.1 ")] == [b"202", b"200"]
    assert http.get(location).headers["Range"] == f"0-{len(SMUGGLED) - 1}"


@pytest.mark.parametrize(
    "head",
    [
        "GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n",
        "GET /v2/ HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
def test_an_upgrade_that_is_offered_by_the_last_request(gateway: Gateway, head: str) -> None:
    """It is declined too, and the request served before the connection ends."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n{}")


def test_trailers_are_dropped(gateway: Gateway, http: httpx.Client) -> None:
    """What follows a chunked body is taken, but never kept; a client that does not come to its end is hung up on."""
    location = http.post("/v2/a/blobs/uploads/").headers["Location"]
    head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n".encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 202 ")
    for endless in (b"a: " + b"x" * 1000 + b"\r\n", b"x" * 1000):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(head)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                connection.sendall(endless * 20_000)


@pytest.mark.parametrize("length", ["3 ", "00000000000000000003"])
def test_every_length_that_is_one(gateway: Gateway, http: httpx.Client, length: str) -> None:
    """A body MUST not be passed over because its length is written in an odd way."""
    location = http.post("/v2/a/blobs/uploads/").headers["Location"]
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nabc".encode())
        assert b"range: 0-2\r\n" in connection.recv(65536)
