"""Runs Terraform, offline and with nothing of this machine's settings, in a copy of terraform/."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.parts.tools import used

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "terraform"
TIMEOUT = 600.0
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG")
# …/HOST/NAMESPACE/TYPE/VERSION/OS_ARCH/terraform-provider-aws_v5.100.0_x5
_LEVELS = 5
_PROVIDER = "terraform-provider-aws_v5.*"


@dataclass(frozen=True)
class Terraform:
    """Terraform in `directory`; `environment` is added to the little that it gets of this process's own."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str) -> str:
        """Run to the end and return all that was said. A failure is an AssertionError that shows it."""
        status, said = self.status(*arguments)
        assert status == 0, f"terraform {' '.join(arguments)} ended with status {status}:\n{said}"
        return said

    def status(self, *arguments: str) -> tuple[int, str]:
        """Run to the end; the exit status, and all that was said."""
        return self._run([terraform(), *arguments])

    def shell(self, script: str) -> None:
        """Run what a user would type. A failure is an AssertionError that shows it."""
        status, said = self._run(["sh", "-eu", "-c", script])
        assert status == 0, f"{script} ended with status {status}:\n{said}"

    def _run(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return done.returncode, done.stdout

    def _environment(self) -> dict[str, str]:
        own = {"TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
        own["GOGC"] = (
            "400"  # the provider reads its large schema several times a run: a third less time for some more memory
        )
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return kept | own | self.environment

    def init(self) -> None:
        """Install the provider that is on this machine."""
        self.run("init", "-input=false", "-no-color", f"-plugin-dir={plugin_directory()}")

    def outputs(self) -> dict[str, Any]:
        """The values of all outputs, the sensitive ones too."""
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}


def copied(directory: Path, name: str = "") -> Terraform:
    """Terraform in the directory `name` of a copy of the module, below `directory`, not yet initialised."""
    ignored = shutil.ignore_patterns(".terraform*", "*.tfstate*")
    shutil.copytree(MODULE, directory / "terraform", ignore=ignored)
    return Terraform(directory / "terraform" / name)


@cache
def terraform() -> str:
    """The command; fails the test if there is none."""
    found = shutil.which("terraform")
    if found is None:
        pytest.fail("terraform is not in PATH: install Terraform 1.9 or newer.", pytrace=False)
    told = subprocess.run([found, "version", "-json"], capture_output=True, text=True, timeout=TIMEOUT, check=True)
    used["terraform"] = json.loads(told.stdout)["terraform_version"]
    return found


@cache
def plugin_directory() -> Path:
    """Where the AWS provider is, in the layout of a mirror; fails the test if it is not on this machine, for nothing is downloaded."""
    for root in (Path.home(), Path("/")):
        command = ["find", str(root), "-xdev", "-maxdepth", "9", "-name", _PROVIDER, "-not", "-path", "*/.terraform/*"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False).stdout
        for line in said.splitlines():
            provider = Path(line)
            if provider.parts[-1 - _LEVELS : -3] == ("registry.terraform.io", "hashicorp", "aws"):
                used["terraform-provider-aws"] = provider.parts[-3]
                return provider.parents[_LEVELS]
    pytest.fail(
        "The AWS provider is not on this machine: put version 5.100.0 of registry.terraform.io/hashicorp/aws into a directory of"
        " plugins, as `terraform providers mirror DIRECTORY` does.",
        pytrace=False,
    )
