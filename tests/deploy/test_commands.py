"""The commands that README and docs show, run as they stand there but for the gateway's address."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.daemon import Docker
from tests.clients.images import Image, write_docker_archive
from tests.documents import block
from tests.parts.gateway import ROOT, Gateway

pytestmark = pytest.mark.xdist_group("docker")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """Over a store in a directory."""
    with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as started:
        yield started


@pytest.mark.parametrize("page", ["README.md", "docs/deploy.md"])
def test_pushing_and_pulling(page: str, gateway: Gateway, dockerd: Docker, image: Image, tmp_path: Path) -> None:
    """Docker does as the page says, with any image that is called alpine."""
    write_docker_archive(image, tmp_path / "alpine.tar", "alpine:latest")
    dockerd.run("load", "--input", tmp_path / "alpine.tar")
    digest = ""
    commands = block(page, "push").commands()
    assert len(commands) >= 3
    for command in commands:
        program, *arguments = shlex.split(command.replace("127.0.0.1:5000", gateway.host).replace("sha256:…", digest))
        assert program == "docker"
        said = dockerd.run(*arguments)
        pushed = re.search(r"digest: (sha256:[0-9a-f]{64})", said)
        digest = pushed[1] if pushed else digest
    assert digest
    dockerd.run("image", "rm", "--force", image.image_id)


def test_collecting(gateway: Gateway) -> None:
    """The commands run beside a gateway that serves; there is nothing to bring back yet, which the last one says."""
    environment = {"PYTHONPATH": str(ROOT), "MOORAGE_STORE": gateway.store, "PATH": "/usr/bin:/bin"}
    statuses = []
    for command in block("README.md", "garbage").commands():
        program, *arguments = shlex.split(command)
        assert program == "moorage"
        done = subprocess.run(
            [sys.executable, "-m", "gateway.cli", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        statuses.append(done.returncode)
        assert "Traceback" not in done.stderr
    assert statuses == [0, 0, 1]
