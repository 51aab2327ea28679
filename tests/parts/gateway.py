"""A gateway as users run it: `moorage serve` in processes of its own, on a free port of this machine."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import psutil

from tests.parts.servers import free_ports

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 60.0
STOP_WITHIN = 30.0
_POLL = 0.05


class Gateway:
    """One `moorage serve`: a context manager that starts it, waits until it is ready, and ends it.

    `store` is what --store takes and `settings` further environment variables; of this process's own environment, AWS_* and
    MOORAGE_* are left out, and it does not delay its end. What the gateway prints goes to `directory`/gateway.log, and it runs in `directory`.
    """

    def __init__(
        self,
        directory: Path,
        store: str,
        *,
        settings: Mapping[str, str] | None = None,
        workers: int = 1,
        arguments: Sequence[str] = (),
    ) -> None:
        self.directory = directory
        self.store = store
        self.settings = dict(settings or {})
        self.workers = workers
        self.arguments = tuple(arguments)
        self.log = directory / "gateway.log"
        with free_ports(1) as (self.port,):
            pass
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        """What image names begin with: 127.0.0.1:PORT."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The gateway's root, without a final slash."""
        return f"http://{self.host}"

    @property
    def pid(self) -> int:
        """The process that was started; its workers are its children."""
        return self._running().pid

    def start(self) -> Self:
        """Start, and return once GET /readyz answers 200. A gateway that ends before is an AssertionError with its log."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.directory,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        return self

    def signal(self, number: int) -> None:
        """Send a signal to the process that was started."""
        self._running().send_signal(number)

    def wait(self, seconds: float = STOP_WITHIN) -> int:
        """The exit status, once it has ended by itself or by a signal; kill it and raise if that takes too long."""
        try:
            return self._running().wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the gateway was there {seconds} s later:\n{self.tail()}") from None
        finally:
            self.kill()

    def stop(self) -> int:
        """End by SIGTERM, as a container's runtime does, and return the exit status; kill it and raise if it takes too long."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it and its workers by SIGKILL, as a power cut would. Idempotent."""
        if self._process is None:
            return
        # It was started as the leader of a process group of its own.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def peak_rss(self) -> int:
        """The most memory that it and its children of now ever held, in bytes, each process at its own peak."""
        parent = psutil.Process(self.pid)
        return sum(_peak_rss(process.pid) for process in [parent, *parent.children(recursive=True)])

    def tail(self, lines: int = 40) -> str:
        """The end of the log, for messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None:
            self.stop()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the gateway was not started, or was stopped"
        return self._process

    def _command(self) -> list[str]:
        listen = ["--listen", self.host, "--workers", str(self.workers)]
        return [sys.executable, "-m", "gateway.cli", "serve", "--store", self.store, *listen, *self.arguments]

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOORAGE_"))}
        return (
            inherited
            | {"PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true", "MOORAGE_DRAIN_DELAY": "0s"}
            | self.settings
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN
        while not self._ready():
            status = self._running().poll()
            assert status is None, f"the gateway ended with status {status} before it was ready:\n{self.tail()}"
            assert time.monotonic() < deadline, f"the gateway was not ready within {READY_WITHIN} s:\n{self.tail()}"
            time.sleep(_POLL)

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=10).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def _peak_rss(pid: int) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
