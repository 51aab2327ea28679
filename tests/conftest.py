"""What holds for all tests: their fixtures, the marker of those that need real parts, and what the summary says."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.parts import tools

# So that a failed assert in a helper shows its values, as one in a test does.
pytest.register_assert_rewrite(
    "tests.clients", "tests.conformance", "tests.deploy", "tests.fleet", "tests.parts.gateway"
)
pytest_plugins = ["tests.parts.fixtures"]

# A test is slow where its machine is busy, which says nothing about the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

_TESTS = Path(__file__).parent
_PART_DIRECTORIES = {"clients", "conformance", "deploy", "terraform"}
_PART_FIXTURES = ("_server", "linearizable", "promlint")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of the tests that `scripts/test --no-parts` deselects."""
    config.addinivalue_line("markers", "parts: needs a real server or client, which scripts/tools installs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real parts by where it lies and by its fixtures, which are called so, so that no test can forget to."""
    for item in items:
        directory = item.path.relative_to(_TESTS).parts[0]
        fixtures: list[str] = getattr(item, "fixturenames", [])
        if directory in _PART_DIRECTORIES or any(name.endswith(_PART_FIXTURES) for name in fixtures):
            item.add_marker(pytest.mark.parts)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of xdist has used, which tests.parts.fixtures hands over."""
    tools.used.update(getattr(node, "workeroutput", {}).get("tools", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which real parts ran, in which version, and the figures that tests gave to `record_property`."""
    terminalreporter.section("real parts")
    for name, version in sorted(tools.used.items()):
        terminalreporter.line(f"{name}: {version}")
    if not tools.used:
        terminalreporter.line("none")
    figures = [figure for report in terminalreporter.getreports("passed") for figure in report.user_properties]
    if figures:
        terminalreporter.section("figures")
        for name, value in _added_up(figures):
            terminalreporter.line(f"{name}: {value}")


def _added_up(figures: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Figures by name; those called `sum of` something are added up over all tests."""
    sums, others = Counter[str](), []
    for name, value in figures:
        if name.startswith("sum of "):
            sums[name.removeprefix("sum of ")] += value
        else:
            others.append((name, value))
    return sorted([*others, *sums.items()])
