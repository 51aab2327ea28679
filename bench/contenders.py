"""The registries that are compared, each as users run it, over a bucket of its own."""

import http
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from bench.client import Connection
from tests.parts.servers import S3Server, free_ports, running, wait_until
from tests.parts.tools import tool

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Place:
    """Where a server runs, with its log, and the bucket that it has."""

    directory: Path
    minio: S3Server
    bucket: str
    port: int

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Command:
    """What to run, and in which environment."""

    arguments: tuple[str | Path, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Contender:
    """How a registry is served, and how its garbage is collected."""

    serve: Callable[[Place], Command]
    collect: Callable[[Place], Command]


@dataclass(frozen=True)
class Server:
    """A registry that runs; `seconds_to_start` passed until it first answered."""

    contender: Contender
    place: Place
    pid: int
    seconds_to_start: float

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return self.place.address


@contextmanager
def started(contender: Contender, place: Place) -> Iterator[Server]:
    """Serve, from the first answer of `/v2/` until the block ends."""
    place.directory.mkdir(parents=True, exist_ok=True)
    command, log = contender.serve(place), place.directory / "server.log"
    began = time.monotonic()
    with running(list(command.arguments), log, environment=command.environment) as process:
        wait_until(process, log, lambda: _answers(place.address), pause=0.005)
        yield Server(contender, place, process.pid, time.monotonic() - began)


@contextmanager
def place(directory: Path, minio: S3Server, bucket: str) -> Iterator[Place]:
    """A place on a free port."""
    with free_ports(1) as (port,):
        pass
    yield Place(directory, minio, bucket, port)


def moorage(place: Place, *arguments: str, embedded: bool = False) -> Command:
    """`moorage serve`, as it is by default but for `arguments`."""
    store = f"file:{place.directory / 'store'}" if embedded else f"s3://{place.bucket}"
    serve = (sys.executable, "-m", "gateway.cli", "serve", "--store", store, "--listen", place.address)
    return Command((*serve, *arguments), _moorage_environment(place))


def moorage_with(*arguments: str, embedded: bool = False) -> Contender:
    """Moorage with these arguments of `serve`, over MinIO or embedded."""

    def serve(place: Place) -> Command:
        return moorage(place, *arguments, embedded=embedded)

    return Contender(serve, moorage_collects)


def moorage_collects(place: Place) -> Command:
    """`moorage gc`."""
    command = (sys.executable, "-m", "gateway.cli", "gc", "--store", f"s3://{place.bucket}")
    return Command(command, _moorage_environment(place))


def distribution(place: Place, *, redirect: bool) -> Command:
    """`registry serve`, with what it has to be fast: its cache of blob descriptors, and no traces to send."""
    return _registry(place, "serve", redirect=redirect)


def distribution_collects(place: Place) -> Command:
    """`registry garbage-collect`."""
    return _registry(place, "garbage-collect", redirect=False)


def _registry(place: Place, verb: str, *, redirect: bool) -> Command:
    place.directory.mkdir(parents=True, exist_ok=True)
    path = place.directory / f"{verb}.yml"
    path.write_text(yaml.safe_dump(_configuration(place, redirect=redirect)), "utf-8")
    environment = _inherited() | {"OTEL_TRACES_EXPORTER": "none"}
    return Command((tool("registry"), verb, path), environment)


def _configuration(place: Place, *, redirect: bool) -> dict[str, object]:
    """https://distribution.github.io/distribution/about/configuration/."""
    s3 = {
        "region": place.minio.region,
        "regionendpoint": place.minio.endpoint,
        "bucket": place.bucket,
        "accesskey": place.minio.access_key,
        "secretkey": place.minio.secret_key,
        "forcepathstyle": True,
        "secure": False,
    }
    storage = {
        "s3": s3,
        "redirect": {"disable": not redirect},
        "cache": {"blobdescriptor": "inmemory"},
        "delete": {"enabled": True},
    }
    return {"version": 0.1, "storage": storage, "http": {"addr": place.address, "secret": "of the benchmark"}}


def _moorage_environment(place: Place) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true", "MOORAGE_DRAIN_DELAY": "0s"}
    return _inherited() | own | place.minio.env


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOORAGE_", "OTEL_"))}


def _answers(address: str) -> bool:
    try:
        with Connection(address) as connection:
            return connection.request("GET", "/v2/").status == http.HTTPStatus.OK
    except OSError:
        return False


MOORAGE, PROXYING = "moorage", "moorage, proxying"
TWO_WORKERS, EMBEDDED = "moorage, 2 workers", "moorage, embedded store"
DISTRIBUTION, REDIRECTING = "distribution", "distribution, redirecting"

CONTENDERS = {
    MOORAGE: moorage_with(),
    PROXYING: moorage_with("--blob-delivery", "proxy"),
    TWO_WORKERS: moorage_with("--workers", "2"),
    EMBEDDED: moorage_with(embedded=True),
    DISTRIBUTION: Contender(partial(distribution, redirect=False), distribution_collects),
    REDIRECTING: Contender(partial(distribution, redirect=True), distribution_collects),
}
