"""Several workers are one registry, and survive being killed at any moment."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

import httpx
import pytest

from tests.load.images import Image, check_image, digest_of, push_image
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server

pytestmark = pytest.mark.xdist_group("workers")

ROUNDS = 8
WRITERS = 4


@pytest.fixture(params=["embedded", pytest.param("minio", marks=pytest.mark.parts)])
def two_workers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway of two workers, on an embedded store and on MinIO."""
    if request.param == "embedded":
        store, settings = f"file:{tmp_path}/store", {}
    else:
        server: S3Server = request.getfixturevalue("minio_server")
        store, settings = f"s3://{server.bucket}/{tmp_path.name}", server.env
    with Gateway(tmp_path / "gateway", store, settings=settings, workers=2) as running:
        yield running


@contextmanager
def _clients(gateway: Gateway, number: int) -> Iterator[list[httpx.Client]]:
    """Clients with connections of their own, which the kernel spreads over the workers."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(httpx.Client(base_url=gateway.url, trust_env=False, timeout=30, follow_redirects=True))
            for _ in range(number)
        ]


def test_what_one_worker_deletes_is_gone_on_all_at_once(two_workers: Gateway) -> None:
    """After a DELETE was answered, no worker MUST serve the blob, the manifest or its tag from what it has seen before."""
    with _clients(two_workers, 12) as clients:
        for index in range(5):
            _check_deletion(clients, clients[index], push_image(clients[0], "shared", f"v{index}"))


def _check_deletion(clients: list[httpx.Client], deleter: httpx.Client, image: Image) -> None:
    for client in clients:
        check_image(client, "shared", image)
    paths = [f"manifests/{image.digest}", f"blobs/{image.blobs[1]}"]
    for path in paths:
        assert deleter.delete(f"/v2/shared/{path}").status_code == 202
    for client in clients:
        for path in (*paths, f"manifests/{image.tag}"):
            assert client.head(f"/v2/shared/{path}").status_code == 404


def test_an_upload_goes_on_at_any_worker(two_workers: Gateway) -> None:
    """Chunks of one upload MUST be taken by whichever worker they reach, and be put together in order."""
    content = random.Random(1).randbytes(40_000)
    with _clients(two_workers, 8) as clients:
        location = clients[0].post("/v2/shared/blobs/uploads/").headers["Location"]
        for index, client in enumerate(clients):
            first = index * 5_000
            headers = {"Content-Range": f"{first}-{first + 4_999}"}
            answer = client.patch(location, content=content[first : first + 5_000], headers=headers)
            assert answer.status_code == 202, answer.text
            location = answer.headers["Location"]
        assert clients[3].put(location, params={"digest": digest_of(content)}).status_code == 201
        assert clients[4].get(f"/v2/shared/blobs/{digest_of(content)}").content == content


@pytest.mark.parametrize("workers", [1, 2])
def test_a_gateway_that_is_told_to_end_leaves_nothing(tmp_path: Path, workers: int) -> None:
    """SIGTERM MUST end it with status 0, and its scratch directory with it."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with Gateway(
        tmp_path / "gateway", f"file:{tmp_path}/store", settings={"TMPDIR": str(scratch)}, workers=workers
    ) as it:
        assert list(scratch.iterdir())
        assert it.stop() == 0
    assert list(scratch.iterdir()) == []


def test_kill_at_any_moment_loses_nothing_acknowledged(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every image acknowledged before a kill -9 MUST be pulled whole afterwards, and pushing MUST go on as if nothing was."""
    chance = random.Random(20)
    acknowledged: list[Image] = []
    numbers = count()
    for _ in range(ROUNDS):
        with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store", workers=2) as gateway:
            _check_all(gateway, acknowledged)
            _push_until_killed(gateway, lambda: f"v{next(numbers)}", acknowledged, after=chance.uniform(0.1, 1.5))
    assert len(acknowledged) >= ROUNDS
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as gateway:
        _check_all(gateway, acknowledged)
    record_property("kill -9 of two workers", f"{ROUNDS} rounds, {len(acknowledged)} images acknowledged, none lost")


def _check_all(gateway: Gateway, images: list[Image]) -> None:
    with _clients(gateway, 1) as (client,):
        for image in images:
            check_image(client, "killed", image)


def _push_until_killed(gateway: Gateway, tag: Callable[[], str], acknowledged: list[Image], after: float) -> None:
    """Push from several threads, and kill the gateway `after` so many seconds."""

    def push() -> None:
        with _clients(gateway, 1) as (client,), suppress(httpx.TransportError):  # killed, as it should be
            while True:
                acknowledged.append(push_image(client, "killed", tag()))

    threads = [threading.Thread(target=push) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    threads[0].join(after)
    gateway.kill()
    for thread in threads:
        thread.join()
