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


def test_collecting_from_cron(gateway: Gateway, tmp_path: Path) -> None:
    """The line's command MUST find program and settings with the little that cron gives it, and write to the log alone."""
    (line,) = block("docs/collection.md", "cron").commands()
    *_, user, command = line.split(maxsplit=6)
    assert user == "root"
    assert "%" not in command  # which cron takes for a newline
    settings, moorage = tmp_path / "environment", tmp_path / "moorage"
    settings.write_text(f"MOORAGE_STORE={gateway.store}\nMOORAGE_LOG_FORMAT=json\n")
    _program(moorage, f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m gateway.cli "$@"')
    _program(tmp_path / "setpriv", 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    _program(tmp_path / "logger", f'cat >"{tmp_path}/journal"')
    command = command.replace("/etc/moorage/environment", str(settings)).replace(
        "/opt/moorage/bin/moorage", str(moorage)
    )
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": "/root", "SHELL": "/bin/sh"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout + done.stderr == ""
    assert (tmp_path / "journal").read_text() == "nothing to remove\n"


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
