"""Limits: what is over one is refused in the shape of OCI, and what is under it goes on."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.load.images import digest_of
from tests.parts.gateway import Gateway
from tests.patience.peer import Answer, Peer, eventually

LARGEST = 100_000
FITS, TOO_LARGE = b"x" * LARGEST, b"y" * (LARGEST + 1)
SETTINGS = {
    "MOORAGE_MAX_BLOB_BYTES": str(LARGEST),
    "MOORAGE_MAX_REQUESTS": "3",
    "MOORAGE_MAX_REQUESTS_PER_CLIENT": "2",
    "MOORAGE_MAX_CONNECTIONS": "8",
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of narrow limits."""
    directory = tmp_path_factory.mktemp("gateway")
    with Gateway(directory, f"file:{directory}/store", settings=SETTINGS) as started:
        yield started


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of it that behaves."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as client:
        yield client


class Held:
    """Uploads that are under way, each from its client's address, until they are finished."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._peers: list[Peer] = []

    def begin(self, source: str) -> Answer | None:
        """Begin one more; the answer if it is refused."""
        location = httpx.post(f"{self._gateway.url}/v2/a/blobs/uploads/", trust_env=False).headers["Location"]
        peer = Peer(self._gateway.port, source)
        # It is told to go on once the gateway reads its body: so it is under way.
        peer.begin("PATCH", location, 10, "Expect: 100-continue")
        answer = peer.answer()
        if answer.status == 100:
            self._peers.append(peer)
            return None
        peer.close()
        return answer

    def finish(self) -> list[int]:
        """Send what is missing; the statuses."""
        for peer in self._peers:
            peer.send(b"x" * 10)
        statuses = [peer.answer().status for peer in self._peers]
        self.abandon()
        return statuses

    def abandon(self) -> None:
        """Vanish."""
        while self._peers:
            self._peers.pop().close()


@pytest.mark.parametrize("end", ["finish", "abandon"])
def test_too_many_requests_of_one_client(gateway: Gateway, end: str) -> None:
    """One more MUST get 429 with Retry-After, while others are served; and it MUST be served when one of its own has ended."""
    held = Held(gateway)
    assert [held.begin("127.0.0.2"), held.begin("127.0.0.2")] == [None, None]
    with Peer(gateway.port, "127.0.0.2") as peer:
        _check_refusal(peer.ask("/v2/"), 429, "TOOMANYREQUESTS")
        assert peer.ask("/livez").status == 200
    with Peer(gateway.port, "127.0.0.3") as other:
        assert other.ask("/v2/").status == 200
    getattr(held, end)()
    with Peer(gateway.port, "127.0.0.2") as peer:
        eventually(lambda: peer.ask("/v2/").status == 200, "the client is served again")


def test_too_many_requests_at_once(gateway: Gateway, http: httpx.Client) -> None:
    """One more MUST get 503 with Retry-After, of whatever kind it is, but for probes; all MUST go on afterwards."""
    held = Held(gateway)
    assert [held.begin(f"127.0.0.{last}") for last in (2, 3, 4)] == [None] * 3
    for method, path in (("GET", "/v2/"), ("PATCH", "/v2/a/blobs/uploads/x"), ("PUT", "/v2/a/manifests/1")):
        answer = http.request(method, path, content=b"x" if method != "GET" else None)
        _check_refusal(Answer(answer.status_code, dict(answer.headers), answer.content), 503, "UNAVAILABLE")
    assert [http.get("/livez").status_code, http.get("/readyz").status_code] == [200, 200]
    assert held.finish() == [202] * 3
    assert http.get("/v2/").status_code == 200


def test_too_many_connections(gateway: Gateway) -> None:
    """One more MUST get 503 with Retry-After and the end of its connection; there MUST be room once others have left."""
    peers = [Peer(gateway.port) for _ in range(8)]
    eventually(lambda: _is_turned_away(gateway), "a connection too many is turned away")
    for peer in peers:
        peer.close()
    eventually(lambda: not _is_turned_away(gateway), "there is room again")


def test_as_many_open_files_as_it_may_have(tmp_path: Path) -> None:
    """The usual soft limit MUST be no bound of its own: each connection takes a file, and another one to the store."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1000), hard))
    try:
        with Gateway(tmp_path, "memory:") as gateway:
            allowed = psutil.Process(gateway.pid).rlimit(psutil.RLIMIT_NOFILE)[0]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert allowed == (65536 if hard == resource.RLIM_INFINITY else min(hard, 65536))


def test_too_many_requests_of_a_connection(gateway: Gateway) -> None:
    """Of a thousand in one write MUST be answered what is served and 16 behind it, and then the connection MUST end."""
    with Peer(gateway.port) as peer:
        peer.send(b"GET /livez HTTP/1.1\r\n\r\n" * 1_000)
        answers = list(iter(lambda: peer.answer().status, 0))
    assert answers == [200] * 17


def _is_turned_away(gateway: Gateway) -> bool:
    with Peer(gateway.port) as peer:
        answer = peer.ask("/livez")
        if answer.status == 200:
            return False
        if answer.status:  # or else it was reset before it could read why
            _check_refusal(answer, 503, "UNAVAILABLE")
        return True


Push = Callable[[httpx.Client, bytes], httpx.Response]


def _begun(http: httpx.Client) -> str:
    return str(http.post("/v2/a/blobs/uploads/").headers["Location"])


def _post(http: httpx.Client, content: bytes) -> httpx.Response:
    return http.post("/v2/a/blobs/uploads/", params={"digest": digest_of(content)}, content=content)


def _post_unsaid(http: httpx.Client, content: bytes) -> httpx.Response:
    return http.post("/v2/a/blobs/uploads/", params={"digest": digest_of(content)}, content=iter([content]))


def _post_put(http: httpx.Client, content: bytes) -> httpx.Response:
    return http.put(_begun(http), params={"digest": digest_of(content)}, content=content)


def _patch(http: httpx.Client, content: bytes) -> httpx.Response:
    return _committed(http, http.patch(_begun(http), content=content), content)


def _patch_unsaid(http: httpx.Client, content: bytes) -> httpx.Response:
    return _committed(http, http.patch(_begun(http), content=iter([content[:7], content[7:]])), content)


def _chunks(http: httpx.Client, content: bytes) -> httpx.Response:
    answer = http.patch(_begun(http), content=content[:60_000], headers={"Content-Range": "0-59999"})
    answer = http.patch(answer.headers["Location"], content=content[60_000:])
    return _committed(http, answer, content)


def _chunk_and_put(http: httpx.Client, content: bytes) -> httpx.Response:
    location = http.patch(_begun(http), content=content[:60_000]).headers["Location"]
    return http.put(location, params={"digest": digest_of(content)}, content=content[60_000:])


def _committed(http: httpx.Client, answer: httpx.Response, content: bytes) -> httpx.Response:
    if answer.status_code != 202:
        return answer
    return http.put(answer.headers["Location"], params={"digest": digest_of(content)})


@pytest.mark.parametrize(
    "push",
    [_post, _post_unsaid, _post_put, _patch, _patch_unsaid, _chunks, _chunk_and_put],
    ids=lambda push: push.__name__,
)
def test_a_blob_that_is_too_large(http: httpx.Client, push: Push) -> None:
    """One byte more than max_blob_bytes MUST be refused with 413, in every style of push; as many MUST be taken."""
    answer = push(http, TOO_LARGE)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (413, "SIZE_INVALID")
    assert http.head(f"/v2/a/blobs/{digest_of(TOO_LARGE)}").status_code == 404
    assert push(http, FITS).status_code == 201


def test_what_is_said_to_be_too_large(gateway: Gateway, http: httpx.Client) -> None:
    """It MUST be refused before any of it was sent."""
    for method in ("PATCH", "PUT"):
        with Peer(gateway.port) as peer:
            peer.begin(method, f"{_begun(http)}?digest={digest_of(b'')}", 10**12)
            assert peer.answer().code == "SIZE_INVALID"


def _check_refusal(answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code)
    assert int(answer.headers["retry-after"]) > 0
