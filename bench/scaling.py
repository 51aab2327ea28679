"""Several workers, and several gateways over one bucket: throughput, and CPU an operation of all of them together."""

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from bench.client import abreast
from bench.contenders import Server, moorage_with, place, started
from bench.content import MANIFEST, noise
from bench.meter import Meter, measured
from bench.pushing import push, push_image
from bench.results import Sample, Scaled
from bench.running import Scale, object_store
from bench.workloads.layers import SMALL
from bench.wrk import wrk

WORKERS, GATEWAYS = (1, 2, 4), (1, 2, 3)
CONNECTIONS = 12  # in all, which every number of gateways divides
_TAGS = [f"v{number}" for number in range(20)]


def scaled(scale: Scale, workers: Sequence[int] = WORKERS, gateways: Sequence[int] = GATEWAYS) -> list[Scaled]:
    """GET of manifests by tag, and push of small layers, for each number of workers and of gateways."""
    return [
        *(each for count in workers for each in _scaled(scale, "workers", count, gateways=1, workers=count)),
        *(each for count in gateways for each in _scaled(scale, "gateways", count, gateways=count, workers=1)),
    ]


def _scaled(scale: Scale, kind: str, count: int, *, gateways: int, workers: int) -> list[Scaled]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moorage-bench-")))
        store, process = stack.enter_context(object_store(directory / "minio"))
        contender, bucket = moorage_with("--workers", str(workers)), store.create_bucket("scaling")
        servers = [
            stack.enter_context(started(contender, stack.enter_context(place(directory / str(number), store, bucket))))
            for number in range(gateways)
        ]
        push_image(servers[0].address, "bench/hot", _TAGS, [noise(1_000)])
        return [
            Scaled(
                kind, count, title, unit, [_sample(servers, process, partial(work, scale)) for _ in range(scale.rounds)]
            )
            for title, unit, work in (
                ("GET of a manifest by tag", "request", _gets),
                ("push of layers of 100 KB", "layer", _pushes),
            )
        ]


def _gets(scale: Scale, server: Server, share: int) -> int:
    paths = [f"/v2/bench/hot/manifests/{tag}" for tag in _TAGS]
    return wrk(server.address, paths, seconds=scale.seconds, accept=MANIFEST, connections=share).requests


def _pushes(scale: Scale, server: Server, share: int) -> int:
    blobs = [noise(SMALL) for _ in range(scale.layers * share // CONNECTIONS)]
    abreast(share, server.address, lambda connection, blob: push(connection, "bench/pushed", blob), blobs)
    return len(blobs)


def _sample(servers: Sequence[Server], store: int, work: Callable[[Server, int], int]) -> Sample:
    """One measurement, in which all gateways work at once."""
    share, meter = CONNECTIONS // len(servers), Meter()
    with ThreadPoolExecutor(len(servers)) as pool, measured(meter, [server.pid for server in servers], store):
        meter.operations = sum(pool.map(lambda server: work(server, share), servers))
    return meter.sample()
