"""Reads what the official conformance suite reports, and judges it more strictly than the suite does itself.

The suite exits 0 on tests that it skipped and on a configuration that it could not read. So all of this is required: the
final line, the exact number of passed tests and no others, and a Pass for each API and each kind of data.
"""

import re
from dataclasses import dataclass
from pathlib import Path

# What this version of the suite reports on.
APIS = 28
DATA = 24
SPARSE = "Sparse Manifests"


@dataclass(frozen=True, slots=True)
class Results:
    """`counts` of tests by status; the status of each API and kind of data, by name."""

    verdict: str
    counts: dict[str, int]
    apis: dict[str, str]
    data: dict[str, str]


def read_results(printed: str, file: Path) -> Results:
    """Parse what the suite printed and its results.yaml."""
    verdict = re.search(r"^OCI Conformance Result: (\w+)$((?:\n  \w+\.+: +\d+$)*)", printed, re.MULTILINE)
    assert verdict is not None, f"the conformance suite did not run to its end:\n{printed[-2000:]}"
    counts = {status: int(count) for status, count in re.findall(r"(\w+)\.+: +(\d+)", verdict[2])}
    text = file.read_text()
    return Results(verdict[1], counts, _section(text, "apis"), _section(text, "data"))


def complaints(results: Results, *, passed: int, sparse: bool) -> list[str]:
    """All that is wrong, in sentences; none if all `passed` tests and nothing else ran, and everything passed."""
    wanted = {"Pass": passed, "Total": passed, "Disabled": 0, "Skip": 0, "FAIL": 0, "Error": 0}
    data = dict(results.data)
    # The suite leaves this one out unless told otherwise, since a registry may refuse such manifests.
    if not sparse and data.get(SPARSE) == "Disabled":
        data[SPARSE] = "Pass"
    found = [f"The result is {results.verdict}."] if results.verdict != "Pass" else []
    found += [
        f"{results.counts.get(status)} tests are {status}, not {n}."
        for status, n in wanted.items()
        if results.counts.get(status) != n
    ]
    found += [f"{name} is {status}." for name, status in (results.apis | data).items() if status != "Pass"]
    found += [f"{len(results.apis)} APIs were reported on, not {APIS}."] if len(results.apis) != APIS else []
    found += [f"{len(data)} kinds of data were reported on, not {DATA}."] if len(data) != DATA else []
    return found


def _section(text: str, name: str) -> dict[str, str]:
    """A top-level mapping of plain strings: all that is needed of YAML here."""
    section = re.search(rf"^{name}:\n((?:  .+\n?)*)", text, re.MULTILINE)
    assert section is not None, f"results.yaml has no {name}:\n{text}"
    return dict(re.findall(r"^  ([^:]+): (\S+)$", section[1], re.MULTILINE))
