"""The scripts find their tree, their environment and a Python, from wherever they are called; with a Python that only notes what it is told."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import ROOT

# Stands for python3 and, in an environment, for its python, pip and moorage.
NOTING = """#!/bin/sh
echo "$*" >>"{log}"
if [ "$1 $2" = "-m venv" ]; then
    rm -rf "$4"
    mkdir -p "$4/bin"
    for name in python moorage; do cp "$0" "$4/bin/$name"; done
    echo "#!$4/bin/python3" >"$4/bin/pip"
fi
"""
# Stands for a python3 of that version.
VERSIONED = """#!/bin/sh
exec "{python}" -c 'import sys; sys.version_info = (3, {minor}, 0, "final", 0); exec(sys.argv[1])' "$2"
"""


class Tree:
    """A tree with the scripts, at `path`, and what their Python was told."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "tree"
        self._log = directory / "log"
        self._python = _command(directory / "python", NOTING.format(log=self._log))
        shutil.copytree(ROOT / "scripts", self.path / "scripts")
        for name in ("pyproject.toml", "requirements.lock"):
            shutil.copy(ROOT / name, self.path)

    def run(self, script: str, *, cwd: Path, **environment: str) -> str:
        """What the script says, called in `cwd`."""
        own = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHON": str(self._python)}
        return subprocess.run(
            [script], cwd=cwd, env=own | environment, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    def told(self) -> str:
        """What the Python was told since the last time."""
        told = self._log.read_text()
        self._log.unlink()
        return told


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """One that nothing was installed into."""
    return Tree(tmp_path)


def test_a_tree_that_was_moved_gets_another_environment(tree: Tree, tmp_path: Path) -> None:
    """The old one's scripts name a Python that is gone, so that all MUST be installed again; and only then."""
    tree.run("scripts/install", cwd=tree.path)
    assert "-m venv" in tree.told()
    tree.run("scripts/install", cwd=tree.path)
    assert "install" not in tree.told()
    moved = tree.path.rename(tmp_path / "moved")
    tree.run("scripts/install", cwd=moved)
    told = tree.told()
    assert f"-m venv --clear {moved}/.venv" in told
    assert "--requirement requirements.lock" in told
    assert "--editable ." in told


def test_an_environment_elsewhere_follows_the_tree(tree: Tree, tmp_path: Path) -> None:
    """What is installed editable MUST be the tree that asks for it."""
    environment = str(tmp_path / "environment")
    tree.run("scripts/install", cwd=tree.path, VENV=environment)
    tree.told()
    tree.run("scripts/install", cwd=tree.path.rename(tmp_path / "moved"), VENV=environment)
    told = tree.told()
    assert "-m venv" not in told
    assert "--editable ." in told


@pytest.mark.parametrize("script", ["scripts/install", "scripts/serve"])
def test_a_relative_environment_is_the_callers(tree: Tree, tmp_path: Path, script: str) -> None:
    """VENV from another directory MUST lead there, and not be made anew each time."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    tree.run(f"../tree/{script}", cwd=elsewhere, VENV="../environment")
    assert (tmp_path / "environment/bin/python").exists()
    assert f"-m venv --clear {tmp_path}/environment\n" in tree.told()
    tree.run(f"../tree/{script}", cwd=elsewhere, VENV="../environment")
    assert "-m venv" not in tree.told()


@pytest.mark.parametrize("script", ["scripts/install", "scripts/serve"])
def test_cdpath_leads_nowhere_else(tree: Tree, tmp_path: Path, script: str) -> None:
    """Where the caller exports CDPATH, a script MUST go to its own tree, and print no directory."""
    (tmp_path / "other/tree/scripts").mkdir(parents=True)
    assert tree.run(f"tree/{script}", cwd=tmp_path, CDPATH=str(tmp_path / "other")) == ""
    assert (tree.path / ".venv/bin/python").exists()


def test_no_script_heeds_cdpath() -> None:
    """Each `cd` of a script MUST be without it."""
    lines = [line for file in (ROOT / "scripts").iterdir() for line in file.read_text("utf-8").splitlines()]
    assert [line for line in lines if 'cd "' in line and 'CDPATH= cd "' not in line] == []


@pytest.mark.parametrize(
    ("versions", "given", "found"),
    [
        ({"python3": 12, "python3.13": 13}, "", "python3"),
        ({"python3": 15, "python3.14": 14, "python3.13": 13}, "", "python3.14"),
        ({"python3": 9, "python3.11": 11}, "", "python3.11"),
        ({"python3": 15}, "", "python3"),
        ({"python3": 12, "mine": 15}, "mine", "mine"),
        ({"python3": 12, "mine": 9}, "mine", "python3"),
    ],
)
def test_the_python_that_is_found(tmp_path: Path, versions: dict[str, int], given: str, found: str) -> None:
    """PYTHON if it will do, else one that the locked wheels are for, else a newer one."""
    assert _find_python(tmp_path, versions, given) == (0, found, "")


def test_no_python_is_found(tmp_path: Path) -> None:
    """A sentence MUST name all that were tried."""
    status, _, said = _find_python(tmp_path, {"python3": 9, "mine": 10}, "mine")
    assert status == 1
    assert "neither mine, python3 nor python3.11 to python3.14 is one; set PYTHON to its path." in said


def _find_python(directory: Path, versions: dict[str, int], given: str) -> tuple[int, str, str]:
    """Status, output and errors where PATH has these commands, and PYTHON is `given`."""
    for name, minor in versions.items():
        _command(directory / name, VERSIONED.format(python=sys.executable, minor=minor))
    (directory / "mkdir").symlink_to(shutil.which("mkdir") or "")
    script = f'set -eu; . "{ROOT}/scripts/common.sh"; find_python'
    environment = {"PATH": str(directory), "HOME": str(directory), "VENV": str(directory / "venv"), "PYTHON": given}
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout.strip(), done.stderr


def _command(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path
