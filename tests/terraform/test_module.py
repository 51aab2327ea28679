"""The module and its examples, offline: formatted, valid, and what `terraform test` finds with a provider that creates nothing."""

from pathlib import Path

import pytest

from tests.terraform.commands import MODULE, Terraform, copied


def test_all_is_formatted() -> None:
    """`terraform fmt` MUST change nothing."""
    assert Terraform(MODULE).run("fmt", "-check", "-recursive", "-diff") == ""


@pytest.mark.parametrize("directory", ["examples/localstack", "examples/minio"])
def test_an_example_is_valid(tmp_path: Path, directory: str) -> None:
    """`terraform validate` MUST find nothing; what these examples do, tests.terraform.test_lifecycle sees."""
    terraform = copied(tmp_path, directory)
    terraform.init()
    terraform.run("validate", "-no-color")


@pytest.mark.parametrize("directory", ["", "examples/aws-ecs"])
def test_what_is_tested_in_terraform(tmp_path: Path, directory: str) -> None:
    """The tests beside the module and the example on AWS MUST pass, and run something."""
    terraform = copied(tmp_path, directory)
    terraform.init()
    terraform.run("validate", "-no-color")
    said = terraform.run("test", "-no-color")
    passed = sum(line.endswith("... pass") for line in said.splitlines() if line.lstrip().startswith("run "))
    assert passed == sum(file.read_text("utf-8").count('\nrun "') for file in (terraform.directory / "tests").iterdir())


def test_a_bad_value_is_refused_by_name(tmp_path: Path) -> None:
    """Whoever gives a variable that cannot be reads one sentence that names it and its value."""
    terraform = copied(tmp_path)
    terraform.init()
    status, said = terraform.status("plan", "-no-color", "-input=false", "-var=bucket=Registry")
    assert status == 1
    assert "bucket: 'Registry' is no name for a bucket: 3 to 63 lower-case" in " ".join(said.split())
