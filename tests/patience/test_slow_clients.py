"""Clients that connect and say nothing, that trickle or that stall: each is hung up on, and no other waits for it."""

import asyncio
import hashlib
import random
import signal
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from time import monotonic, sleep

import httpx
import psutil
import pytest

from tests.load.images import check_image, push_image
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.parts.wire import Wire
from tests.patience.peer import Peer, eventually

SETTINGS = {"MOORAGE_HEADER_TIMEOUT": "2s", "MOORAGE_BODY_TIMEOUT": "2s", "MOORAGE_MIN_RATE": "10KiB"}
CONTENT = random.Random(4).randbytes(32 * 1024 * 1024)  # more than the kernel holds of a connection
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway of little patience, with one large blob, which none of the tests may end or bring to a traceback."""
    directory = tmp_path_factory.mktemp("gateway")
    with Gateway(directory, f"file:{directory}/store", settings=SETTINGS) as started:
        answer = httpx.post(
            f"{started.url}/v2/a/blobs/uploads/", params={"digest": DIGEST}, content=CONTENT, trust_env=False
        )
        assert answer.status_code == 201
        yield started
        assert started.stop() == 0
        assert '"exception"' not in started.log.read_text()


@pytest.fixture
def peer(gateway: Gateway) -> Iterator[Peer]:
    """A connection to it."""
    with Peer(gateway.port) as connected:
        yield connected


def _session(gateway: Gateway) -> str:
    return httpx.post(f"{gateway.url}/v2/a/blobs/uploads/", trust_env=False).headers["Location"]


def _trickle(peer: Peer, pieces: Iterator[bytes], pause: float = 0.25) -> bool:
    """Send the pieces one by one; whether the gateway answered, or hung up, before the last."""
    for piece in pieces:
        peer.send(piece)
        if peer.has_heard(pause):
            return True
    return False


def test_a_connection_that_is_idle(tmp_path: Path) -> None:
    """After a request it MUST be kept for keep_alive, and no longer: a proxy in front counts on it."""
    with Gateway(tmp_path, "memory:", settings={"MOORAGE_KEEP_ALIVE": "1s"}) as gateway, Peer(gateway.port) as peer:
        assert peer.ask("/livez").status == 200
        assert peer.ask("/livez").status == 200
        assert peer.is_closed()


def test_a_client_that_says_nothing(peer: Peer) -> None:
    """It MUST be hung up on after header_timeout, without a word: it asked for nothing."""
    began = monotonic()
    assert peer.is_closed()
    assert monotonic() - began >= 1.5


@pytest.mark.parametrize("head", [b"G", b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_stops(peer: Peer, head: bytes) -> None:
    """It MUST be answered with 408 in an error document, and the connection MUST end."""
    peer.send(head)
    _check_408(peer, "UNSUPPORTED")


def test_a_head_that_trickles(peer: Peer) -> None:
    """Bytes that keep coming MUST NOT lengthen header_timeout, which is for the whole head."""
    peer.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    assert _trickle(peer, repeat(b"x", 120))
    _check_408(peer, "UNSUPPORTED")


@pytest.mark.parametrize(("first", "piece"), [(b"GET /", b"x"), (b"", b"\r\n")])
def test_a_later_head_that_trickles(peer: Peer, first: bytes, piece: bytes) -> None:
    """The same MUST hold on a connection that has served before, for a head or for nothing but empty lines."""
    assert peer.ask("/v2/").status == 200
    peer.send(first)
    assert _trickle(peer, repeat(piece, 120))
    _check_408(peer, "UNSUPPORTED")


def test_a_connection_that_is_idle_between_requests(peer: Peer) -> None:
    """It MUST stay for longer than a head may take."""
    assert peer.ask("/v2/").status == 200
    sleep(3.5)
    assert peer.ask("/v2/").status == 200


# Names of their own, for that of the test that runs is in the environment, which has an end.
@pytest.mark.parametrize(
    ("method", "sent"),
    [("PATCH", b""), ("PUT", b"x" * 1000), ("PATCH", b"x" * 300_000)],
    ids=["nothing", "a little", "much"],
)
def test_a_body_that_stops(gateway: Gateway, peer: Peer, method: str, sent: bytes) -> None:
    """It MUST be answered with 408, nothing of it MUST count, and the upload MUST go on from where it was."""
    location = _session(gateway)
    peer.begin(method, f"{location}?digest={DIGEST}", 10**6)
    peer.send(sent)
    _check_408(peer, "BLOB_UPLOAD_INVALID")
    assert httpx.get(gateway.url + location, trust_env=False).headers["Range"] == "0-0"
    answer = httpx.patch(gateway.url + location, content=b"whole", trust_env=False)
    assert (answer.status_code, answer.headers["Range"]) == (202, "0-4")


def test_a_manifest_that_stops(peer: Peer) -> None:
    """The same MUST hold for a manifest."""
    peer.begin("PUT", "/v2/a/manifests/1", 1000)
    peer.send(b"{")
    _check_408(peer, "BLOB_UPLOAD_INVALID")


def test_a_body_that_trickles(gateway: Gateway, peer: Peer) -> None:
    """Bytes that keep coming, but fewer than min_rate, MUST be answered with 408 too."""
    peer.begin("PATCH", _session(gateway), 10**6)
    assert _trickle(peer, repeat(b"x", 120))
    _check_408(peer, "BLOB_UPLOAD_INVALID")


def test_a_body_that_comes_slowly_enough(gateway: Gateway, peer: Peer) -> None:
    """One that keeps min_rate MUST be taken, though all in all it lasts for several times body_timeout."""
    peer.begin("PATCH", _session(gateway), 16 * 32 * 1024)
    assert not _trickle(peer, repeat(b"x" * 32 * 1024, 15), pause=0.4)
    peer.send(b"x" * 32 * 1024)
    assert peer.answer().status == 202


def test_a_gateway_that_stood_still(tmp_path: Path) -> None:
    """Time in which the process did not run MUST NOT count against its clients."""
    settings = SETTINGS | {"MOORAGE_BODY_TIMEOUT": "5s"}
    with Gateway(tmp_path, "memory:", settings=settings) as gateway, Peer(gateway.port) as peer:
        peer.begin("PATCH", _session(gateway), 2000, "Expect: 100-continue")
        assert peer.answer().status == 100
        gateway.signal(signal.SIGSTOP)
        sleep(6)
        gateway.signal(signal.SIGCONT)
        sleep(1)
        peer.send(b"x" * 2000)
        assert peer.answer().status == 202


async def test_a_store_that_is_slow(minio_server: S3Server, proxy: Wire, tmp_path: Path) -> None:
    """A client whose body is not read, since the store takes no more of it, MUST NOT be blamed for that."""
    settings = {**SETTINGS, **minio_server.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint}
    gateway = Gateway(tmp_path, f"s3://{minio_server.bucket}/{tmp_path.name}", settings=settings)
    await asyncio.to_thread(gateway.start)
    try:
        proxy.flows.clear()
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=60) as http:
            push = asyncio.create_task(http.post(f"/v2/a/blobs/uploads/?digest={DIGEST}", content=CONTENT))
            await asyncio.sleep(6)
            assert not push.done()
            proxy.flows.set()
            assert (await push).status_code == 201
    finally:
        await asyncio.to_thread(gateway.kill)


def test_a_client_that_waits_to_be_told(gateway: Gateway, peer: Peer) -> None:
    """One that sends `Expect: 100-continue` is told to go on, and then MUST do so."""
    peer.begin("PATCH", _session(gateway), 1000, "Expect: 100-continue")
    assert peer.answer().status == 100
    _check_408(peer, "BLOB_UPLOAD_INVALID")


def test_a_body_after_its_answer(peer: Peer) -> None:
    """A client that is refused and sends on regardless MUST be hung up on in the end, at whatever rate it sends."""
    peer.begin("PATCH", "/v2/a/blobs/uploads/unknown", 10**12)
    assert peer.answer().status == 404
    assert _trickle(peer, repeat(b"x" * 100_000, 2000), pause=0.02)
    assert peer.is_closed()


@pytest.mark.parametrize("reads", [False, True])
def test_a_download_that_stalls_or_trickles(gateway: Gateway, peer: Peer, reads: bool) -> None:
    """The connection MUST be cut, and the store's file MUST be closed."""
    peer.begin("GET", f"/v2/a/blobs/{DIGEST}", 0)
    eventually(lambda: _open_blobs(gateway) > 0, "the blob is being read")

    def is_cut() -> bool:
        if reads:
            peer.receive(10)
        return not _open_blobs(gateway)

    eventually(is_cut, "the store's file is closed")
    received = sum(len(piece) for piece in iter(lambda: peer.receive(1024 * 1024), b""))
    assert received < len(CONTENT)


def test_a_download_that_stalls_before_another_request(gateway: Gateway, peer: Peer) -> None:
    """The request that is cut MUST be told so, and not the one that waits behind it: the log has the client's fault, and no fault of ours."""
    peer.begin("GET", f"/v2/a/blobs/{DIGEST}", 0, "X-Request-Id: stalls")
    peer.begin("GET", "/v2/", 0, "X-Request-Id: waits")
    eventually(lambda: '"request_id":"stalls"' in gateway.log.read_text(), "the request has ended")
    (line,) = (line for line in gateway.log.read_text().splitlines() if '"request_id":"stalls"' in line)
    assert '"status":499' in line
    assert '"request_id":"waits"' not in gateway.log.read_text()


def test_a_download_that_is_slow_enough(gateway: Gateway, peer: Peer) -> None:
    """A client that takes more than min_rate MUST get all of the blob, though it takes several times body_timeout."""
    peer.begin("GET", f"/v2/a/blobs/{DIGEST}", 0)
    began = monotonic()
    received = bytearray()
    while len(received.partition(b"\r\n\r\n")[2]) < len(CONTENT):
        received += peer.receive(512 * 1024)
        sleep(0.2 if monotonic() - began < 7 else 0)
    assert received.endswith(CONTENT)


def test_a_head_without_end(peer: Peer) -> None:
    """More than 64 KiB MUST be refused with 431, however fast they come."""
    peer.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
    for _ in range(80):
        peer.send(b"X-Large: " + b"x" * 1000 + b"\r\n")
    answer = peer.answer()
    assert (answer.status, answer.code, answer.headers["connection"]) == (431, "UNSUPPORTED", "close")


def test_a_long_head_that_ends(gateway: Gateway) -> None:
    """A head of more than 64 KiB MUST be refused, in one piece or two; one of less MUST be served, whatever follows it."""
    for size, status in ((100_000, 431), (50_000, 202)):
        for cut in (10, 40_000):
            with Peer(gateway.port) as peer:
                head = f"PATCH {_session(gateway)} HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\nX-Large: "
                request = head.encode() + b"x" * size + b"\r\n\r\n" + b"y" * 200_000
                peer.send(request[:cut])
                sleep(0.1)
                peer.send(request[cut:])
                assert peer.answer().status == status


def test_hundreds_of_slow_clients_hinder_nobody(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """With 100 connections that say nothing and 100 that stop in their head, others MUST be served as ever."""
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as gateway:
        peers = [Peer(gateway.port) for _ in range(200)]
        for slow in peers[:100]:
            slow.send(b"GET /v2/ HTTP/1.1\r\nHost: ")
        began = monotonic()
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as http:
            check_image(http, "a", push_image(http, "a", "1"))
        record_property("push and pull beside 200 slow connections", f"{monotonic() - began:.2f} s")
        for slow in peers:
            slow.close()


def _check_408(peer: Peer, code: str) -> None:
    answer = peer.answer()
    assert (answer.status, answer.code, answer.headers["connection"]) == (408, code, "close")
    assert peer.is_closed()


def _open_blobs(gateway: Gateway) -> int:
    """How many of the store's files the gateway has open."""
    return sum("/store/files/" in file.path for file in psutil.Process(gateway.pid).open_files())
