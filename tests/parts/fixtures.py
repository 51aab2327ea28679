"""The fixtures that start real parts; a suite takes them with `pytest_plugins = ["tests.parts.fixtures"]`."""

from collections.abc import AsyncGenerator, Iterator

import pytest

from tests.parts import tools
from tests.parts.rclone import rclone
from tests.parts.servers import S3Server
from tests.parts.stores import STORES, RealStore
from tests.parts.wire import Wire, wire


def _server(name: str, store: RealStore) -> object:
    """The fixture NAME_server: one such server for the whole session, where tests take a bucket or a prefix each."""

    @pytest.fixture(scope="session", name=f"{name}_server")
    def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
        with store.start(tmp_path_factory.mktemp(name)) as server:
            yield server

    return started


globals().update({f"{name}_server": _server(name, store) for name, store in STORES.items()})


@pytest.fixture(scope="session")
def rclone_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One rclone for the whole session, which ignores conditions; tests take a bucket each."""
    with rclone(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture
async def proxy(minio_server: S3Server) -> AsyncGenerator[Wire]:
    """A proxy in front of MinIO, which counts what passes, and fails or holds it back as told."""
    async with wire(minio_server.endpoint) as between:
        yield between


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the versions of the tools used to xdist's controller."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["tools"] = dict(tools.used)
