"""Writes the first table of docs/compatibility.md out of a run: `python -m tests.compatibility`, from the root of the tree.

It runs the contract suite and the conformance suite over every store, which takes some minutes, and writes nothing unless all passed.
In every other run tests.contract.test_probe holds the first columns of the page to what it finds.
"""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Generator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from pluggy import Result

from storage.objects.contract import Capabilities
from tests.parts import tools
from tests.parts.stores import STORES

PAGE = Path(__file__).parents[1] / "docs" / "compatibility.md"
RUN = ["tests/contract", "tests/conformance/test_conformance.py", "-k", "not sparse and not the_page", "-q"]
BEGIN, END = "<!-- out of a run: begin -->\n", "<!-- out of a run: end -->\n"
COLUMNS = (
    "store", "version", "create if absent", "replace if unchanged", "delete if unchanged", "lists in byte order", "presigned URLs",
    "copies parts", "checks CRC32C", "races with one winner", "contract tests", "conformance", "notes",
)  # fmt: skip
# The stores of this process, which need no server: their titles, and what their users should know.
LOCAL = {
    "embedded": ("embedded", "the default: a directory of this machine"),
    "memory": ("in memory", "for tests"),
}
_VERSION = re.compile(r"(?:@v?|==| )(\d[^\s,]*)")
_PLAYED = re.compile(r"(\d+) of (\d+)")


def version(name: str) -> str:
    """The version of a store, as short as people call it."""
    if name not in STORES:
        return "this one"
    known = tools.version(STORES[name].tool)
    found = _VERSION.search(known)
    return found[1] if found else known


def found_row(name: str, found: Capabilities) -> str:
    """The columns that every run can tell: who it is, in which version, and what the probe found."""
    title = LOCAL[name][0] if name in LOCAL else STORES[name].title
    return "| " + " | ".join([title, version(name), *("yes" if can else "no" for can in asdict(found).values())]) + " |"


def told(found: Capabilities) -> str:
    """The names of the capabilities that a store has, as tests put them on record."""
    return " ".join(name for name, can in asdict(found).items() if can)


def parsed(text: str) -> Capabilities:
    """What `told` has told."""
    return Capabilities(**{field.name: field.name in text.split() for field in fields(Capabilities)})


class Collected:
    """A plugin of pytest that remembers, by store, what the page tells."""

    def __init__(self) -> None:
        self.contract: Counter[str] = Counter()
        self.conformance: dict[str, list[str]] = defaultdict(list)
        self.races: dict[str, Counter[str]] = defaultdict(Counter)
        self.capabilities: dict[str, Capabilities] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Function) -> Generator[None, Result[pytest.TestReport], None]:
        """Take over a test that has passed."""
        report = (yield).get_result()
        if report.when != "call" or not report.passed or not hasattr(item, "callspec"):
            return
        parameters: dict[str, Any] = item.callspec.params
        if "server" in parameters:
            name = parameters["server"] or "embedded"
            self.conformance[name] += [str(value) for _, value in report.user_properties]
        elif name := parameters.get("backend") or parameters.get("real"):
            self.contract[name] += 1
            self._figures(name, dict(report.user_properties))

    def _figures(self, name: str, figures: dict[str, object]) -> None:
        for what, value in figures.items():
            if what.startswith("races with one winner") and (played := _PLAYED.fullmatch(str(value))):
                self.races[name].update(won=int(played[1]), played=int(played[2]))
            elif what.startswith("capabilities"):
                self.capabilities[name] = parsed(str(value))

    def row(self, name: str) -> str:
        """The whole row of a store."""
        races = self.races[name]
        notes = LOCAL[name][1] if name in LOCAL else STORES[name].notes
        last = [
            f"{races['won']} of {races['played']}",
            f"{self.contract[name]} passed",
            ", ".join(sorted(set(map(str, self.conformance[name])))) or "not run",
            notes,
        ]
        return found_row(name, self.capabilities[name]) + " " + " | ".join(last) + " |"

    def table(self) -> str:
        """The rows of all stores, under their heading."""
        heading = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
        return "\n".join([*heading, *(self.row(name) for name in [*LOCAL, *STORES])]) + "\n"


def main() -> int:
    """Run, and write the page."""
    collected = Collected()
    status = pytest.main(RUN, plugins=[collected])
    if status == pytest.ExitCode.OK:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{collected.table()}\n{END}{rest.partition(END)[2]}", "utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
