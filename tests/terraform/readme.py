"""Writes the tables of terraform/README.md out of the module: `python -m tests.terraform.readme`, from the root of the tree."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2

from tests.terraform.commands import MODULE

PAGE = MODULE / "README.md"
_MARKS = "<!-- {name}: begin -->\n", "<!-- {name}: end -->\n"

Block = dict[str, Any]


def blocks(file: Path, kind: str) -> dict[str, Block]:
    """The blocks of a kind in a file of HCL, by their label."""
    with file.open(encoding="utf-8") as text:
        found = hcl2.load(text).get(kind, [])
    return {_text(label): block for each in found for label, block in each.items()}


def section(page: str, name: str) -> str:
    """What stands between the marks of a part of the page that is generated."""
    begin, end = (mark.format(name=name) for mark in _MARKS)
    return page.partition(begin)[2].partition(end)[0].strip() + "\n"


def replaced(page: str, name: str, content: str) -> str:
    """The page with another such part."""
    begin, end = (mark.format(name=name) for mark in _MARKS)
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{content}\n{end}{rest.partition(end)[2]}"


def tables() -> dict[str, str]:
    """Each generated part that follows from the module's files alone, by its name."""
    return {
        "inputs": _table(("name", "type", "default", "description"), _inputs()),
        "outputs": _table(("name", "sensitive", "description"), _outputs()),
    }


def _inputs() -> Iterator[tuple[str, ...]]:
    for name, block in blocks(MODULE / "variables.tf", "variable").items():
        kind = _text(block["type"]).removeprefix("${").removesuffix("}")
        default = f"`{_written(block['default'])}`" if "default" in block else "required"
        yield f"`{name}`", f"`{kind}`", default, _text(block["description"])


def _outputs() -> Iterator[tuple[str, ...]]:
    for name, block in blocks(MODULE / "outputs.tf", "output").items():
        yield f"`{name}`", "yes" if block.get("sensitive") else "no", _text(block["description"])


def _table(heading: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _written(default: Any) -> str:
    """A default as HCL has it."""
    return default if isinstance(default, str) else json.dumps(default)


def _text(quoted: str) -> str:
    """What the parser gives as it stands in the file, without its quotes."""
    return re.sub(r'^"(.*)"$', r"\1", quoted, flags=re.DOTALL).replace('\\"', '"')


def main() -> None:
    """Write the page."""
    page = PAGE.read_text("utf-8")
    for name, table in tables().items():
        page = replaced(page, name, table)
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
