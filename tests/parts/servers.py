"""Real S3 servers, each started on free ports of 127.0.0.1 and ended with the block that started it."""

import json
import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import botocore.exceptions
import pytest

from tests.parts.tools import tool

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

READY_WITHIN = 60.0
STOP_WITHIN = 20.0


@dataclass(frozen=True)
class S3Server:
    """Where a server listens, and who may use it. `bucket` is there from the start: SeaweedFS has room for a few dozen only.

    `suffix` ends the names of all buckets, where servers of one machine get into each other's.
    """

    endpoint: str
    suffix: str = ""
    access_key: str = "test"
    secret_key: str = field(default="test12345", repr=False)
    region: str = "us-east-1"

    @property
    def bucket(self) -> str:
        """The bucket that is there from the start."""
        return f"shared{self.suffix}"

    @property
    def env(self) -> dict[str, str]:
        """The environment that leads any AWS client here."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
        }

    @cached_property
    def session(self) -> boto3.Session:
        """A session of boto3 with the server's credentials; shared, for a client of a new session takes half a second."""
        return boto3.Session(self.access_key, self.secret_key, region_name=self.region)

    def client(self) -> "S3Client":
        """A client to look behind the store's back with."""
        client: S3Client = self.session.client("s3", endpoint_url=self.endpoint)
        return client

    def create_bucket(self, name: str) -> str:
        """Create a bucket that `name` is the name of, but for the suffix; return its whole name."""
        client = self.client()
        client.create_bucket(Bucket=name + self.suffix)
        client.close()
        return name + self.suffix


@contextmanager
def minio(directory: Path) -> Iterator[S3Server]:
    """MinIO, with its data in `directory`."""
    with free_ports(1) as (port,):
        server = S3Server(f"http://127.0.0.1:{port}")
        address = f"127.0.0.1:{port}"
    command: list[str | Path] = [tool("minio"), "server", "--quiet", "--address", address, directory / "data"]
    root = {"MINIO_ROOT_USER": server.access_key, "MINIO_ROOT_PASSWORD": server.secret_key, "MINIO_BROWSER": "off"}
    with running(command, directory / "minio.log", environment={**root, "HOME": str(directory)}) as process:
        log = directory / "minio.log"
        wait_until(process, log, lambda: answers(f"{server.endpoint}/minio/health/ready") and _is_initialized(server))
        server.create_bucket("shared")
        yield server


def _is_initialized(server: S3Server) -> bool:
    """Whether MinIO takes requests: on a busy machine it says that it is ready a little before."""
    try:
        server.client().list_buckets()
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] != "XMinioServerNotInitialized":
            raise
        return False
    return True


@contextmanager
def seaweedfs(directory: Path) -> Iterator[S3Server]:
    """SeaweedFS: master, volume server, filer and S3 gateway in one process, with their data in `directory`."""
    roles = (
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
    )
    with free_ports(len(roles)) as found:
        ports = dict(zip(roles, found, strict=True))
    server = S3Server(f"http://127.0.0.1:{ports['s3.port']}")
    data, config, log = directory / "data", directory / "s3.json", directory / "weed.log"
    data.mkdir()
    config.write_text(json.dumps(_identities(server)))
    command: list[str | Path] = [
        tool("weed"), "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=128", "-volume.max=200", "-volume.preStopSeconds=0", "-filer", "-s3",
        f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        *(f"-{role}={port}" for role, port in ports.items()),
    ]  # fmt: skip
    # It takes 17 s to end when asked to; nothing of it is kept, so it is killed.
    with running(command, log, environment={"HOME": str(directory)}, kill=True) as process:
        wait_until(process, log, lambda: _takes_objects(server))
        yield server


@contextmanager
def localstack(directory: Path) -> Iterator[S3Server]:
    """LocalStack, with S3 and the few services that Terraform asks for beside it."""
    with free_ports(1) as (port,):
        address = f"127.0.0.1:{port}"
    # Whatever it is told, it keeps objects below /tmp, by the name of their bucket; and it knows no secret but this one.
    server, log = (
        S3Server(f"http://{address}", f"-{secrets.token_hex(6)}", secret_key="test"),
        directory / "localstack.log",
    )
    settings = {
        "FILESYSTEM_ROOT": str(directory),
        "OVERRIDE_IN_DOCKER": "0",
        "S3_SKIP_SIGNATURE_VALIDATION": "0",
        "SERVICES": "s3,iam,kms,sts",
        "GATEWAY_LISTEN": address,
        "GATEWAY_SERVER": "hypercorn",
        "EAGER_SERVICE_LOADING": "1",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
    }
    own = {"HOME": str(directory), "TMPDIR": str(directory), "PATH": os.environ["PATH"]}
    with running([tool("localstack")], log, environment={**settings, **own}) as process:
        # Asked to end before it says so, it hangs.
        wait_until(process, log, lambda: b"\nReady." in log.read_bytes())
        server.create_bucket("shared")
        yield server


@contextmanager
def moto(directory: Path) -> Iterator[S3Server]:
    """An imitation of AWS for tests, which keeps everything in memory."""
    with free_ports(1) as (port,):
        server, log = S3Server(f"http://127.0.0.1:{port}"), directory / "moto.log"
    command: list[str | Path] = [tool("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, log, environment={"HOME": str(directory), "TMPDIR": str(directory)}) as process:
        wait_until(process, log, lambda: answers(f"{server.endpoint}/moto-api/"))
        server.create_bucket("shared")
        yield server


@contextmanager
def versitygw(directory: Path) -> Iterator[S3Server]:
    """The gateway of Versity over a directory, where an object is a file."""
    with free_ports(1) as (port,):
        address = f"127.0.0.1:{port}"
    server, log = S3Server(f"http://{address}"), directory / "versitygw.log"
    (directory / "data").mkdir()
    command: list[str | Path] = [
        tool("versitygw"), "--port", address, "--access", server.access_key, "--secret", server.secret_key,
        "--health", "/health", "--quiet", "posix", directory / "data",
    ]  # fmt: skip
    with running(command, log, environment={"HOME": str(directory)}) as process:
        wait_until(process, log, lambda: answers(f"{server.endpoint}/health"))
        server.create_bucket("shared")
        yield server


@contextmanager
def free_ports(count: int) -> Iterator[list[int]]:
    """Ports of 127.0.0.1 that are free, held until the block ends."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for held in sockets:
            held.bind(("127.0.0.1", 0))
        yield [held.getsockname()[1] for held in sockets]


@contextmanager
def running(
    command: list[str | Path], log: Path, *, environment: Mapping[str, str], kill: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` while the block runs, with its output in `log`; end that one process with TERM, or KILL."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment, cwd=log.parent
        )
    try:
        yield process
    finally:
        if not kill:
            process.terminate()
            try:
                process.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                kill = True
        if kill:
            process.kill()
            process.wait()


def wait_until(
    process: subprocess.Popen[bytes],
    log: Path,
    ready: Callable[[], bool],
    within: float = READY_WITHIN,
    pause: float = 0.05,
) -> None:
    """Return once `ready`, asked every `pause` seconds, is true; fail the test, with the end of the log, if the process ends or takes longer."""
    deadline = time.monotonic() + within
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(
                f"{process.args!r} did not get ready:\n{log.read_text(errors='replace')[-2000:]}", pytrace=False
            )
        time.sleep(pause)


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once `condition` is true; raise AssertionError if that takes too long."""
    deadline = time.monotonic() + READY_WITHIN
    while not condition():
        assert time.monotonic() < deadline, f"it was not so within {READY_WITHIN} s"
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _identities(server: S3Server) -> dict[str, object]:
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    actions = ["Admin", "Read", "List", "Tagging", "Write"]
    return {"identities": [{"name": "test", "credentials": credentials, "actions": actions}]}


def _takes_objects(server: S3Server) -> bool:
    return answers(f"{server.endpoint}/healthz") and answers_to_s3(server)


def answers_to_s3(server: S3Server) -> bool:
    """Whether an object can be written to the server's bucket."""
    client = server.client()
    try:
        # SeaweedFS creates the bucket that it does not find.
        client.put_object(Bucket=server.bucket, Key="ready", Body=b"1")
        client.delete_object(Bucket=server.bucket, Key="ready")
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError):
        return False
    else:
        return True
    finally:
        client.close()
