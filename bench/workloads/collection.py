"""Collecting garbage, of which there is none."""

import subprocess
from functools import partial

from bench import usage
from bench.contenders import DISTRIBUTION
from bench.content import noise
from bench.pushing import push_image
from bench.running import Target, Turn, Workload

LAYERS = 5
NOTES = "collector/"
_REPOSITORY = "bench/collected"


def first(turn: Turn) -> None:
    """Read all manifests, and find nothing to remove: what earlier collections of moorage's have noted is taken away before."""
    _prepare(turn)
    place = turn.server.place
    bucket = place.minio.session.resource("s3", endpoint_url=place.minio.endpoint).Bucket(place.bucket)
    bucket.objects.filter(Prefix=NOTES).delete()
    _collect(turn)


def again(turn: Turn) -> None:
    """Collect a second time, a third, and so on."""
    _prepare(turn)
    turn.once("collection", lambda: _collect(turn))
    _collect(turn)


def _prepare(turn: Turn) -> None:
    tags = [f"v{number}" for number in range(turn.scale.collected)]
    layers = [noise(1_000) for _ in range(LAYERS)]
    turn.once("manifests", lambda: push_image(turn.server.address, _REPOSITORY, tags, layers))


def _collect(turn: Turn) -> None:
    command = turn.server.contender.collect(turn.server.place)
    with turn.measured(1, usage.ended_cpu):
        subprocess.run(  # noqa: S603 - of ours
            command.arguments, env=command.environment, capture_output=True, check=True, cwd=turn.directory
        )


_COLLECT = partial(Workload, unit="collection", target=Target(5), theirs=(DISTRIBUTION,))
WORKLOADS = (
    _COLLECT("11 first", "a first collection over 1,000 manifests", run=first),
    _COLLECT("11 again", "another collection over 1,000 manifests", run=again),
)
