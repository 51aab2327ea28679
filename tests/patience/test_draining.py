"""How serving ends: by a drain, by a second signal, by the grace's end; and what becomes of workers that die."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from storage.objects.contract import ObjectStore
from storage.objects.opening import Opening, open_store
from tests.invariants import violations
from tests.load.images import Image, check_image, digest_of, push_image
from tests.parts.gateway import ROOT, Gateway
from tests.parts.servers import S3Server
from tests.patience.peer import Peer, eventually

CONTENT = os.urandom(20 * 1024 * 1024)
HALF = len(CONTENT) // 2


@dataclass
class Place:
    """A store, and a directory for the gateways that serve it one after another."""

    path: Path
    store: str
    environment: dict[str, str]
    workers: int = 1

    def gateway(self, **settings: str) -> Gateway:
        """A gateway, not started, with settings by their names."""
        named = {f"MOORAGE_{name.upper()}": value for name, value in settings.items()}
        scratch = self.path / "scratch"
        scratch.mkdir(exist_ok=True)
        environment = {**self.environment, "TMPDIR": str(scratch), **named}
        return Gateway(self.path / "gateway", self.store, settings=environment, workers=self.workers)

    def leftovers(self) -> list[Path]:
        """What gateways left in the scratch directory."""
        return list((self.path / "scratch").iterdir())


@pytest.fixture(params=["embedded-1", "embedded-2", pytest.param("minio-2", marks=pytest.mark.parts)])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty store, embedded or on MinIO, for one worker or two."""
    kind, workers = request.param.split("-")
    if kind == "embedded":
        return Place(tmp_path, f"file:{tmp_path}/store", {}, int(workers))
    server: S3Server = request.getfixturevalue("minio_server")
    bucket = server.create_bucket("drain-" + os.urandom(6).hex())
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return Place(tmp_path, f"s3://{bucket}", server.env, int(workers))


@pytest.fixture(params=[1, 2])
def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty embedded store, for one worker and for two."""
    return Place(tmp_path, f"file:{tmp_path}/store", {}, request.param)


@pytest.fixture
def pair(tmp_path: Path) -> Place:
    """An empty embedded store for two workers."""
    return Place(tmp_path, f"file:{tmp_path}/store", {}, 2)


def _http(gateway: Gateway) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, trust_env=False, timeout=60, follow_redirects=True)


def _push(gateway: Gateway, tag: str) -> Image:
    with _http(gateway) as http:
        return push_image(http, "a", tag)


@pytest.fixture
def peers() -> Iterator[ExitStack]:
    """What closes connections at a test's end."""
    with ExitStack() as stack:
        yield stack


def _uploading(gateway: Gateway, peers: ExitStack) -> Peer:
    """A client in the middle of a PATCH that the gateway reads."""
    with _http(gateway) as http:
        location = str(http.post("/v2/a/blobs/uploads/").headers["Location"])
    peer = peers.enter_context(Peer(gateway.port))
    peer.begin("PATCH", location, len(CONTENT), "Expect: 100-continue")
    assert peer.answer().status == 100
    peer.send(CONTENT[:HALF])
    return peer


def _is_refused(gateway: Gateway) -> bool:
    try:
        Peer(gateway.port).close()
    except ConnectionRefusedError:
        return True
    return False


def _turns_unready(gateway: Gateway) -> bool:
    with Peer(gateway.port) as peer:
        return peer.ask("/readyz").status == 503


def _check_turns_unready(peer: Peer) -> None:
    """On a connection that was there before; another worker may be a moment behind."""
    answer = peer.ask("/readyz")
    while answer.status == 200:
        answer = peer.ask("/readyz")
    assert (answer.status, answer.code, answer.headers["connection"]) == (503, "UNAVAILABLE", "close")
    assert int(answer.headers["retry-after"]) > 0


def test_a_drain(place: Place, peers: ExitStack) -> None:
    """After SIGTERM `/readyz` MUST be 503 first, on connections old and new, while all else is served.

    Then no connection is taken, the upload under way MUST finish, and the status be 0. All that was acknowledged MUST be there
    afterwards.
    """
    with place.gateway(drain_delay="5s") as gateway:
        image = _push(gateway, "1")
        kept = [peers.enter_context(Peer(gateway.port)) for _ in range(6)]
        assert [peer.ask("/readyz").status for peer in kept] == [200] * 6
        uploader = _uploading(gateway, peers)
        gateway.signal(signal.SIGTERM)
        eventually(lambda: _turns_unready(gateway), "/readyz says that the gateway ends")
        for peer in kept[:5]:
            _check_turns_unready(peer)
        with Peer(gateway.port) as peer:
            assert peer.ask("/livez").status == 200
        image_2 = _push(gateway, "2")
        eventually(lambda: _is_refused(gateway), "no connection is taken any more")
        assert kept[5].is_closed()
        uploader.send(CONTENT[HALF:])
        answer = uploader.answer()
        assert (answer.status, answer.headers["connection"]) == (202, "close")
        assert gateway.wait() == 0
        assert '"exception"' not in gateway.log.read_text()
    assert place.leftovers() == []
    with place.gateway() as gateway, _http(gateway) as http:
        check_image(http, "a", image)
        check_image(http, "a", image_2)
        digest = digest_of(CONTENT)
        assert http.put(answer.headers["location"], params={"digest": digest}).status_code == 201
        assert http.get(f"/v2/a/blobs/{digest}").content == CONTENT


async def test_a_second_signal(place: Place, peers: ExitStack) -> None:
    """It MUST end the gateway at once, with an upload under way, by a status that says so; nothing acknowledged MUST be lost."""
    with place.gateway(drain_delay="60s", shutdown_grace="60s") as gateway:
        images = [_push(gateway, tag) for tag in ("1", "2")]
        uploader = _uploading(gateway, peers)
        gateway.signal(signal.SIGTERM)
        eventually(lambda: _turns_unready(gateway), "/readyz says that the gateway ends")
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(20) == 128 + signal.SIGTERM
        took = time.monotonic() - began
        assert uploader.answer().status == 0
    assert took < 10  # of 120; a second, on a machine that is not busy
    assert place.leftovers() == []
    with place.gateway() as gateway, _http(gateway) as http:
        for image in images:
            check_image(http, "a", image)
    assert await _violations(place) == []


async def test_the_end_of_the_grace(place: Place, peers: ExitStack) -> None:
    """An upload that does not finish within shutdown_grace MUST be cut, leave nothing in the store, and the status be 0."""
    with place.gateway(shutdown_grace="1s") as gateway:
        uploader = _uploading(gateway, peers)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait() == 0
        assert uploader.answer().status == 0
    assert place.leftovers() == []
    async with _store(place) as store:
        assert [upload async for upload in store.list_incomplete_uploads()] == []
        assert [info.key async for info in store.list("data/")] == []


def test_a_client_that_stalls_in_a_drain(embedded: Place, peers: ExitStack) -> None:
    """It MUST be answered after body_timeout as ever, and hold up the end for no longer."""
    with embedded.gateway(body_timeout="2s", shutdown_grace="90s") as gateway:
        uploader = _uploading(gateway, peers)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait(60) == 0
        assert uploader.answer().status == 408


def test_ctrl_c(embedded: Place, peers: ExitStack) -> None:
    """SIGINT to all processes of a terminal MUST drain without the delay, and end with status 0."""
    with embedded.gateway(drain_delay="90s") as gateway:
        _push(gateway, "1")
        idle = peers.enter_context(Peer(gateway.port))
        assert idle.ask("/v2/").status == 200
        os.killpg(gateway.pid, signal.SIGINT)
        assert gateway.wait() == 0
        assert idle.is_closed()
        assert '"exception"' not in gateway.log.read_text()
    assert embedded.leftovers() == []


def test_ctrl_c_waits_for_every_worker(pair: Place) -> None:
    """SIGINT MUST be blocked in each worker until it can heed it: before that it would end in a traceback."""
    gateway, seen = pair.gateway(), set[int]()
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(gateway.start)
        while not started.done():
            seen |= _heedless(gateway)
            time.sleep(0.001)
        started.result()
    assert seen == {worker.pid for worker in _workers(gateway)}
    assert gateway.stop() == 0


def _heedless(gateway: Gateway) -> set[int]:
    """The workers that block SIGINT now."""
    found = set()
    with suppress(AssertionError, psutil.Error, OSError):  # not started yet, or already something else
        for worker in _workers(gateway):
            blocked = re.search(
                r"^SigBlk:\s*([0-9a-f]+)$", Path(f"/proc/{worker.pid}/status").read_text(), re.MULTILINE
            )
            if blocked and int(blocked[1], 16) & 1 << (signal.SIGINT - 1):
                found.add(worker.pid)
    return found


def test_a_worker_that_dies(pair: Place) -> None:
    """Another MUST take its place, whether it was killed or told to end, and the rest go on."""
    with pair.gateway() as gateway:
        image = _push(gateway, "1")
        before = _workers(gateway)
        assert len(before) == 2
        for victim, end in zip(before, (signal.SIGKILL, signal.SIGTERM), strict=True):
            victim.send_signal(end)
            victim.wait(60)
            with _http(gateway) as http:
                eventually(lambda: _serves(http, image), "the image is served")
        eventually(lambda: len(_workers(gateway)) == 2, "there are two workers again")
        assert not set(before) & set(_workers(gateway))
        assert gateway.stop() == 0


def test_a_worker_that_cannot_start(pair: Place) -> None:
    """It MUST stop them all with status 1, rather than be tried again and again."""
    with pair.gateway() as gateway:
        store = pair.path / "store"
        store.rename(pair.path / "elsewhere")
        store.write_text("no directory")
        _workers(gateway)[0].kill()
        assert gateway.wait() == 1
    assert pair.leftovers() == []


def test_a_gateway_that_cannot_start(tmp_path: Path) -> None:
    """One without workers that cannot open its store any more MUST NOT end with status 0, or a supervisor would leave it at that."""
    (tmp_path / "store").write_text("no directory")
    script = """
import socket, sys; from pathlib import Path; from gateway.options import Given; from gateway.serving import serve_alone
given = Given({"store": sys.argv[1]}); given.hand_down()
sys.exit(serve_alone(given.settings(), [socket.create_server(("127.0.0.1", 0))], Path(sys.argv[2])))
"""
    command = [sys.executable, "-c", script, f"file:{tmp_path}/store", str(tmp_path / "scratch")]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode > 0


def test_workers_without_a_parent(pair: Place) -> None:
    """They MUST end, for nobody could end them: the port is free again."""
    with pair.gateway() as gateway:
        workers = _workers(gateway)
        os.kill(gateway.pid, signal.SIGKILL)
        eventually(lambda: not any(worker.is_running() for worker in workers), "the workers are gone")
        assert _is_refused(gateway)
        gateway.kill()


def _serves(http: httpx.Client, image: Image) -> bool:
    try:
        check_image(http, "a", image)
    except httpx.TransportError:
        return False
    return True


def _workers(gateway: Gateway) -> list[psutil.Process]:
    """The processes that serve; multiprocessing has one more, which keeps its books."""
    return [
        process for process in psutil.Process(gateway.pid).children() if "spawn_main" in " ".join(_command(process))
    ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return []


@asynccontextmanager
async def _store(place: Place) -> AsyncGenerator[ObjectStore]:
    store = await open_store(place.store, Opening(time.time, lambda: os.urandom(8).hex()))
    try:
        yield store
    finally:
        await store.close()


async def _violations(place: Place) -> list[str]:
    async with _store(place) as store:
        return await violations(store)
