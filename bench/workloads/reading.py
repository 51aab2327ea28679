"""Asking for blobs, and reading them."""

from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from bench.client import Connection
from bench.contenders import DISTRIBUTION, MOORAGE, PROXYING, REDIRECTING, TWO_WORKERS
from bench.content import MIB, noise
from bench.heads import heads
from bench.pushing import path_of, push, push_in_put
from bench.running import Target, Turn, Workload

BLOBS = 20
TIMES = 4
_REPOSITORY = "bench/blobs"


def existing(turn: Turn) -> None:
    """HEAD of blobs that are there, 16 connections."""

    def pushed() -> list[str]:
        blobs = [noise(1_000) for _ in range(BLOBS)]
        with Connection(turn.server.address) as connection:
            for blob in blobs:
                push(connection, _REPOSITORY, blob)
        return [blob.digest for blob in blobs]

    _heads(turn, turn.once("blobs", pushed), 200)


def missing(turn: Turn) -> None:
    """HEAD of blobs that are not there, 16 connections."""
    _heads(turn, [noise(32).digest for _ in range(BLOBS)], 404)


def proxied(turn: Turn) -> None:
    """GET of a large layer through the gateway, several times."""
    path = turn.once("layer", lambda: _large(turn))
    with Connection(turn.server.address) as connection, turn.measured(turn.scale.layer_mib * TIMES):
        for _ in range(TIMES):
            connection.request("GET", path, expect=200, drop=True)


def redirected(turn: Turn) -> None:
    """GET of a large layer from the store, where the gateway leads."""
    path = turn.once("layer", lambda: _large(turn))
    with Connection(turn.server.address) as connection, turn.measured(turn.scale.layer_mib):
        url = connection.request("GET", path, expect=307).headers["location"]
        with Connection(urlsplit(url).netloc) as store:
            store.request("GET", path_of(url), expect=200, drop=True)


def _heads(turn: Turn, digests: list[str], status: int) -> None:
    paths = [f"/v2/{_REPOSITORY}/blobs/{digest}" for digest in digests]
    with turn.measured(0) as meter:
        meter.operations = heads(turn.server.address, paths, seconds=turn.scale.seconds, status=status)


def _large(turn: Turn) -> str:
    """Push a layer; the path under which it is."""
    blob = noise(turn.scale.layer_mib * MIB)
    with Connection(turn.server.address) as connection:
        push_in_put(connection, _REPOSITORY, blob)
    return f"/v2/{_REPOSITORY}/blobs/{blob.digest}"


# Redirecting, distribution answers HEAD with 307, which tells nothing of the blob.
_HEAD = partial(Workload, unit="request", ours=TWO_WORKERS, theirs=(DISTRIBUTION,))
_GET = Workload("", "", "MiB", proxied, Target(1, 1, known=4.8))
WORKLOADS = (
    _HEAD("5 existing", "HEAD of blobs that exist, 16 connections", run=existing, target=Target(1.5, 1)),
    _HEAD("5 missing", "HEAD of blobs that are missing, 16 connections", run=missing, target=Target(2, 1)),
    replace(
        _GET,
        name="6 proxied",
        title="GET of a 256 MiB layer through the gateway",
        ours=PROXYING,
        theirs=(DISTRIBUTION,),
    ),
    Workload(
        "6 redirected", "GET of a 256 MiB layer by redirect", "MiB", redirected, ours=MOORAGE, theirs=(REDIRECTING,)
    ),
)
