"""Images pushed and pulled by crane: https://github.com/google/go-containerregistry/tree/main/cmd/crane."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.client import Failed
from bench.content import MIB, Blob, noise, write_layout
from bench.running import Target, Turn, Workload
from tests.parts.tools import tool

LAYERS, PULLED, CLIENTS = 10, 20, 10


def unchanged(turn: Turn) -> None:
    """Push an image that is there already, under the same tag."""
    directory, _ = turn.once("image", lambda: _pushed(turn, LAYERS))
    with turn.measured(1):
        _crane("push", directory, _image(turn))


def changed(turn: Turn) -> None:
    """Push an image of which one layer of ten is new, under the same tag."""
    _, layers = turn.once("image", lambda: _pushed(turn, LAYERS))
    directory = turn.directory / "changed"
    write_layout(directory, [*layers[1:], noise(MIB)])
    with turn.measured(1):
        _crane("push", directory, _image(turn))


def pulled(turn: Turn) -> None:
    """Pull an image of many layers by ten clients at once."""
    turn.once("image", lambda: _pushed(turn, PULLED))

    def pull(client: int) -> None:
        _crane("pull", "--format=oci", _image(turn), turn.directory / str(client))

    with turn.measured(CLIENTS), ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(pull, range(CLIENTS)))


def _pushed(turn: Turn, layers: int) -> tuple[Path, list[Blob]]:
    directory, blobs = turn.directory / "image", [noise(MIB) for _ in range(layers)]
    write_layout(directory, blobs)
    _crane("push", directory, _image(turn))
    return directory, blobs


def _image(turn: Turn) -> str:
    return f"{turn.server.address}/bench/image:1"


def _crane(verb: str, *arguments: str | Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}  # no credentials of this machine
    command = [tool("crane"), verb, "--insecure", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - of ours
    if done.returncode:
        raise Failed(f"crane {verb} failed: {done.stderr}")


WORKLOADS = (
    Workload("8 unchanged", "crane push with nothing changed", "push", unchanged, Target(2)),
    Workload("8 one layer", "crane push with one layer of ten changed", "push", changed, Target(2)),
    Workload("9", "crane pull of a 20-layer image by 10 clients at once", "pull", pulled, Target(2)),
)
