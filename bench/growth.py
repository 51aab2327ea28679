"""How it grows: what operations take on small and on large registries, on the embedded store and over MinIO."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.contenders import ROOT
from bench.results import EMBEDDED, Grown
from tests.parts.servers import minio

MINIO = "MinIO"
SIZES = {
    EMBEDDED: ((1_000, 1_000, 10), (100_000, 100_000, 1_000), (1_000_000, 100_000, 10_000)),
    MINIO: ((1_000, 1_000, 10), (20_000, 20_000, 200)),
}
"""By store: blobs, tags in one repository, and repositories beside those that have the blobs, of which there are a thousand each.

MinIO gets as many as can be put there within minutes: each blob of these is three objects, and each tag is one.
"""


def grown(sizes: Mapping[str, Sequence[tuple[int, int, int]]] = SIZES) -> list[Grown]:
    """Each size in a process of its own, on a store of its own."""
    return [each for store in sizes for size in sizes[store] for each in _grown(store, size)]


def _grown(store: str, size: tuple[int, int, int]) -> list[Grown]:
    with empty(store) as (url, environment):
        command = [sys.executable, "-m", "bench.growing", store, url, *map(str, size)]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603 - of ours
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=list[Grown])  # after the log


@contextmanager
def empty(store: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The URL of a new store, and the environment that leads there."""
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as scratch:
        if store == EMBEDDED:
            yield f"file:{Path(scratch, 'store')}", dict(os.environ)
            return
        with minio(Path(scratch)) as server:
            yield f"s3://{server.create_bucket('growing')}", os.environ | server.env
