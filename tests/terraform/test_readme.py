"""terraform/README.md follows the module, and the module's refusals name what they refuse."""

from collections import Counter

import pytest

from tests.terraform.commands import MODULE
from tests.terraform.readme import PAGE, blocks, section, tables


@pytest.mark.parametrize("name", ["inputs", "outputs"])
def test_the_tables_are_those_of_the_module(name: str) -> None:
    """README.md MUST hold what `python -m tests.terraform.readme` writes."""
    table = tables()[name]
    assert table.count("\n") > 10
    assert section(PAGE.read_text("utf-8"), name) == table


@pytest.mark.parametrize("directory", ["", "examples/aws-ecs"])
def test_each_refusal_names_its_variable_and_is_tried(directory: str) -> None:
    """Every error message MUST begin with the variable's name, and `terraform test` MUST expect as many failures as there are validations."""
    validations = {
        name: [each["error_message"] for each in block.get("validation", [])]
        for name, block in blocks(MODULE / directory / "variables.tf", "variable").items()
    }
    messages = [(name, message) for name, each in validations.items() for message in each]
    assert messages
    assert [
        message for name, message in messages if not message.startswith((f'"{name}:', f'"{name}.', f'"{name} '))
    ] == []
    expected = Counter(
        failure.removeprefix("${var.").removesuffix("}")
        for file in (MODULE / directory / "tests").glob("*.tftest.hcl")
        for run in blocks(file, "run").values()
        for failure in run.get("expect_failures", [])
    )
    assert {name: len(each) for name, each in validations.items() if expected[name] < len(each)} == {}


def test_every_variable_is_described() -> None:
    """A variable and an output of the module and its examples MUST say what they are."""
    described = [
        (file, name)
        for file in MODULE.rglob("*.tf")
        for kind in ("variable", "output")
        for name, block in blocks(file, kind).items()
        if not block.get("description")
    ]
    assert described == []
