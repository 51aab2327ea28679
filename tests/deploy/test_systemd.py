"""The systemd unit: no line that systemd does not know, and little that the service may do."""

import re
import shutil
import subprocess
from pathlib import Path

from gateway.pulls import LAST
from gateway.schedule import ENDS_WITHIN
from gateway.serving import CLEAN_UP
from gateway.settings import Settings
from tests.documents import block
from tests.parts.gateway import ROOT
from tests.parts.tools import tool

UNIT = ROOT / "deploy" / "moorage.service"
PAGE = ROOT / "docs" / "deploy.md"
# Of 100, where systemd calls up to 49 OK. What is left is what a gateway needs: sockets of the Internet, and limits of its own to raise.
EXPOSURE = 15


def test_systemd_knows_every_line(tmp_path: Path) -> None:
    """In a root file system with systemd's own units and the command, `verify` MUST find nothing to say."""
    units, command = tmp_path / "etc/systemd/system", tmp_path / "opt/moorage/bin/moorage"
    for directory in (units, command.parent, tmp_path / "usr/lib/systemd"):
        directory.mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    shutil.copytree("/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    command.touch(0o755)
    shutil.copy(UNIT, units)
    assert _analyze("verify", f"--root={tmp_path}", UNIT.name) == ""


def test_the_exposure_is_small() -> None:
    """`security` MUST rate it no higher than EXPOSURE."""
    assert "Overall exposure level for moorage.service" in _analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE}", UNIT
    )


def test_there_is_time_to_drain() -> None:
    """In all that docs/deploy.md starts, SIGKILL MUST NOT come before what SIGTERM begins is over, with the default settings."""
    takes = Settings().drain_delay + Settings().shutdown_grace + CLEAN_UP + LAST + ENDS_WITHIN
    assert f"needs {takes:g} s at most" in PAGE.read_text("utf-8")
    given = re.findall(r"(?:TimeoutStopSec=|stop_grace_period: |--stop-timeout |stopTimeout = )(\d+)", _texts())
    assert len(given) == 5
    assert all(int(seconds) >= takes for seconds in given)


def test_an_upgrade_keeps_the_settings(tmp_path: Path) -> None:
    """What docs/deploy.md tells to type makes a file that root alone reads, and MUST leave one that is there alone."""
    settings = tmp_path / "moorage/environment"
    (command,) = [each for each in block("docs/deploy.md", "systemd").commands() if "/etc/moorage/environment" in each]
    command = command.replace("/etc/moorage/environment", str(settings))
    subprocess.run(["/bin/sh", "-c", command], timeout=60, check=True)
    assert settings.read_text() == "MOORAGE_STORE=s3://my-bucket\n"
    assert settings.stat().st_mode & 0o777 == 0o600
    settings.write_text("MOORAGE_STORE=s3://another\n")
    subprocess.run(["/bin/sh", "-c", command], timeout=60, check=True)
    assert settings.read_text() == "MOORAGE_STORE=s3://another\n"


def _texts() -> str:
    files = (
        UNIT,
        PAGE,
        ROOT / "compose.yml",
        ROOT / "localstack-compose.yml",
        ROOT / "terraform/examples/aws-ecs/main.tf",
    )
    return "".join(file.read_text("utf-8") for file in files)


def _analyze(*arguments: str | Path) -> str:
    """What `systemd-analyze` says; it needs no systemd that runs."""
    done = subprocess.run(
        [tool("systemd-analyze"), "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
