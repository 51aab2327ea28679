"""Metrics: right with several workers, bounded in number, where they should be, and never in the way of a request."""

import asyncio
import hashlib
import os
import re
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from gateway.app import create_app
from gateway.exposure import Exposure
from gateway.listening import listening
from gateway.settings import SettingError, Settings
from gateway.values import NOWHERE, Address
from gateway.wrapping import Watch
from storage.objects.memory import MemoryStore
from storage.registry import Registry, Rules, open_registry
from storage.views import Epoch
from tests.gateway.scrapes import Scrape, differences, scrape
from tests.load.images import digest_of, push_image
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server, free_ports
from tests.parts.tools import tool
from tests.patience.peer import Peer, eventually
from tests.protocol.serving import Clock, Nonces

pytestmark = pytest.mark.xdist_group("metrics")

ROOT = Path(__file__).parents[2]
MANIFESTS = "/v2/{name}/manifests/{reference}"
BLOBS = "/v2/{name}/blobs/{digest}"
UPLOADS = "/v2/{name}/blobs/uploads/"
UPLOAD = "/v2/{name}/blobs/uploads/{session}"
ROUTES = {
    "/livez", "/readyz", "/metrics", "/v2/", "/v2", "/v2/_catalog", "/v2/{name}/tags/list",
    "/v2/{name}/referrers/{digest}", MANIFESTS, UPLOAD, UPLOADS, BLOBS, "other",
}  # fmt: skip
CLIENTS = 6


@pytest.fixture(scope="session")
def promlint() -> Path:
    """Prometheus's linter of metrics."""
    return tool("promlint")


@pytest.fixture(params=["embedded-1", "embedded-2", pytest.param("minio-2", marks=pytest.mark.parts)])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with one worker and with two, on the embedded store and on MinIO."""
    kind, workers = request.param.split("-")
    store, settings = f"file:{tmp_path}/store", {"MOORAGE_BLOB_DELIVERY": "proxy"}
    if kind == "minio":
        server: S3Server = request.getfixturevalue("minio_server")
        store, settings = f"s3://{server.bucket}/{tmp_path.name}-metrics", settings | server.env
    with Gateway(tmp_path / "gateway", store, settings=settings, workers=int(workers)) as running:
        yield running


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of two workers."""
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store", workers=2) as running:
        yield running


def _clients(gateway: Gateway, stack: ExitStack, number: int = CLIENTS) -> list[httpx.Client]:
    """Clients with a connection each, which the kernel spreads over the workers."""
    return [stack.enter_context(httpx.Client(base_url=gateway.url, trust_env=False, timeout=60)) for _ in range(number)]


def _settled(gateway: Gateway, requests: float) -> Scrape:
    """A scrape that has so many requests to the protocol: a client has its answer a moment before it is counted."""
    found: list[Scrape] = []

    def counted() -> bool:
        found.append(scrape(gateway.url))
        return _protocol_requests(found[-1]) >= requests

    eventually(counted, f"{requests} requests are counted")
    return found[-1]


def _protocol_requests(found: Scrape) -> float:
    return sum(found.total("moorage_http_requests_total", route=route) for route in ROUTES if route.startswith("/v2"))


def test_a_run_whose_counts_are_known(gateway: Gateway) -> None:
    """Every request MUST be counted once, by route, method and status, with its bytes, whichever workers served it.

    Every worker MUST report the same sums.
    """
    rounds = 5
    with ExitStack() as stack:
        clients = _clients(gateway, stack)
        image = push_image(clients[0], "team/app", "v1")
        document = clients[0].get("/v2/team/app/manifests/v1").content
        for number in range(rounds * CLIENTS):
            client = clients[number % CLIENTS]
            assert client.head(f"/v2/team/app/blobs/{image.blobs[1]}").status_code == 200
            assert len(client.get(f"/v2/team/app/blobs/{image.blobs[1]}").content) == 3_000
            assert client.get(f"/v2/x{number}/manifests/v{number}").status_code == 404
            assert client.request("BREW", f"/coffee/{number}").status_code in {400, 404, 405}
    refused = scrape(gateway.url).total("moorage_http_refused_total")
    count = rounds * CLIENTS
    found = _settled(gateway, 10 + 1 + 3 * count)

    def requests(route: str, method: str, status: int) -> float:
        return found.value("moorage_http_requests_total", route=route, method=method, status=str(status))

    assert requests(UPLOADS, "POST", 202) == 3
    assert requests(UPLOAD, "PATCH", 202) == 3
    assert requests(UPLOAD, "PUT", 201) == 3
    assert requests(MANIFESTS, "PUT", 201) == 1
    assert requests(MANIFESTS, "GET", 200) == 1
    assert requests(MANIFESTS, "GET", 404) == count
    assert requests(BLOBS, "HEAD", 200) == count
    assert requests(BLOBS, "GET", 200) == count
    assert requests("other", "other", 404) + requests("other", "other", 405) + refused == count
    assert _protocol_requests(found) == 10 + 1 + 3 * count
    assert found.value("moorage_http_request_duration_seconds_count", route=BLOBS, method="GET") == count
    assert found.value("moorage_http_received_bytes_total", route=UPLOAD, method="PATCH") == 203_200
    assert found.value("moorage_http_received_bytes_total", route=MANIFESTS, method="PUT") == len(document)
    assert found.value("moorage_http_sent_bytes_total", route=BLOBS, method="GET") == 3_000 * count
    assert found.value("moorage_http_sent_bytes_total", route=BLOBS, method="HEAD") == 0
    assert found.total("moorage_http_requests_in_flight") == found.total("moorage_open_uploads") == 0
    assert found.total("moorage_store_requests_total", operation="put_stream") == 3
    assert found.total("moorage_store_operation_duration_seconds_count", operation="put_stream") == 3
    assert found.total("moorage_store_errors_total") == found.total("moorage_store_retries_total") == 0
    again = [scrape(gateway.url) for _ in range(8)]
    assert {_protocol_requests(each) for each in again} == {_protocol_requests(found)}


def test_what_the_cache_and_the_store_are_asked(tmp_path: Path) -> None:
    """A warm HEAD MUST count as a hit and ask the store nothing; a HEAD of what is missing as a miss, and one GET."""
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as gateway, ExitStack() as stack:
        client = _clients(gateway, stack, 1)[0]
        image = push_image(client, "a", "1")
        before = _settled(gateway, 10)
        for _ in range(7):
            assert client.head(f"/v2/a/blobs/{image.blobs[0]}").status_code == 200
        warm = _settled(gateway, 17)
        assert client.head(f"/v2/a/blobs/{digest_of(b'missing')}").status_code == 404
        cold = _settled(gateway, 18)

        def grown(name: str, start: Scrape, end: Scrape) -> float:
            return end.total(name) - start.total(name)

        assert grown("moorage_cache_hits_total", before, warm) == 7
        assert grown("moorage_cache_misses_total", before, warm) == 0
        assert grown("moorage_store_requests_total", before, warm) == 0
        assert grown("moorage_cache_misses_total", warm, cold) == 1
        assert grown("moorage_store_requests_total", warm, cold) == 1
        assert grown("moorage_store_errors_total", warm, cold) == 0
        # Not even of an error, whose document only GET has.
        assert cold.value("moorage_http_sent_bytes_total", route=BLOBS, method="HEAD") == 0


def test_a_worker_that_dies(pair: Gateway) -> None:
    """Nothing that was counted MUST be lost with a worker, its CPU time neither; what it had under way MUST be."""
    with ExitStack() as stack:
        clients = _clients(pair, stack, 12)
        for client in clients:
            assert client.get("/v2/").status_code == 200
        peers = [stack.enter_context(Peer(pair.port)) for _ in range(6)]
        for peer in peers:
            location = clients[0].post("/v2/a/blobs/uploads/").headers["Location"]
            peer.begin("PATCH", location, 1_000_000)
            peer.send(b"x" * 1000)
        eventually(lambda: scrape(pair.url).total("moorage_open_uploads") == 6, "6 uploads are open")
        before = _settled(pair, 12 + 6)
        workers = _workers(pair)
        for victim in workers:
            victim.kill()
            victim.wait(60)
        eventually(lambda: len(set(_workers(pair)) - set(workers)) == 2, "there are two other workers")
    eventually(lambda: _serves(pair), "they serve")
    assert list(differences(before.counters(), scrape(pair.url).counters())) == []
    eventually(lambda: _busy(scrape(pair.url)) == 0, "nothing is under way")
    after = scrape(pair.url)
    with httpx.Client(base_url=pair.url, trust_env=False, timeout=60) as client:
        for _ in range(5):
            assert client.get("/v2/").status_code == 200
    final = _settled(pair, _protocol_requests(after) + 5)
    assert _protocol_requests(final) == _protocol_requests(after) + 5


def _busy(found: Scrape) -> float:
    return found.total("moorage_open_uploads") + found.total("moorage_http_requests_in_flight")


def _serves(gateway: Gateway) -> bool:
    try:
        return httpx.get(f"{gateway.url}/livez", trust_env=False, timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def _workers(gateway: Gateway) -> list[psutil.Process]:
    found = []
    for process in psutil.Process(gateway.pid).children():
        try:
            if "spawn_main" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_process_metrics(pair: Gateway) -> None:
    """They MUST be sums over the parent and its workers, as psutil sees them."""
    found = scrape(pair.url)
    parent = psutil.Process(pair.pid)
    family = [parent, *parent.children()]
    resident = sum(process.memory_info().rss for process in family)
    assert 0.5 * resident < found.value("process_resident_memory_bytes") < 2 * resident
    assert len(family) * 3 < found.value("process_open_fds") < found.value("process_max_fds")
    assert abs(found.value("process_start_time_seconds") - parent.create_time()) < 5
    assert 0 < found.value("process_cpu_seconds_total") <= sum(sum(each.cpu_times()[:2]) for each in family) + 1


def test_names_are_as_prometheus_wants_them(gateway: Gateway, promlint: Path) -> None:
    """Promlint MUST have nothing against a scrape of a gateway that has seen everything."""
    text = _everything(gateway).text
    judged = subprocess.run([promlint], input=text, capture_output=True, text=True, check=False)
    assert (judged.returncode, judged.stdout, judged.stderr) == (0, "", "")
    bad = text.replace("moorage_http_sent_bytes_total", "moorage_http_sent_kilobytes")
    assert subprocess.run([promlint], input=bad, capture_output=True, text=True, check=False).returncode == 1


def test_every_metric_is_documented(tmp_path: Path) -> None:
    """docs/observability.md MUST have a row for each metric of a real scrape, with its type, labels and text, and no other row."""
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as gateway:
        found = _everything(gateway)
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+) \|([^|]*)\| ([^|]+) \|", (ROOT / "docs" / "observability.md").read_text(), re.MULTILINE
    )
    documented = {name: (kind, text) for name, kind, _, text in rows}
    # What a gateway that is well never shows.
    unseen = {"moorage_store_errors_total": "counter", "moorage_store_retries_total": "counter"}
    assert {name: kind for name, (kind, _) in documented.items()} == {**found.types, **unseen}
    assert {name: documented[name][1] for name in found.texts} == found.texts
    for name, _, labels, _ in rows:
        shown = {
            label
            for sample, having in found.values
            for label, _ in having
            if sample in {name, f"{name}_bucket"} and label != "le"
        }
        assert name in unseen or shown == set(re.findall(r"`(\w+)`", labels)), name


def _everything(gateway: Gateway) -> Scrape:
    """A scrape once each instrument that a gateway which is well has was used."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as client, Peer(gateway.port) as peer:
        image = push_image(client, "a", "1")
        assert client.get(f"/v2/a/blobs/{image.blobs[0]}").status_code == 200
        peer.send(b"nonsense\r\n\r\n")
        assert peer.answer().status == 400
    return _settled(gateway, 11)


def test_cardinality_is_bounded(tmp_path: Path) -> None:
    """Whatever clients ask for, labels MUST have values of a small, known set."""
    with (
        Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as client,
    ):
        for number in range(30):
            for path in (f"/x/{number}", f"/v2/n{number}/blobs/d{number}", f"/v2/n{number}/blobs/uploads/{number}"):
                for method in ("GET", "DELETE", "PROPFIND", "MKCOL"):
                    client.request(method, path, headers={"X-Request-Id": str(number)})
        found = _settled(gateway, 30 * 8)
    assert found.label_values("route") <= ROUTES
    assert found.label_values("method") <= {"GET", "HEAD", "DELETE", "other"}
    assert found.label_values("status") <= {"200", "400", "404", "405"}


def test_a_client_that_goes_away(tmp_path: Path) -> None:
    """A pull or push that its client gives up MUST count as 499, with the bytes that passed; an open upload MUST be counted meanwhile."""
    size = 32 * 1024 * 1024
    settings = {"MOORAGE_BODY_TIMEOUT": "1h"}
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store", settings=settings) as gateway:
        content = os.urandom(size)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        with httpx.Client(base_url=gateway.url, trust_env=False, timeout=60) as client:
            pushed = client.post("/v2/a/blobs/uploads/", params={"digest": digest}, content=content)
            assert pushed.status_code == 201
            location = client.post("/v2/a/blobs/uploads/").headers["Location"]
        with Peer(gateway.port) as peer:
            peer.begin("GET", f"/v2/a/blobs/{digest}", 0)
            received = 0
            while received < 100_000:
                received += len(peer.receive(1000))
            eventually(
                lambda: _passed(gateway, "sent", BLOBS, "GET") > received, "the pull is measured while it goes on"
            )
        with Peer(gateway.port) as peer:
            peer.begin("PATCH", location, size)
            peer.send(content[: size // 2])
            eventually(lambda: scrape(gateway.url).total("moorage_open_uploads") == 1, "the upload is open")
            eventually(lambda: _passed(gateway, "received", UPLOAD, "PATCH") > 1_000_000, "the push is measured too")
        found = _settled(gateway, 4)
    assert found.value("moorage_http_requests_total", route=BLOBS, method="GET", status="499") == 1
    assert found.value("moorage_http_requests_total", route=UPLOAD, method="PATCH", status="499") == 1
    assert 0 < found.value("moorage_http_sent_bytes_total", route=BLOBS, method="GET") < size
    assert 0 < found.value("moorage_http_received_bytes_total", route=UPLOAD, method="PATCH") <= size // 2
    assert found.total("moorage_open_uploads") == found.total("moorage_http_requests_in_flight") == 0


def _passed(gateway: Gateway, way: str, route: str, method: str) -> float:
    return scrape(gateway.url).value(f"moorage_http_{way}_bytes_total", route=route, method=method)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_listener_of_their_own(tmp_path: Path, workers: int) -> None:
    """With metrics_listen, that address MUST serve metrics and nothing else, and `listen` none."""
    with free_ports(1) as (port,):
        address = f"127.0.0.1:{port}"
    settings = {"MOORAGE_METRICS_LISTEN": address}
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store", settings=settings, workers=workers) as gateway:
        assert scrape(f"http://{address}").total("moorage_build_info") == 1
        answers = [
            httpx.get(url, trust_env=False, timeout=60)
            for url in (f"{gateway.url}/metrics", f"http://{address}/v2/", f"http://{address}/livez")
        ]
        assert [answer.status_code for answer in answers] == [404] * 3
        assert [answer.json()["errors"][0]["code"] for answer in answers] == ["NAME_UNKNOWN"] * 3
        assert gateway.stop() == 0


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_proxy_on_this_machine(tmp_path: Path, header: str) -> None:
    """Who comes through a proxy MUST find no metrics, unless it was said where they are."""
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as gateway:
        gateway.settings |= {"MOORAGE_METRICS_LISTEN": gateway.host}  # of the next start
        url, headers = f"{gateway.url}/metrics", {header: "192.0.2.7"}
        assert httpx.get(url, headers=headers, trust_env=False, timeout=60).status_code == 404
        assert httpx.get(url, trust_env=False, timeout=60).status_code == 200
        assert gateway.stop() == 0
        with gateway:
            assert httpx.get(url, headers=headers, trust_env=False, timeout=60).status_code == 200


def test_where_metrics_are_served() -> None:
    """Unless told otherwise, to this machine alone; and a bad address is a sentence that names it."""

    def exposure(listen: str, metrics: str | None = None) -> tuple[int, Exposure]:
        own = Address.parse(metrics) if metrics else NOWHERE
        listeners, found = listening(Settings(listen=Address.parse(listen), metrics_listen=own))
        port = listeners[0].getsockname()[1]
        for listener in listeners:
            listener.close()
        return port, found

    port, found = exposure("127.0.0.1:0")
    assert found == Exposure(port, near=True)
    port, found = exposure("localhost:0")
    assert found == Exposure(port, near=True)
    assert exposure("0.0.0.0:0")[1] == Exposure()
    with free_ports(1) as (free,):
        pass
    assert exposure(f"0.0.0.0:{free}", f"0.0.0.0:{free}") == (free, Exposure(free))
    assert exposure("0.0.0.0:0", f"127.0.0.1:{free}")[1] == Exposure(free, alone=True)
    with pytest.raises(
        SettingError, match=r"--metrics-listen: 127\.0\.0\.1:\d+ needs another port than --listen 0\.0\.0\.0"
    ):
        exposure(f"0.0.0.0:{free}", f"127.0.0.1:{free}")
    with (
        free_ports(1) as (taken,),
        pytest.raises(
            SettingError, match=f"--metrics-listen: cannot listen on 127.0.0.1:{taken}: Address already in use"
        ),
    ):
        exposure("127.0.0.1:0", f"127.0.0.1:{taken}")


async def test_a_scrape_never_blocks_a_request() -> None:
    """While metrics are read, however long that takes, requests MUST be served; any number of scrapes MUST cost two readings at most."""
    readings, begun, goes_on = 0, asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def read() -> bytes:
        nonlocal readings
        readings += 1
        loop.call_soon_threadsafe(begun.set)
        assert goes_on.wait(60)
        return b"moorage 1\n"

    clock = Clock()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Registry]:
        yield await open_registry(MemoryStore(clock), clock=clock, nonce=Nonces(), epoch=Epoch(), rules=Rules())

    app = create_app(
        opened,
        clock=clock,
        redirect=False,
        watch=Watch(exposure=Exposure(5000)),
        read_metrics=read,
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway:5000") as client,
    ):
        first = asyncio.create_task(client.get("/metrics"))
        await begun.wait()
        rest = [asyncio.create_task(client.get("/metrics")) for _ in range(20)]
        for _ in range(50):
            assert (await client.get("/v2/")).status_code == 200
        assert not first.done()
        assert readings == 1
        goes_on.set()
        answers = await asyncio.gather(first, *rest)
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "moorage 1\n")}
    assert readings == 2
