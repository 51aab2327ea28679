"""A private Docker daemon: its own socket, data and process; no bridge, no firewall rules."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.commands import Commands
from tests.parts.servers import running, wait_until
from tests.parts.tools import tool

BUILT_WITHIN = 600.0  # seconds, for an image of many files on a machine that is busy


@dataclass(frozen=True, slots=True)
class Docker:
    """The Docker client, talking to that daemon."""

    commands: Commands
    socket: Path

    def run(self, *arguments: str | Path) -> str:
        """Run `docker` with `arguments`; see Commands.run."""
        return self.commands.run(*self._docker, *arguments)

    def read(self, *arguments: str | Path) -> str:
        """Run `docker` with `arguments`; see Commands.read."""
        return self.commands.read(*self._docker, *arguments)

    @property
    def _docker(self) -> list[str | Path]:
        return [tool("docker"), "--host", f"unix://{self.socket}"]


@contextmanager
def running_dockerd(directory: Path, driver: str | None = "vfs") -> Iterator[Docker]:
    """Run dockerd while the block runs. The vfs driver works on every file system, but is slow on large images: None takes the best."""
    docker = Docker(Commands(directory, BUILT_WITHIN), directory / "docker.sock")
    log = directory / "dockerd.log"
    command: list[str | Path] = [
        tool("dockerd"), "--host", f"unix://{docker.socket}", "--pidfile", directory / "dockerd.pid",
        "--data-root", directory / "data", "--exec-root", directory / "exec", *(["--storage-driver", driver] if driver else []),
        "--iptables=false", "--ip6tables=false", "--ip-masq=false", "--bridge=none",
        "--insecure-registry", "127.0.0.0/8",
    ]  # fmt: skip
    with running(command, log, environment=docker.commands.environment()) as process:
        wait_until(process, log, lambda: _answers(docker))
        yield docker
    _unmount(directory)


def _unmount(directory: Path) -> None:
    """Take away what the daemon leaves mounted, such as the network namespace that `--network host` stands for."""
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for path in mounted:
        if Path(path).is_relative_to(directory):
            subprocess.run(["umount", path], check=True, timeout=60)


def _answers(docker: Docker) -> bool:
    try:
        docker.run("info")
    except AssertionError:
        return False
    return True
