"""How it grows: what operations take on small and on large registries, on the embedded store."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.contenders import ROOT
from bench.results import Grown

SIZES = ((1_000, 1_000, 10), (100_000, 100_000, 1_000), (1_000_000, 100_000, 10_000))
"""Blobs, tags in one repository, and repositories beside those that have the blobs, of which there are a thousand each."""


def grown(sizes: Sequence[tuple[int, int, int]] = SIZES) -> list[Grown]:
    """Each size in a process of its own."""
    return [each for size in sizes for each in _grown(size)]


def _grown(size: tuple[int, int, int]) -> list[Grown]:
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as scratch:
        command = [sys.executable, "-m", "bench.growing", str(Path(scratch, "store")), *map(str, size)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)  # noqa: S603 - of ours
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=list[Grown])  # after the log
