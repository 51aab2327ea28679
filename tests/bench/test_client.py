"""The load generators: what they send arrives whole, and what is no good answer is an error."""

import http.server
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from itertools import pairwise

import pytest

from bench.client import FRAME, Connection, Failed, abreast, frames
from bench.heads import heads
from bench.wrk import wrk


class Echo(http.server.BaseHTTPRequestHandler):
    """Sends back what it was sent, framed for a path that says so; HEAD of /missing is 404."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_PUT(self) -> None:
        """Echo."""
        body = (
            self._chunks()
            if self.headers["Transfer-Encoding"]
            else self.rfile.read(int(self.headers["Content-Length"]))
        )
        self.send_response(HTTPStatus.CREATED)
        if self.path == "/framed":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(frames(body))
        else:
            self.send_header("Content-Length", str(len(body) + (self.path == "/short")))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = self.path == "/short"

    def do_GET(self) -> None:
        """Answer with nothing."""
        self.server.asked.append(self.path)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        """Answer with the head of a body of 1000 bytes."""
        self.server.asked.append(self.path)
        self.send_response(HTTPStatus.NOT_FOUND if self.path == "/missing" else HTTPStatus.OK)
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as its base has it
        """Say nothing."""

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found


class Server(http.server.ThreadingHTTPServer):
    """What echoes, with the paths it was `asked` for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Echo)
        self.asked = list[str]()


@contextmanager
def echoing() -> Iterator[tuple[str, Server]]:
    """A server that echoes, and its HOST:PORT."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}", server
        server.shutdown()
        thread.join()


@pytest.fixture
def address() -> Iterator[str]:
    """HOST:PORT of a server that echoes."""
    with echoing() as (address, _):
        yield address


@pytest.mark.parametrize("size", [0, 1, FRAME, FRAME + 1, 5 * FRAME + 7])
@pytest.mark.parametrize("path", ["/", "/framed"])
def test_bodies_arrive_whole(address: str, size: int, path: str) -> None:
    """Every byte MUST go there and back, with a length or in chunks, over one connection."""
    body = bytes(range(251)) * (size // 251 + 1)
    with Connection(address) as connection:
        assert connection.request("PUT", path, body=body[:size], expect=201).body == body[:size]
        assert connection.request("PUT", path, body=frames(body[:size]), framed=True, expect=201).body == body[:size]
        assert connection.request("PUT", "/", body=body[:size], drop=True).body == b""


def test_what_was_not_expected_is_an_error(address: str) -> None:
    """Another status MUST be raised, and so must a body that ends too early."""
    with Connection(address) as connection, pytest.raises(Failed, match="answered with 201"):
        connection.request("PUT", "/", expect=202)
    with Connection(address) as connection, pytest.raises(Failed, match="1 bytes too early"):
        connection.request("PUT", "/short", body=b"some", drop=True)


def test_work_abreast_is_done_once(address: str) -> None:
    """Each item MUST be taken once, and an error of one not be lost."""
    done: list[int] = []
    abreast(3, address, lambda _, item: done.append(item), range(100))
    assert sorted(done) == list(range(100))
    with pytest.raises(ZeroDivisionError):
        abreast(3, address, lambda _, item: 1 // item, [1, 0, 2])


def test_heads_are_counted(address: str) -> None:
    """Answers MUST be counted over all connections, and another status be an error."""
    assert heads(address, ["/a", "/b"], seconds=0.2, status=200, connections=2) >= 2
    with pytest.raises(Failed, match="404"):
        heads(address, ["/a", "/missing"], seconds=0.2, status=200, connections=2)


def asked_by_heads(address: str, paths: Sequence[str]) -> None:
    """HEAD over one connection, so that answers are in the order of the requests."""
    heads(address, paths, seconds=0.3, status=200, connections=1)


def asked_by_wrk(address: str, paths: Sequence[str]) -> None:
    """GET over one connection."""
    wrk(address, paths, seconds=1, connections=1)


@pytest.mark.parametrize(
    "ask", [pytest.param(asked_by_heads, id="heads"), pytest.param(asked_by_wrk, marks=pytest.mark.parts, id="wrk")]
)
def test_paths_are_chosen_at_random_and_alike(ask: Callable[[str, Sequence[str]], None]) -> None:
    """Whoever is asked MUST be asked for the same in the same order, in which each path comes, and some twice running."""
    paths, asked = ["/a", "/b", "/c", "/d"], list[list[str]]()
    for _ in range(2):
        with echoing() as (address, server):
            ask(address, paths)
            asked.append(server.asked[:20])
    assert asked[0] == asked[1]
    assert len(asked[0]) == 20
    assert set(asked[0]) == set(paths)
    assert any(one == following for one, following in pairwise(asked[0]))
