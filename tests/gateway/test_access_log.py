"""The access log and request ids: true, on one line each, and free of secrets."""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import httpx
import pytest
import structlog

from gateway.access import Access, AccessLog, request_id
from gateway.logs import configure, configure_by, escaped, without_credentials
from gateway.settings import Settings
from storage import layout
from storage.objects.opening import Opening, open_store
from tests.gateway.scrapes import scrape
from tests.load.images import digest_of, push_image
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.parts.wire import Wire, status, wire
from tests.patience.peer import Peer, eventually

pytestmark = pytest.mark.xdist_group("metrics")

ESCAPE = "\x1b"
SCOPE = {"path": "/v2/a/tags/list", "raw_path": b"/v2/a/tags/list", "method": "GET", "client": ("::1", 1)}
FIELDS = [
    "timestamp", "level", "event", "client", "user", "method", "path", "status", "received", "sent", "seconds", "request_id",
]  # fmt: skip


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway on the embedded store; what it logs is no terminal, so it is JSON."""
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as running:
        yield running


def _client(gateway: Gateway, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, trust_env=False, timeout=60, headers=headers)


def _events(gateway: Gateway, event: str = "request") -> list[dict[str, Any]]:
    """The lines of JSON so far of that event."""
    lines = [line for line in gateway.log.read_text().splitlines() if line.startswith("{")]
    return [found for found in map(json.loads, lines) if found["event"] == event]


def _logged(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    """The lines of so many requests, a moment after they were answered."""
    eventually(lambda: len(_events(gateway)) >= count, f"{count} requests are logged")
    found = _events(gateway)
    assert len(found) == count, found
    return found


def test_a_line_for_each_request(gateway: Gateway) -> None:
    """It MUST say who asked what, how it went, and how much passed; and have the id that the client was told.

    Whom a client says that it speaks for MUST NOT count: else nobody would be held to max_requests_per_client.
    """
    content = b"x" * 5000
    with _client(gateway) as client:
        begun = client.post("/v2/team/app/blobs/uploads/")
        pushed = client.put(begun.headers["Location"], params={"digest": digest_of(content)}, content=content)
        pulled = client.get(
            f"/v2/team/app/blobs/{digest_of(content)}?x=y",
            headers={"X-Request-Id": "of-mine.1", "X-Forwarded-For": "10.0.0.1"},
        )
        missing = client.get("/v2/team/app/manifests/none")
    lines = _logged(gateway, 4)
    answers = [begun, pushed, pulled, missing]
    assert [line["request_id"] for line in lines] == [answer.headers["X-Request-Id"] for answer in answers]
    assert len({line["request_id"] for line in lines}) == 4
    assert pulled.headers["X-Request-Id"] == "of-mine.1"
    assert [list(line) for line in lines] == [FIELDS] * 4
    assert [(line["method"], line["status"], line["received"], line["sent"]) for line in lines] == [
        ("POST", 202, 0, 0),
        ("PUT", 201, 5000, 0),
        ("GET", 200, 0, 5000),
        ("GET", 404, 0, len(missing.content)),
    ]
    assert [line["path"] for line in lines] == [
        "/v2/team/app/blobs/uploads/",
        "/v2/team/app/blobs/uploads/{session}",
        f"/v2/team/app/blobs/{digest_of(content)}",
        "/v2/team/app/manifests/none",
    ]
    assert all((line["client"], line["user"], line["level"]) == ("127.0.0.1", None, "info") for line in lines)
    assert all(0 < line["seconds"] < 60 for line in lines)


def test_health_checks_and_scrapes_are_no_news(gateway: Gateway) -> None:
    """What went well of them MUST NOT be logged, though it has an id."""
    with _client(gateway) as client:
        for path in ("/livez", "/readyz", "/metrics"):
            assert client.get(path).headers["X-Request-Id"]
        assert client.post("/metrics").status_code == 405
    assert [(line["path"], line["status"]) for line in _logged(gateway, 1)] == [("/metrics", 405)]


def test_an_answer_has_one_id(gateway: Gateway) -> None:
    """An answer that is the same for all, as to a hidden slash, MUST NOT collect the headers of those before it."""
    with _client(gateway) as client:
        answers = [client.get("/v2/a%2Fb/manifests/1", headers={"X-Request-Id": str(number)}) for number in range(3)]
    assert [answer.headers.get_list("X-Request-Id") for answer in answers] == [["0"], ["1"], ["2"]]


def test_a_line_for_what_is_no_request(gateway: Gateway) -> None:
    """What is refused before it is one MUST have an id too, in its answer and in a line that says who was told what."""
    sent = [
        b"nonsense\r\n\r\n",
        b"GET /%s HTTP/1.1\r\n" % (b"x" * 70_000),
        b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * 70_000),
    ]
    answers = []
    for data in sent:
        with Peer(gateway.port) as peer:
            peer.send(data)
            answers.append(peer.answer())
    lines = _events(gateway, "refused")
    assert [(line["client"], line["status"]) for line in lines] == [("127.0.0.1", each) for each in (400, 431, 431)]
    assert [line["request_id"] for line in lines] == [answer.headers["x-request-id"] for answer in answers]
    assert len({line["request_id"] for line in lines}) == len(sent)


def test_the_access_log_can_be_off(tmp_path: Path) -> None:
    """Without it nothing MUST be logged of a request that went well."""
    settings = {"MOORAGE_ACCESS_LOG": "false"}
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store", settings=settings) as gateway:
        with _client(gateway) as client:
            push_image(client, "a", "1")
        with Peer(gateway.port) as peer:
            peer.send(b"nonsense\r\n\r\n")
            assert peer.answer().status == 400
        assert gateway.stop() == 0
        assert _events(gateway) == _events(gateway, "refused") == []


def test_a_client_that_goes_away(gateway: Gateway) -> None:
    """Its line MUST say 499, and how much of the body came."""
    with _client(gateway) as client:
        location = client.post("/v2/a/blobs/uploads/").headers["Location"]
    with Peer(gateway.port) as peer:
        peer.begin("PATCH", location, 1_000_000)
        peer.send(b"x" * 70_000)
        eventually(lambda: scrape(gateway.url).total("moorage_open_uploads") == 1, "the upload is open")
    line = _logged(gateway, 2)[1]
    assert (line["method"], line["status"]) == ("PATCH", 499)
    assert 0 < line["received"] <= 70_000


def test_an_answer_that_is_cut(gateway: Gateway) -> None:
    """A blob that turns out to be damaged on its way MUST be a line of status 500 and no request under way, whatever its head had said."""
    content = b"x" * 3_000_000
    with _client(gateway) as client:
        client.post("/v2/a/blobs/uploads/", params={"digest": digest_of(content)}, content=content)
        [file] = [path for path in (gateway.directory.parent / "store/files").rglob("*") if path.is_file()]
        file.write_bytes(content[:-1] + b"y")
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"/v2/a/blobs/{digest_of(content)}", headers={"X-Request-Id": "cut"})
    line = _logged(gateway, 2)[1]
    assert (line["method"], line["status"], line["request_id"]) == ("GET", 500, "cut")
    assert [told["request_id"] for told in _events(gateway, "blob cut short")] == ["cut"]
    assert scrape(gateway.url).total("moorage_http_requests_in_flight") == 0


def test_ids_of_two_processes(tmp_path: Path) -> None:
    """The ids that gateways make up MUST differ, or their lines could not be told apart where logs are gathered."""
    told = set()
    for name in ("one", "other"):
        with Gateway(tmp_path / name, f"file:{tmp_path}/store") as gateway, _client(gateway) as client:
            told |= {client.get("/livez").headers["X-Request-Id"] for _ in range(20)}
    assert len(told) == 40


@pytest.mark.parametrize(
    "sent", ["", "a b", "x" * 129, "a\tb", "ü", "a\x7fb", "a%0ab;", '"}', "<script>", "a,b", f"{ESCAPE}[31m"]
)
def test_an_id_that_is_no_token(sent: str) -> None:
    """It MUST be replaced, not mended; one that is fit MUST be taken as it is."""
    headers = [(b"host", b"x"), (b"x-request-id", sent.encode("latin-1"))]
    assert request_id(headers, lambda: "new") == "new"
    assert request_id([], lambda: "new") == "new"
    for fit in ("a", "x" * 128, "4bf92f35-77b3:4d/a3=+._"):
        assert request_id([(b"x-request-id", fit.encode())], lambda: "new") == fit


@pytest.mark.parametrize("style", ["json", "text"])
def test_nobody_writes_lines_of_his_own(tmp_path: Path, style: str) -> None:
    """Whatever a client sends, a request MUST be one line, of printable ASCII."""
    settings = {"MOORAGE_LOG_FORMAT": style}
    odd = [
        "%0a{%22event%22:%22request%22}",
        "%1b[2J%1b]0;x%07",
        "%e2%80%a8",
        "%7f",
        "%c2%85x",
        "%00",
        'a"b',
        "%ff%fe",
        "x" * 5000,
    ]
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store", settings=settings) as gateway:
        with _client(gateway) as client:
            for path in odd:
                client.get(f"/v2/{path}/manifests/1", headers={"X-Request-Id": 'a"b'})
                client.get(f"/{path}")
        eventually(lambda: "\n" in gateway.log.read_text() and len(_lines(gateway)) >= 2 * len(odd), "all are logged")
        assert gateway.stop() == 0
        lines = _lines(gateway)
        assert len(lines) == 2 * len(odd)
        assert all(line.isascii() and line.isprintable() and len(line) < 2000 for line in lines)


def _lines(gateway: Gateway) -> list[str]:
    """All lines of the log but those with which a gateway greets; split at line feeds alone."""
    text = gateway.log.read_bytes().decode()
    return [line for line in text.split("\n") if line and not line.startswith(("moorage listens", "  docker "))]


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test configures of logging is undone: no later one is to write to a standard error that is closed by then."""
    monkeypatch.setattr("gateway.access._log", structlog.get_logger())
    yield
    structlog.reset_defaults()
    logging.basicConfig(force=True)


@pytest.mark.usefixtures("unconfigured")
def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """A line of text MUST have the same fields, without colours where there is no terminal."""
    configure("text")
    log = AccessLog(lambda: 0.0, as_text=True)
    log(Access(SCOPE, "/v2/{name}/tags/list", "abc", 200, 0, 12, 0.25))
    written = capsys.readouterr().err
    assert "request" in written
    for field in ("client=::1", "path=/v2/a/tags/list", "status=200", "sent=12", "seconds=0.25", "request_id=abc"):
        assert field in written
    assert ESCAPE not in written


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize("style", ["json", "text"])
def test_what_libraries_log(style: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It MUST come out as our own lines do: with its traceback but no variables, without secrets, and in characters that no terminal acts upon."""
    planted = {
        name: name + secrets.token_hex(12)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    }
    for name, secret in planted.items():
        monkeypatch.setenv(name, secret)
    configure_by(Settings(log_format="json" if style == "json" else "text"))
    said = f"{ESCAPE}[31m\u202e\x7f{' '.join(planted.values())}"

    def fail() -> NoReturn:
        local = "-".join(planted)
        raise ZeroDivisionError(f"{said} {len(local)}")

    try:
        fail()
    except ZeroDivisionError:
        logging.getLogger("some.library").exception("it says %s", said)
    logging.getLogger("some.library").info("no news")
    lines = capsys.readouterr().err.splitlines()
    assert all(line.isascii() and line.isprintable() for line in lines)
    written = "\n".join(lines)
    assert not [name for name, secret in planted.items() if secret in written]
    for words in ("some.library", "it says", "***", "ZeroDivisionError", "test_what_libraries_log"):
        assert words in written
    assert "-".join(planted) not in written
    assert "no news" not in written
    assert style == "text" or len(lines) == 1


@pytest.mark.usefixtures("unconfigured")
@pytest.mark.parametrize("style", ["json", "text"])
def test_lines_that_cannot_be_written(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They MUST be lost without an error, of requests, of ours and of libraries: a request that is logged is to be answered."""
    full = Path("/dev/full").open("w")  # noqa: SIM115 - to close it is an error
    monkeypatch.setattr("sys.stderr", full)
    configure(style)
    AccessLog(lambda: 0.0, as_text=style == "text")(Access(SCOPE, "/v2/{name}/tags/list", "abc", 200, 0, 12, 0.25))
    structlog.get_logger().error("store failed")
    logging.getLogger("uvicorn.error").error("no request")
    with pytest.raises(OSError, match="No space left on device"):
        full.close()


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("GET http://user:pass@host:9000/b?x=1", "GET http://***@host:9000/b?x=1"),
        ("at https://u:p@ss@h/k and http://h/k", "at https://***@h/k and http://h/k"),
        ("?X-Amz-Credential=AKIA%2F1&X-Amz-Signature=0af1&x=1", "?X-Amz-Credential=***&X-Amz-Signature=***&x=1"),
        ('"x-amz-security-token=IQoJ"', '"x-amz-security-token=***"'),
        ("AWSAccessKeyId=AKIA&Signature=a%2Fb", "AWSAccessKeyId=***&Signature=***"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
        ("BEARER eyJhbGciOi.J9-_x", "BEARER ***"),
        ("data/ab/0-cd: 503 SlowDown: Please", "data/ab/0-cd: 503 SlowDown: Please"),
    ],
)
def test_what_looks_like_a_credential(text: str, hidden: str) -> None:
    """It MUST be left out, and all else stay."""
    assert without_credentials(text) == hidden


def test_control_characters_are_escaped() -> None:
    """Text MUST come out as one line that no terminal acts upon."""
    assert escaped("plain ~ text") == "plain ~ text"
    assert escaped("a\nb\x1b[31m\u2028\u202e") == "a\\nb\\x1b[31m\\u2028\\u202e"


async def test_a_store_error_has_the_id_of_its_request(minio_server: S3Server, proxy: Wire, tmp_path: Path) -> None:
    """What the store failed MUST be found by the id that the client has; and retries and errors MUST be counted by operation."""
    settings = minio_server.env | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
    async with _beside(
        Gateway(tmp_path / "gateway", f"s3://{minio_server.bucket}/{tmp_path.name}", settings=settings)
    ) as (
        gateway,
        client,
    ):
        answers = [status(500, "InternalError"), status(500, "InternalError"), status(403, "AccessDenied")]
        proxy.instead = lambda exchange: answers.pop(0) if "/_tags/" in exchange.path else None
        answer = await client.get("/v2/a/manifests/1", headers={"X-Request-Id": "find-me"})
        assert answer.status_code == 503
        assert answer.headers["X-Request-Id"] == "find-me"
        failed = _events(gateway, "store failed")
        assert [line["request_id"] for line in failed] == ["find-me"]
        assert "403 AccessDenied" in failed[0]["error"]
        found = (await client.get("/metrics")).text
    assert 'moorage_store_errors_total{error="denied",operation="get"} 1.0' in found
    assert 'moorage_store_retries_total{operation="get"} 2.0' in found


@asynccontextmanager
async def _beside(gateway: Gateway) -> AsyncIterator[tuple[Gateway, httpx.AsyncClient]]:
    """A gateway that is started and ended beside this event loop, in which its way to the store runs."""
    await asyncio.to_thread(gateway.start)
    try:
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=90) as client:
            yield gateway, client
    finally:
        await asyncio.to_thread(gateway.kill)


SECRETS = {
    name: f"{name}{secrets.token_hex(12)}" for name in ("header", "query", "cookie", "user", "password", "path", "body")
}


@pytest.mark.parametrize("style", ["json", "text"])
async def test_no_secret_is_told(
    minio_server: S3Server, tmp_path: Path, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted secrets, those of the store, presigned URLs and sessions' tokens MUST be in no line and no metric, whatever fails."""
    for name, value in minio_server.env.items():
        monkeypatch.setenv(name, value)
    store = f"s3://{minio_server.bucket}/{tmp_path.name}-{style}"
    async with wire(minio_server.endpoint) as proxy:
        endpoint = proxy.endpoint.replace("http://", f"http://{SECRETS['user']}:{SECRETS['password']}@")
        settings = minio_server.env | {"AWS_ENDPOINT_URL_S3": proxy.endpoint, "MOORAGE_LOG_FORMAT": style}
        gateway = Gateway(tmp_path / "gateway", store, settings=settings)
        async with _beside(gateway) as (_, client):
            planted = await _ask_with_secrets(client)
            proxy.instead = lambda _: status(400, "OddRequest")
            assert (await client.get("/v2/a/tags/list")).status_code == 500
            proxy.instead = lambda _: status(403, f"InvalidAccessKeyId {minio_server.secret_key}")
            await client.get("/v2/b/tags/list", headers={"Authorization": f"Basic {SECRETS['header']}"})
            metrics = (await client.get("/metrics")).text
        await proxy.close()
        refused = Gateway(tmp_path / "refused", store, settings=settings | {"AWS_ENDPOINT_URL_S3": endpoint})
        with pytest.raises(AssertionError, match="ended with status 1"):
            refused.start()
    sealing = (await _key(store)).decode()
    told = gateway.log.read_text() + metrics + refused.log.read_text()
    assert "/v2/a/blobs/" in told
    assert "OddRequest" in told
    assert "Traceback" in told or '"exc_type"' in told
    assert "127.0.0.1" in refused.log.read_text()
    for name, secret in {**SECRETS, **planted, "sealing": sealing, "store": minio_server.secret_key}.items():
        assert secret not in told, name
    assert "X-Amz" not in told


async def _ask_with_secrets(client: httpx.AsyncClient) -> dict[str, str]:
    """Requests of every kind, that go well and that fail, with secrets; returns those that the gateway made itself."""
    headers = {
        "Authorization": f"Bearer {SECRETS['header']}",
        "Cookie": f"session={SECRETS['cookie']}",
        "X-Request-Id": "plain",
    }
    query = {"token": SECRETS["query"]}
    content = secrets.token_bytes(70_000)
    digest = digest_of(content)
    begun = await client.post("/v2/a/blobs/uploads/", headers=headers, params=query)
    token = begun.headers["Location"].rpartition("/")[2]
    patched = await client.patch(begun.headers["Location"], headers=headers, content=content)
    token_2 = patched.headers["Location"].rpartition("/")[2]
    pushed = await client.put(patched.headers["Location"], params={"digest": digest, **query}, headers=headers)
    assert pushed.status_code == 201, pushed.text
    pulled = await client.get(f"/v2/a/blobs/{digest}", headers=headers, params=query)
    assert pulled.status_code == 307
    signature = httpx.URL(pulled.headers["Location"]).params["X-Amz-Signature"]
    for path in (
        f"/v2/b/blobs/uploads/{token}",  # another repository's
        f"/v2/a/blobs/uploads/{token}/",
        f"/v2/a/blobs//uploads/{token_2}",
        f"/v2/a/blobs/uploads/{token_2}/more/{token}",
        f"/v2/http://{SECRETS['user']}:{SECRETS['password']}@host/manifests/1",
        f"/nowhere?path={SECRETS['path']}",
    ):
        for method in ("GET", "PUT", "DELETE"):
            answer = await client.request(method, path, headers=headers)
            assert 400 <= answer.status_code < 500, path
    await client.put("/v2/a/manifests/1", headers=headers, content=SECRETS["body"])
    return {"token": token, "second token": token_2, "signature": signature}


async def _key(store: str) -> bytes:
    """The secret with which sessions are sealed, out of the bucket."""
    opened = await open_store(store, Opening(lambda: 0.0, lambda: secrets.token_hex(8)))
    try:
        return (await opened.get(layout.secret_key("uploads"))).body
    finally:
        await opened.close()
