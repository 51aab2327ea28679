"""Collection streams: its memory does not grow with the registry. COLLECTION_LINKS=1000000 shows it at full size, in minutes."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.load.collecting import PASSES
from tests.load.synthetic import Synthetic

ROOT = Path(__file__).parents[2]
LINKS = int(os.environ.get("COLLECTION_LINKS", "25000"))
LIMIT = 512 if LINKS >= 500_000 else 128  # MiB; a process that has done nothing yet holds some 70


def collections(directory: Path, links: int) -> list[dict[str, Any]]:
    """What each collection of a registry of so many links took."""
    scratch = directory / "scratch"
    scratch.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.load.collecting", str(directory / "store"), str(links)]
    environment = {**os.environ, "TMPDIR": str(scratch)}
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, env=environment)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.xdist_group("load")
def test_a_collection_takes_little_memory(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """A million links MUST fit in 512 MiB, no manifest be read twice, and all that none names go: link, instance and bytes."""
    passes = collections(tmp_path, LINKS)
    for number, each in enumerate(passes):
        record_property(f"collection {number + 1} of {LINKS} links", each)
    registry = Synthetic(LINKS, 0)
    assert [each["problems"] for each in passes] == [[]] * PASSES
    assert [each["manifests_read"] for each in passes] == [registry.manifests, *[0] * (PASSES - 1)]
    assert max(each["peak_mib"] for each in passes) <= LIMIT
    removed = [each["removed"] for each in passes]
    assert removed[0] == {"condemn blobs done": registry.unnamed}
    assert removed[1] == {"bury blobs done": registry.unnamed}
    assert removed[2] == {"delete blobs done": registry.unnamed, "purge blobs done": registry.unnamed}
    assert removed[3] == {}
