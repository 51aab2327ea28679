"""The fixtures that start real parts; a suite takes them with `pytest_plugins = ["tests.parts.fixtures"]`."""

from collections.abc import Iterator

import pytest

from tests.parts import tools
from tests.parts.rclone import rclone
from tests.parts.servers import S3Server, minio, seaweedfs


@pytest.fixture(scope="session")
def minio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One MinIO for the whole session; tests take a bucket each."""
    with minio(tmp_path_factory.mktemp("minio")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One SeaweedFS for the whole session; tests take a bucket each."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One rclone for the whole session, which ignores conditions; tests take a bucket each."""
    with rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the versions of the tools used to xdist's controller."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tools"] = dict(tools.used)
