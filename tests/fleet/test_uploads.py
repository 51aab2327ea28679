"""Every upload goes on at any gateway: all that is known of it is in its Location, and in the bucket."""

import hashlib
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.clients.commands import Commands
from tests.clients.images import assert_same, make_image
from tests.fleet.balancer import balancer
from tests.fleet.fleets import Rota, clients, fleet, wrong_in
from tests.fleet.threads import in_thread
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.parts.tools import tool

pytestmark = pytest.mark.xdist_group("fleet")

MIB = 1024 * 1024
REPOSITORY = "fleet/app"


@pytest.fixture(scope="module")
def gateways(minio_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Gateway]]:
    """Three gateways on one bucket, in which all MUST fit together at the end."""
    directory = tmp_path_factory.mktemp("uploads")
    bucket = minio_server.create_bucket(directory.name)
    with fleet(directory, bucket, [minio_server.env] * 3) as running:
        yield running
    assert wrong_in(minio_server, bucket) == []


@pytest.fixture(params=[2, 3])
def rota(request: pytest.FixtureRequest, gateways: Sequence[Gateway]) -> Iterator[Rota]:
    """A client that sends each request to the next of two, and of three gateways."""
    with clients(gateways[: request.param]) as each:
        yield Rota(each)


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """The digest of `content`."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def chunked(rota: Rota, content: bytes, location: str, pieces: int) -> str:
    """PATCH `content` in pieces, each on the next gateway; the last Location."""
    size = -(-len(content) // pieces)
    for at in range(0, len(content), size):
        piece = content[at : at + size]
        headers = {"Content-Range": f"{at}-{at + len(piece) - 1}"}
        answer = rota("PATCH", location, 202, content=piece, headers=headers)
        assert answer.headers["Range"] == f"0-{at + len(piece) - 1}"
        location = answer.headers["Location"]
    return location


def close(rota: Rota, location: str, digest: str, content: bytes = b"") -> None:
    """End an upload."""
    rota("PUT", location, 201, params={"digest": digest}, content=content)


def in_post(rota: Rota, content: bytes) -> str:
    """All in one request."""
    digest = digest_of(content)
    rota("POST", f"/v2/{REPOSITORY}/blobs/uploads/?digest={digest}", 201, content=content)
    return digest


def in_put(rota: Rota, content: bytes) -> str:
    """POST, then PUT with the body."""
    digest = digest_of(content)
    close(rota, rota.begin(REPOSITORY), digest, content)
    return digest


def streamed(rota: Rota, content: bytes) -> str:
    """POST, one PATCH of unknown length, PUT."""
    answer = rota("PATCH", rota.begin(REPOSITORY), 202, content=iter([content[:1000], content[1000:]]))
    close(rota, answer.headers["Location"], digest_of(content))
    return digest_of(content)


def in_chunks(rota: Rota, content: bytes) -> str:
    """POST, PATCH by PATCH, PUT."""
    close(rota, chunked(rota, content, rota.begin(REPOSITORY), 5), digest_of(content))
    return digest_of(content)


def in_many_chunks(rota: Rota, content: bytes) -> str:
    """More chunks than a Location has room for."""
    close(rota, chunked(rota, content, rota.begin(REPOSITORY), 40), digest_of(content))
    return digest_of(content)


def with_last_chunk_in_put(rota: Rota, content: bytes) -> str:
    """The closing PUT carries the last chunk."""
    half = len(content) // 2
    location = chunked(rota, content[:half], rota.begin(REPOSITORY), 3)
    headers = {"Content-Range": f"{half}-{len(content) - 1}"}
    rota("PUT", location, 201, params={"digest": digest_of(content)}, content=content[half:], headers=headers)
    return digest_of(content)


def with_status_between(rota: Rota, content: bytes) -> str:
    """The client forgets all but the first Location, and asks after each chunk where to go on."""
    begun = rota.begin(REPOSITORY)
    location, size = begun, -(-len(content) // 4)
    for at in range(0, len(content), size):
        rota("PATCH", location, 202, content=content[at : at + size])
        answer = rota("GET", begun, 204)
        assert answer.headers["Range"] == f"0-{min(at + size, len(content)) - 1}"
        location = answer.headers["Location"]
    close(rota, location, digest_of(content))
    return digest_of(content)


def as_sha512(rota: Rota, content: bytes) -> str:
    """The algorithm is named on POST."""
    digest = digest_of(content, "sha512")
    close(rota, chunked(rota, content, rota.begin(REPOSITORY, "?digest-algorithm=sha512"), 3), digest)
    return digest


def as_sha512_unannounced(rota: Rota, content: bytes) -> str:
    """The algorithm is known only from the closing PUT."""
    digest = digest_of(content, "sha512")
    close(rota, chunked(rota, content, rota.begin(REPOSITORY), 3), digest)
    return digest


STYLES = [
    in_post,
    in_put,
    streamed,
    in_chunks,
    in_many_chunks,
    with_last_chunk_in_put,
    with_status_between,
    as_sha512,
    as_sha512_unannounced,
]


@pytest.mark.parametrize("style", STYLES)
def test_goes_on_at_the_next_gateway(rota: Rota, style: Callable[[Rota, bytes], str]) -> None:
    """Every style of upload MUST go on at whichever gateway its next request reaches, and be served by all."""
    content = random.Random(f"{style.__name__} {len(rota.clients)}").randbytes(100_001)
    digest = style(rota, content)
    for _ in rota.clients:
        assert rota("GET", f"/v2/{REPOSITORY}/blobs/{digest}", 200).content == content


def test_chunks_large_enough_to_be_joined_by_the_store(rota: Rota) -> None:
    """Chunks of a multipart upload's least size and more MUST be joined too, whatever gateways took them."""
    content = random.Random(len(rota.clients)).randbytes(17 * MIB)
    close(rota, chunked(rota, content, rota.begin(REPOSITORY), 3), digest_of(content))
    for _ in rota.clients:
        assert digest_of(rota("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(content)}", 200).content) == digest_of(content)


def test_status_after_a_lost_answer(gateways: Sequence[Gateway], rota: Rota) -> None:
    """After a PATCH whose answer was lost, any gateway MUST say how much is durable, and the client goes on from there."""
    content = random.Random("lost").randbytes(90_000)
    location = chunked(rota, content[:30_000], rota.begin(REPOSITORY), 1)
    with patching(gateways[0], location, 30_000) as sent:
        sent.sendall(content[30_000:60_000])
        answer = until_range(rota, location, 59_999)
    headers = {"Content-Range": "60000-89999"}
    location = rota("PATCH", answer.headers["Location"], 202, content=content[60_000:], headers=headers).headers[
        "Location"
    ]
    close(rota, location, digest_of(content))
    assert rota("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(content)}", 200).content == content


def test_a_client_ahead_of_its_location_is_caught_up(gateways: Sequence[Gateway], rota: Rota) -> None:
    """A client that lost an answer, but knows that its chunk arrived, MUST be able to go on with the Location before it."""
    content = random.Random("ahead").randbytes(90_000)
    location = rota.begin(REPOSITORY)
    with patching(gateways[0], location, 30_000) as sent:
        sent.sendall(content[:30_000])
        until_range(rota, location, 29_999)
    headers = {"Content-Range": "30000-89999"}
    answer = rota("PATCH", location, 202, content=content[30_000:], headers=headers)
    close(rota, answer.headers["Location"], digest_of(content))
    assert rota("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(content)}", 200).content == content


def test_killed_in_the_middle_of_a_patch(minio_server: S3Server, tmp_path: Path) -> None:
    """A gateway that is killed while it takes a chunk MUST cost that chunk only: the upload goes on at another gateway."""
    bucket = minio_server.create_bucket("killed-in-a-patch")
    content = random.Random("killed").randbytes(40 * MIB)
    with fleet(tmp_path, bucket, [minio_server.env] * 3) as gateways, clients(gateways[1:]) as others:
        rota = Rota(others)
        location = chunked(rota, content[: 6 * MIB], rota.begin(REPOSITORY), 2)
        with patching(gateways[0], location, 34 * MIB) as sent:
            sent.sendall(content[6 * MIB : 26 * MIB])
            gateways[0].kill()
        answer = rota("GET", location, 204)
        assert answer.headers["Range"] == f"0-{6 * MIB - 1}"
        close(rota, chunked_from(rota, content, answer.headers["Location"], 6 * MIB), digest_of(content))
        gateways[0].start()
        with clients(gateways) as all_of_them:
            for client in all_of_them:
                assert digest_of(client.get(f"/v2/{REPOSITORY}/blobs/{digest_of(content)}").content) == digest_of(
                    content
                )
    assert wrong_in(minio_server, bucket) == []


def test_crane_through_a_balancer(gateways: Sequence[Gateway], tmp_path: Path) -> None:
    """What crane pushes through a balancer, each request to the next gateway, it pulls through it byte for byte."""
    image = make_image(tmp_path / "image", tool("busybox"), seed=7)
    commands, crane = Commands(tmp_path), tool("crane")
    with in_thread(balancer([each.port for each in gateways])) as front:
        name = f"{front.host}/{REPOSITORY}"
        commands.run(crane, "push", "--insecure", image.directory, f"{name}:1")
        for number, reference in enumerate((f"{name}:1", f"{name}@{image.digest}")):
            commands.run(crane, "pull", "--insecure", "--format=oci", reference, f"out{number}")
            assert_same(tmp_path / f"out{number}", image)
        assert len(front.requests) == len(gateways)
        assert min(front.requests.values()) > 3


def test_locations_lead_back_through_a_balancer(gateways: Sequence[Gateway]) -> None:
    """A Location MUST NOT name the gateway that gave it, and chunks through a balancer reach them all in turn."""
    content = random.Random("balanced").randbytes(50_000)
    with (
        in_thread(balancer([each.port for each in gateways])) as front,
        httpx.Client(base_url=f"http://{front.host}", trust_env=False, timeout=60) as client,
    ):
        through = Rota([client])
        assert in_chunks(through, content)
        assert through("GET", f"/v2/{REPOSITORY}/blobs/{digest_of(content)}", 200).content == content
        assert dict(front.requests) == {each.port: pytest.approx(8 / 3, abs=1) for each in gateways}


def chunked_from(rota: Rota, content: bytes, location: str, start: int) -> str:
    """PATCH what is left of `content` from `start`; the Location after it."""
    headers = {"Content-Range": f"{start}-{len(content) - 1}"}
    return rota("PATCH", location, 202, content=content[start:], headers=headers).headers["Location"]


@contextmanager
def patching(gateway: Gateway, location: str, length: int) -> Iterator[socket.socket]:
    """A connection on which a PATCH of `length` bytes was begun; it is closed without a look at any answer."""
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        head = f"PATCH {location} HTTP/1.1\r\nHost: {gateway.host}\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        yield connection


def until_range(rota: Rota, location: str, last: int) -> httpx.Response:
    """The status, once all bytes up to `last` are durable."""
    deadline = time.monotonic() + 20
    while (answer := rota("GET", location, 204)).headers["Range"] != f"0-{last}":
        assert time.monotonic() < deadline, answer.headers["Range"]
        time.sleep(0.02)
    return answer
