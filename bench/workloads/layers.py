"""Pushing layers: a large one, and many small ones."""

from functools import partial

from bench.client import Connection, abreast, frames
from bench.content import MIB, noise
from bench.pushing import push, push_in_put, push_streamed
from bench.running import Target, Turn, Workload

SMALL = 100_000


def streamed(turn: Turn) -> None:
    """One large layer as docker pushes it."""
    blob = noise(turn.scale.layer_mib * MIB)
    framed = frames(blob.content)
    with Connection(turn.server.address) as connection, turn.measured(turn.scale.layer_mib):
        push_streamed(connection, turn.repository, blob, framed)


def in_one_put(turn: Turn) -> None:
    """One large layer in the request that names its digest."""
    blob = noise(turn.scale.layer_mib * MIB)
    with Connection(turn.server.address) as connection, turn.measured(turn.scale.layer_mib):
        push_in_put(connection, turn.repository, blob)


def small(turn: Turn) -> None:
    """Many small layers, eight at a time."""
    blobs = [noise(SMALL) for _ in range(turn.scale.layers)]
    with turn.measured(len(blobs)):
        abreast(8, turn.server.address, lambda connection, blob: push(connection, turn.repository, blob), blobs)


_LARGE = partial(Workload, unit="MiB", target=Target(2.5, 0.7))
WORKLOADS = (
    _LARGE("1 streamed", "push of a 256 MiB layer: POST, one PATCH in chunks, PUT", run=streamed),
    _LARGE("1 at once", "push of a 256 MiB layer: POST, one PUT", run=in_one_put),
    Workload("2", "push of 400 layers of 100 KB, 8 at a time", "layer", small, Target(5, 0.4)),
)
