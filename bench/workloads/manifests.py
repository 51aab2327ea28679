"""Pushing manifests, and pulling them by tag."""

from functools import partial

from bench.client import Connection, abreast
from bench.content import MANIFEST, Blob, manifest, noise
from bench.pushing import push_image, push_manifest
from bench.running import Target, Turn, Workload
from bench.wrk import wrk

HOT = 20
LAYERS = 8


def pushed(turn: Turn) -> None:
    """Manifests of a config and eight layers that were just pushed, each with a tag of its own, eight at a time."""
    config, layers = noise(200), [noise(1_000) for _ in range(LAYERS)]
    push_image(turn.server.address, turn.repository, (), layers, config)
    contents = [
        (f"v{number}", manifest(config, layers, {"number": str(number)})) for number in range(turn.scale.manifests)
    ]

    def one(connection: Connection, tagged: tuple[str, Blob]) -> None:
        push_manifest(connection, turn.repository, *tagged)

    with turn.measured(len(contents)):
        abreast(8, turn.server.address, one, contents)


def by_tag(turn: Turn, hot: int = HOT) -> None:
    """GET of manifests by tag, over the `hot` tags that are in use, 16 connections."""
    tags = [f"v{number}" for number in range(hot)]
    layers = [noise(1_000) for _ in range(LAYERS)]
    turn.once("image", lambda: push_image(turn.server.address, "bench/hot", tags, layers))
    paths = [f"/v2/bench/hot/manifests/{tag}" for tag in tags]
    with turn.measured(0) as meter:
        load = wrk(turn.server.address, paths, seconds=turn.scale.seconds, accept=MANIFEST)
        meter.operations = load.requests


WORKLOADS = (
    Workload("3", "push of 200 manifests of a config and 8 layers, 8 at a time", "manifest", pushed, Target(2, 0.8)),
    Workload("4", "GET of a manifest by tag, 20 tags, 16 connections", "request", by_tag, Target(4, 0.5)),
    Workload("4 one tag", "GET of a manifest by one tag, 16 connections", "request", partial(by_tag, hot=1)),
)
