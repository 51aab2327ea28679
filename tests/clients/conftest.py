"""What the tests with real clients share: a gateway over each kind of store, two images, a home of their own."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.commands import Commands
from tests.clients.daemon import Docker, running_dockerd
from tests.clients.images import Image, make_image
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.parts.tools import tool


@pytest.fixture(scope="session", params=["embedded", "minio"])
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway as installed: over the store in a directory, and over a bucket, where blobs are pulled by redirect."""
    directory = tmp_path_factory.mktemp(f"registry-{request.param}")
    store, settings = "file:data", dict[str, str]()
    if request.param == "minio":
        server: S3Server = request.getfixturevalue("minio_server")
        store, settings = f"s3://{server.create_bucket(directory.name)}", server.env
    with Gateway(directory, store, settings=settings) as gateway:
        yield gateway


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """Runs commands in the test's own directory."""
    return Commands(tmp_path)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An image of five layers."""
    return make_image(tmp_path_factory.mktemp("image"), tool("busybox"), seed=1)


@pytest.fixture(scope="session")
def newer_image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Another image, which shares one layer with `image`."""
    return make_image(tmp_path_factory.mktemp("newer"), tool("busybox"), seed=2)


@pytest.fixture(scope="session")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A Docker daemon of our own; tests that take it are of one xdist group, so that there is one of it."""
    directory = tmp_path_factory.mktemp("dockerd")
    with running_dockerd(directory) as docker:
        yield docker
    shutil.rmtree(directory, ignore_errors=True)
