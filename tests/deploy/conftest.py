"""What the tests of deployment share: an image to push, and a directory to run commands in."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.commands import Commands
from tests.clients.daemon import Docker, running_dockerd
from tests.clients.images import Image, make_image
from tests.parts.tools import tool


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An image of five layers, the largest of which is pulled by redirect where the gateway redirects."""
    return make_image(tmp_path_factory.mktemp("image"), tool("busybox"), seed=3)


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """Runs commands in the test's own directory."""
    return Commands(tmp_path)


@pytest.fixture(scope="package")
def dockerd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """A Docker daemon for large images; tests that take it are of one xdist group, so that there is one of it."""
    directory = tmp_path_factory.mktemp("dockerd")
    with running_dockerd(directory, driver=None) as docker:
        yield docker
    shutil.rmtree(directory, ignore_errors=True)
