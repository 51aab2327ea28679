"""What is wrong with a store is said in one sentence, within seconds, by the checkup and by whoever opens it for serving."""

import http.server
import secrets
import socket
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storage.errors import Denied, Invalid, StoreError, Unavailable
from storage.objects.checkup import Checkup, examine
from storage.objects.contract import ObjectStore
from storage.objects.diagnosis import explain
from storage.objects.opening import Opening, open_store
from storage.objects.s3_connection import Place
from tests.parts.servers import S3Server, answers, free_ports, running, wait_until
from tests.parts.tools import tool
from tests.parts.wire import Exchange, Wire, status, wire

OPENING = Opening(time.time, lambda: secrets.token_hex(8))
WITHIN = 12.0
# Longer than DNS allows, so that no name server is asked.
TOO_LONG_A_NAME = ".".join(["a" * 60] * 4 + ["b" * 10])
Configure = Callable[..., None]


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Configure:
    """Sets the environment that AWS clients read, and nothing else of it is left."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)

    def configure(endpoint: str, key: str = "test", secret: str = "test12345", region: str = "us-east-1") -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        monkeypatch.setenv("AWS_REGION", region)
        monkeypatch.setenv("AWS_DEFAULT_REGION", region)

    return configure


@pytest.fixture
async def proxy(minio_server: S3Server, configured: Configure) -> AsyncGenerator[Wire]:
    """A proxy in front of MinIO, which all clients are led to."""
    async with wire(minio_server.endpoint) as between:
        configured(between.endpoint)
        yield between


async def nothing_else(_: ObjectStore) -> None:
    """Finds nothing wrong with the store."""


async def checked(url: str, opening: Opening = OPENING) -> Checkup:
    """A checkup, which MUST take seconds only."""
    began = time.monotonic()
    checkup = await examine(url, opening, nothing_else)
    assert time.monotonic() - began < WITHIN
    return checkup


async def the_problem(url: str, opening: Opening = OPENING) -> str:
    """The one problem that the checkup finds, a sentence."""
    checkup = await checked(url, opening)
    assert not checkup.starts
    assert not checkup.starts_with_single_writer
    (problem,) = checkup.problems
    assert "\n" not in problem
    return problem


async def the_refusal(url: str) -> str:
    """The one problem that the checkup finds, and in the same words whoever opens the store; both MUST take seconds only."""
    problem = await the_problem(url)
    began = time.monotonic()
    with pytest.raises((Denied, Unavailable)) as raised:
        await open_store(url, OPENING)
    assert time.monotonic() - began < WITHIN
    assert str(raised.value) == problem
    return problem


async def test_nothing_listens(configured: Configure) -> None:
    """The endpoint is named, and where it is set."""
    with free_ports(1) as (port,):
        endpoint = f"http://127.0.0.1:{port}"
    configured(endpoint)
    problem = await the_refusal("s3://bucket")
    assert problem == f"nothing listens at {endpoint}: check AWS_ENDPOINT_URL_S3, and whether the store runs"


async def test_a_host_that_there_is_not(configured: Configure) -> None:
    """It is the name that is wrong, not the server."""
    configured("http://no-such-host.invalid")
    assert (await the_problem("s3://bucket")).startswith(
        "the host name of http://no-such-host.invalid cannot be resolved"
    )


async def test_a_server_that_says_nothing(configured: Configure) -> None:
    """It is given up within seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        configured(endpoint)
        assert (await the_problem("s3://bucket")).startswith(f"the store at {endpoint} did not answer in time")


async def test_https_where_http_is_spoken(configured: Configure, minio_server: S3Server) -> None:
    """The scheme is what is wrong."""
    configured(minio_server.endpoint.replace("http:", "https:"))
    assert "does not speak TLS: check whether the endpoint is http://" in await the_problem("s3://shared")


@pytest.mark.parametrize("code", [200, 404, 403])
async def test_a_server_of_something_else(configured: Configure, code: int) -> None:
    """A web server is no S3 server, whatever it answers."""
    with web_server(code) as endpoint:
        configured(endpoint)
        assert (await the_problem("s3://bucket")).startswith(f"what answers at {endpoint} is not an S3 server")


async def test_a_missing_bucket(configured: Configure, minio_server: S3Server, seaweedfs_server: S3Server) -> None:
    """The bucket is named, and is not made, not even by a server that makes buckets of its own accord."""
    for server in (minio_server, seaweedfs_server):
        configured(server.endpoint)
        problem = await the_refusal("s3://no-such-bucket/prefix")
        assert problem.startswith(f"there is no bucket no-such-bucket at {server.endpoint}")


async def test_wrong_credentials(configured: Configure, minio_server: S3Server, rclone_server: S3Server) -> None:
    """A key id that nobody knows is told from a secret that is not its own."""
    for server in (minio_server, rclone_server):
        configured(server.endpoint, key="nobody")
        assert "does not know the access key id" in await the_problem("s3://shared")
        configured(server.endpoint, secret="wrong")
        assert "the secret access key does not belong to the access key id" in await the_problem("s3://shared")


async def test_no_credentials(configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """That there are none is told before anything is sent."""
    configured("http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "there are no AWS credentials" in await the_refusal("s3://bucket")


async def test_the_wrong_region(configured: Configure, tmp_path: Path) -> None:
    """A server that has a region refuses another one: both are named."""
    with minio_in("eu-west-1", tmp_path) as endpoint:
        configured(endpoint, region="us-west-2")
        problem = await the_problem("s3://bucket")
    assert "is not in the region us-west-2 that requests are signed for but in eu-west-1: set AWS_REGION" in problem


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (301, "PermanentRedirect", "set AWS_REGION"),
        (400, "AuthorizationHeaderMalformed", "set AWS_REGION"),
        (400, "ExpiredToken", "renew the temporary credentials"),
        (403, "InvalidToken", "renew the temporary credentials"),
        (403, "RequestTimeTooSkewed", "set this host's clock"),
        (500, "InternalError", "overloaded or not ready (500 InternalError)"),
        (503, "SlowDown", "overloaded or not ready (503 SlowDown)"),
    ],
)
async def test_what_the_server_says(proxy: Wire, code: int, error: str, words: str) -> None:
    """Each error code of S3 that concerns the whole store has a sentence that says what to do."""
    proxy.instead = lambda _: status(code, error)
    assert words in await the_problem("s3://shared")


@pytest.mark.parametrize(
    ("kind", "permission"),
    [
        ("LIST", "s3:ListBucket"),
        ("GET", "s3:GetObject"),
        ("PUT", "s3:PutObject"),
        ("DELETE", "s3:DeleteObject"),
        ("POST", "s3:DeleteObject"),
    ],
)
async def test_a_permission_that_is_missing(proxy: Wire, kind: str, permission: str) -> None:
    """It is named in the terms of policies."""
    proxy.instead = denying(kind)
    problem = await the_problem("s3://shared")
    assert problem == f"the policy of the credentials lacks {permission} on the bucket shared: add what is missing"


async def test_a_denial_within_a_success(proxy: Wire) -> None:
    """S3 answers a removal of many with 200, and tells in the body that it may not be."""
    failed = "<Key>probe/0/access</Key><Code>AccessDenied</Code><Message>Access Denied</Message>"
    body = f"<?xml version='1.0'?><DeleteResult><Error>{failed}</Error></DeleteResult>"
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
    proxy.instead = lambda exchange: answer if exchange.kind == "POST" else None
    problem = await the_problem("s3://shared", Opening(time.time, lambda: "0"))
    assert "lacks s3:DeleteObject on the bucket shared" in problem


async def test_all_permissions_that_are_missing(proxy: Wire) -> None:
    """They are told at once, rather than one a start."""
    proxy.instead = denying("LIST", "GET", "DELETE", "POST")
    assert "lacks s3:ListBucket and s3:GetObject and s3:DeleteObject on" in await the_refusal("s3://shared")


@pytest.mark.parametrize(
    ("kind", "name", "permission"),
    [
        ("UPLOADS", "finding_uploads", "s3:ListBucketMultipartUploads"),
        ("ABORT", "freeing_uploads", "s3:AbortMultipartUpload"),
    ],
)
async def test_a_permission_that_may_be_missing(proxy: Wire, kind: str, name: str, permission: str) -> None:
    """Gateways start without those, and what it costs is told, and which permission it is."""
    proxy.instead = denying(kind)
    checkup = await checked("s3://shared/lacking")
    assert (checkup.starts, checkup.problems) == (True, [])
    assert not checkup.found[name]
    assert [note for note in checkup.notes if f"lacks {permission} on the bucket shared" in note]
    store = await open_store("s3://shared/lacking", OPENING)
    await store.close()


def test_what_nobody_foresaw() -> None:
    """Is told as the store said it."""
    assert explain(Invalid("k: 400 Strange: of the test"), Place("b", "http://e", "r")) == "k: 400 Strange: of the test"


@pytest.mark.parametrize("error", [Unavailable("x"), Denied("x"), Invalid("x")])
def test_a_sentence_is_complete(error: StoreError) -> None:
    """No placeholder is left in a sentence."""
    assert "{" not in explain(error, Place("b", "http://e", "r"))


def denying(*kinds: str) -> Callable[[Exchange], bytes | None]:
    """Answers what a policy does that lacks what these kinds of requests need."""
    return lambda exchange: status(403, "AccessDenied") if exchange.kind in kinds else None


@contextmanager
def web_server(code: int) -> Iterator[str]:
    """A server that answers every request with a page, and has never heard of S3."""

    class Page(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(code)
            self.send_header("Content-Length", "13")
            self.end_headers()
            self.wfile.write(b"<html></html>")

        do_GET = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as above
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def minio_in(region: str, directory: Path) -> Iterator[str]:
    """The endpoint of a MinIO that has a region."""
    with free_ports(1) as (port,):
        address = f"127.0.0.1:{port}"
    command: list[str | Path] = [tool("minio"), "server", "--quiet", "--address", address, directory / "data"]
    environment = {
        "MINIO_ROOT_USER": "test",
        "MINIO_ROOT_PASSWORD": "test12345",
        "MINIO_BROWSER": "off",
        "MINIO_SITE_REGION": region,
        "HOME": str(directory),
    }
    log = directory / "minio.log"
    with running(command, log, environment=environment) as process:
        wait_until(process, log, lambda: answers(f"http://{address}/minio/health/ready"))
        yield f"http://{address}"
