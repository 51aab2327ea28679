"""Podman pushes and pulls."""

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.commands import Commands
from tests.clients.images import Image, digest_of
from tests.clients.manifests import fetch_manifest
from tests.parts.gateway import Gateway
from tests.parts.tools import tool


class Podman:
    """Podman, with its images in a directory of the test. `runroot` may have 50 characters at most."""

    def __init__(self, commands: Commands, runroot: Path) -> None:
        self._commands = commands
        self._runroot = runroot

    def run(self, command: str, *arguments: str | Path) -> None:
        """Run a podman command to the end."""
        self._commands.run(*self._podman, *command.split(), *arguments)

    def read(self, command: str, *arguments: str | Path) -> str:
        """Run a podman command for its output."""
        return self._commands.read(*self._podman, *command.split(), *arguments)

    @property
    def _podman(self) -> list[str | Path]:
        home = self._commands.home
        places: list[str | Path] = ["--root", home / "root", "--runroot", self._runroot, "--tmpdir", home / "tmp"]
        return [
            tool("podman"),
            *places,
            *["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"],
        ]


@pytest.fixture
def podman(commands: Commands) -> Iterator[Podman]:
    """Podman without any image."""
    with tempfile.TemporaryDirectory() as runroot:
        yield Podman(commands, Path(runroot))


def test_podman_round_trip(registry: Gateway, image: Image, podman: Podman, commands: Commands) -> None:
    """What podman pushes it pulls back by tag and by digest, byte for byte, once its own copy is gone."""
    name = f"{registry.host}/team/podman:1"
    podman.run("pull --quiet", f"oci:{image.directory}")
    podman.run("push --tls-verify=false --digestfile digest", image.image_id, name)
    pushed = (commands.home / "digest").read_text()
    assert digest_of(fetch_manifest(registry, "team/podman", "1")) == pushed

    for reference in (name, f"{registry.host}/team/podman@{pushed}"):
        podman.run("rmi --all --force")
        podman.run("pull --quiet --tls-verify=false", reference)
        assert podman.read("image inspect --format {{.Id}}", reference) == image.image_id.removeprefix("sha256:")
        assert podman.read("image inspect --format {{.Digest}}", reference) == pushed

    root = Path(podman.read("image mount", reference))
    assert hashlib.sha256((root / "payload/0").read_bytes()).hexdigest() == image.payload
    podman.run("image unmount", reference)
