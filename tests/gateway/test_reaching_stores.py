"""Stores that are reached by more than an address: with issuers of their own, or through a proxy."""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.composing import nonce
from storage.objects.opening import BucketUrl, Opening, s3_store
from storage.objects.probe import probe
from tests.parts.gateway import ROOT
from tests.parts.servers import S3Server, free_ports
from tests.parts.tools import tool

pytestmark = pytest.mark.usefixtures("elsewhere")


def doctor(server: S3Server, **changes: str) -> subprocess.CompletedProcess[str]:
    """What the command says of the server's bucket, in an environment with these changes."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", "doctor", "--store", f"s3://{server.bucket}/reached"],
        env={**environment, **server.env, "PYTHONPATH": str(ROOT)} | changes,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextlib.asynccontextmanager
async def behind_tls(server: S3Server, directory: Path) -> AsyncGenerator[str]:
    """The server by https://, with a certificate whose issuer is in `directory`/ca.pem."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*_certificate(directory))
    where = urlsplit(server.endpoint)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection(where.hostname, where.port)
        await asyncio.gather(_pipe(reader, downstream), _pipe(upstream, writer))

    async with await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context) as listener:
        yield f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        listener.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while block := await reader.read(65536):
            writer.write(block)
            await writer.drain()
    writer.close()


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and its key, issued by `directory`/ca.pem."""

    def request(name: str, subject: str, *more: str) -> None:
        command: list[str | Path] = [
            tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
            "-subj", subject, *more, "-out", directory / f"{name}.pem", "-keyout", directory / f"{name}.key",
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd=directory)

    request("ca", "/CN=issuer", "-addext", "basicConstraints=critical,CA:TRUE")
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
    request("server", "/CN=127.0.0.1", "-CA", "ca.pem", "-CAkey", "ca.key", *names)
    return directory / "server.pem", directory / "server.key"


async def test_an_issuer_of_its_own(minio_server: S3Server, tmp_path: Path) -> None:
    """AWS_CA_BUNDLE MUST hold for all that speaks to the store, of which presigned URLs are a part; without it a sentence says what is wrong."""
    async with behind_tls(minio_server, tmp_path) as endpoint:
        trusted = await asyncio.to_thread(
            doctor, minio_server, AWS_ENDPOINT_URL_S3=endpoint, AWS_CA_BUNDLE=str(tmp_path / "ca.pem")
        )
        untrusted = await asyncio.to_thread(doctor, minio_server, AWS_ENDPOINT_URL_S3=endpoint)
    assert (trusted.returncode, trusted.stderr) == (0, "")
    assert "presigned URLs            yes" in trusted.stdout
    assert (untrusted.returncode, untrusted.stderr) == (1, "")
    assert f"problem: the certificate of {endpoint} is not trusted here" in untrusted.stdout


@pytest.mark.parametrize("content", [None, "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_issuers_that_cannot_be_read(minio_server: S3Server, tmp_path: Path, content: str | None) -> None:
    """What AWS_CA_BUNDLE names and is no certificate is said in a sentence."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    result = doctor(minio_server, AWS_CA_BUNDLE=str(file))
    assert (result.returncode, result.stderr) == (1, "")
    assert f"problem: no certificates of issuers can be read from {file}: check AWS_CA_BUNDLE" in result.stdout


def test_a_proxy(minio_server: S3Server) -> None:
    """A store that only a proxy reaches MUST be reached through it, for presigned URLs too."""
    # MinIO takes requests as a proxy gets them.
    result = doctor(minio_server, AWS_ENDPOINT_URL_S3="http://store.invalid", HTTP_PROXY=minio_server.endpoint)
    assert (result.returncode, result.stderr) == (0, "")
    assert "presigned URLs            yes" in result.stdout


async def test_urls_that_reach_nothing(minio_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Presigned URLs that no connection can be made for count as none, and are no traceback that shows one."""
    for name, value in minio_server.env.items():
        monkeypatch.setenv(name, value)
    where = BucketUrl(f"s3://{minio_server.bucket}", minio_server.bucket, "nowhere")
    store = s3_store(where, Opening(time.time, nonce))
    with free_ports(1) as (port,):
        away = f"http://127.0.0.1:{port}"
    # The clients have read the environment before.
    monkeypatch.setenv("http_proxy", away)
    monkeypatch.setenv("no_proxy", "")
    try:
        found = await probe(store, nonce())
    finally:
        await store.close()
    assert (found.presigning, found.conditional_create) == (False, True)
