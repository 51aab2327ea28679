"""The container image: built by the steps of the Dockerfile, and run by a real Docker daemon as users would.

No base image can be pulled here. A root file system of Debian packages with the same Python stands for it, and an index of the wheels that
requirements.lock names for the package index; the Dockerfile and its hashes are as they are.
"""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.clients.commands import Commands
from tests.clients.daemon import Docker
from tests.clients.images import Image, write_docker_archive
from tests.deploy.dockerfile import Dockerfile
from tests.deploy.index import package_index
from tests.parts.gateway import ROOT, Gateway
from tests.parts.servers import free_ports, wait_for
from tests.parts.tools import BASE, WHEELS, material

MB = 1_000_000
USER = "65532:65532"
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]

# One worker of xdist builds the image, once; the one that has the other daemon, so that the two do not take both cores.
docker = pytest.mark.xdist_group("docker")


@dataclass(frozen=True)
class Built:
    """The image `moorage` in a daemon of its own, and what the daemon knows of it."""

    docker: Docker
    about: dict[str, Any]
    base_size: int


@pytest.fixture(scope="module")
def built(dockerd: Docker) -> Built:
    """The image, built from the Dockerfile as it is."""
    base = re.search(r"^ARG BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert base is not None
    dockerd.run("import", material(BASE), base[1])
    with package_index(material(WHEELS)) as url:
        dockerd.run(
            "build", "--network", "host", "--build-arg", f"PIP_INDEX_URL={url}", "--build-arg", "REVISION=of-tests",
            "--tag", "moorage", ROOT,
        )  # fmt: skip
    return Built(dockerd, _about(dockerd, "image", "moorage"), _about(dockerd, "image", base[1])["Size"])


def test_the_version_is_that_of_the_project() -> None:
    """The label MUST follow pyproject.toml."""
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert f'org.opencontainers.image.version="{version[1]}"' in (ROOT / "Dockerfile").read_text()


@pytest.mark.parametrize(("host", "reached"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")])
def test_the_health_check(tmp_path: Path, host: str, reached: str) -> None:
    """It MUST find the gateway on whatever address that listens, where the greeting says so too, and none once that has ended."""
    gateway = Gateway(tmp_path, "memory:")
    address = f"{host}:{gateway.port}"
    gateway.arguments = ("--listen", address)
    program, *arguments = Dockerfile.read(ROOT / "Dockerfile").healthcheck
    assert program == "python"
    command = [sys.executable, *arguments]
    environment = {"PYTHONPATH": str(ROOT), "MOORAGE_LISTEN": address}
    with gateway:
        assert subprocess.run(command, env=environment, timeout=30, check=False).returncode == 0
        assert f"moorage listens on http://{reached}:{gateway.port} and " in gateway.tail()
    done = subprocess.run(command, env=environment, timeout=30, check=False, capture_output=True, text=True)
    assert (done.returncode, "ConnectionRefusedError" in done.stderr) == (1, True)


@pytest.mark.usefixtures("built")
class TestImage:
    """What the image says of itself, and how it runs."""

    pytestmark = docker

    def test_what_it_says(self, built: Built, record_property: Callable[[str, object], None]) -> None:
        """A numeric user that is not root, moorage as process 1, a health check, and the labels that the OCI specification names."""
        config, read = built.about["Config"], Dockerfile.read(ROOT / "Dockerfile")
        assert config["User"] == USER
        assert (config["Entrypoint"], config["Cmd"]) == (["moorage"], ["serve"]) == (read.entrypoint, read.command)
        assert config["Healthcheck"]["Test"] == ["CMD", *read.healthcheck]
        assert config["Volumes"] == {"/var/lib/moorage": {}}
        labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
        assert set(labels) == {"title", "description", "licenses", "version", "revision"}
        assert labels["revision"] == "of-tests"
        own = built.about["Size"] - built.base_size
        record_property("image", f"{own // MB} MB over a base of {built.base_size // MB} MB, user {config['User']}")
        assert own < 85 * MB

    def test_what_is_in_it(self, built: Built) -> None:
        """The package of this tree, no tool that installs anything, and nothing that its user could change but the store."""
        assert built.docker.read(*_run("--rm", "moorage", "--version")).startswith("moorage, version ")
        find = "import importlib.util as u; print([n for n in ('pip', 'setuptools', 'tests', 'gateway') if u.find_spec(n)])"
        assert built.docker.read(*_run("--rm", "--entrypoint", "python", "moorage", "-c", find)) == "['gateway']"
        find = "find / -xdev -writable -not -type l 2>/dev/null || true"
        said = built.docker.read(*_run("--rm", "--entrypoint", "sh", "moorage", "-c", find))
        assert {"/tmp"} <= set(said.split()) <= {"/tmp", "/var/tmp", "/run/lock", "/var/lib/moorage"}

    @pytest.mark.parametrize(
        ("options", "command"),
        [(["--tmpfs", "/tmp"], []), ([], ["serve", "--workers", "2"])],
        ids=["tmpfs", "no tmpfs"],
    )
    def test_it_serves(
        self, built: Built, image: Image, commands: Commands, options: list[str], command: list[str]
    ) -> None:
        """Read-only and without a capability, it takes a push, gives it back, and ends by SIGTERM with status 0."""
        docker = built.docker
        with free_ports(1) as (port,):
            host = f"127.0.0.1:{port}"
        listen = ["--env", f"MOORAGE_LISTEN={host}", "--health-interval", "1s"]
        container = docker.read(*_run("--detach", *HARDENED, *listen, *options, "moorage", *command, network="host"))
        try:
            wait_for(lambda: _about(docker, "container", container)["State"]["Health"]["Status"] == "healthy")
            assert docker.read("exec", container, "cat", "/proc/1/comm") == "moorage"
            assert docker.read("exec", container, "id", "-u") == USER.partition(":")[0]
            name = f"{host}/team/app:1"
            write_docker_archive(image, commands.home / "image.tar", name)
            docker.run("load", "--input", commands.home / "image.tar")
            docker.run("push", name)
            docker.run("image", "rm", "--force", image.image_id)
            docker.run("pull", name)
            assert _about(docker, "image", name)["Id"] == image.image_id
            docker.run("stop", "--time", "60", container)
            state = _about(docker, "container", container)["State"]
            assert (state["ExitCode"], state["OOMKilled"]) == (0, False), docker.run("logs", container)
        except AssertionError as error:
            error.add_note(docker.run("logs", container))
            raise
        finally:
            docker.run("rm", "--force", "--volumes", container)

    def test_it_stops_while_it_starts(self, built: Built) -> None:
        """SIGTERM MUST end process 1 in order while it still waits for a store that says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            store = {
                "MOORAGE_STORE": "s3://bucket",
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "AWS_ACCESS_KEY_ID": "test",
                "AWS_SECRET_ACCESS_KEY": "test",
                "AWS_REGION": "us-east-1",
            }
            environment = [option for name, value in store.items() for option in ("--env", f"{name}={value}")]
            container = built.docker.read(*_run("--detach", *HARDENED, *environment, "moorage", network="host"))
            silent.settimeout(60)
            with silent.accept()[0]:
                built.docker.run("stop", "--time", "60", container)
        state = _about(built.docker, "container", container)["State"]
        assert state["ExitCode"] == 0, built.docker.run("logs", container)
        built.docker.run("rm", "--volumes", container)


def _run(*arguments: str, network: str = "none") -> list[str]:
    return ["run", "--network", network, *arguments]


def _about(docker: Docker, kind: str, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(docker.read(kind, "inspect", name))
    return found[0]
