"""Runs the clients as a user would, but with a home of their own: no credentials, no settings of this machine."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 180.0
_KEPT = ("PATH", "TMPDIR", "LANG")


@dataclass(frozen=True, slots=True)
class Commands:
    """Runs commands in `home`, which is also their working directory; none may take longer than `timeout`, in seconds."""

    home: Path
    timeout: float = TIMEOUT

    def run(self, *command: str | Path) -> str:
        """Run to the end and return all that was said, errors after output. A failure is an AssertionError that shows it."""
        done = self._done(command)
        return done.stdout + done.stderr

    def read(self, *command: str | Path) -> str:
        """As `run`, but return the output alone, stripped: warnings are not part of an answer."""
        return self._done(command).stdout.strip()

    def environment(self) -> dict[str, str]:
        """The whole environment that the commands get."""
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return kept | {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
        }

    def _done(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=self.timeout,
            check=False,
        )
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == 0, f"{' '.join(map(str, command))} ended with status {done.returncode}:\n{said}"
        return done
