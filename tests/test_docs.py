"""The documentation names everything that there is, and follows the code."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from gateway import errors
from gateway.app import _routes
from gateway.cli import main
from gateway.doctor import NAMES
from gateway.health import Readiness
from gateway.scraping import Scraping
from storage import layout
from storage.objects.checkup import COSTS
from storage.objects.contract import Capabilities

ROOT = Path(__file__).parents[1]


def _doc(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def test_every_setting_is_documented() -> None:
    """docs/settings.md MUST hold what `moorage settings` prints, to the letter."""
    table = CliRunner().invoke(main, ["settings"]).output
    assert table.count("\n") > 5
    assert table in _doc("settings.md")


def test_every_capability_is_documented() -> None:
    """docs/doctor.md MUST have a row for each thing that the doctor looks for, with what its absence costs, and no other row."""
    rows = re.findall(r"^\| ([^|]+) \| `(\w+)` \| [^|]+ \| ([^|]+) \|$", _doc("doctor.md"), re.MULTILINE)
    assert rows == [(NAMES[name], name, cost) for name, cost in COSTS.items()]
    assert {field.name for field in fields(Capabilities)} <= set(COSTS)


def test_every_key_is_documented() -> None:
    """Every pattern that the layout's docstring draws MUST be in docs/layout.md."""
    assert layout.__doc__
    patterns = re.findall(r"^    ([a-z<]\S+) {2,}", layout.__doc__, re.MULTILINE)
    assert len(patterns) >= 15
    assert [pattern for pattern in patterns if f"| `{pattern}` |" not in _doc("layout.md")] == []


def test_every_route_is_documented() -> None:
    """Every path that is served MUST be in docs/protocol.md."""
    paths = {route.path.replace(":path", "") for route in _routes(Readiness(lambda: 0.0), Scraping(bytes))} - {"/v2"}
    assert [path for path in sorted(paths) if f"`{path}`" not in _doc("protocol.md")] == []


def test_every_error_code_is_documented() -> None:
    """Every code with its status MUST be in docs/protocol.md."""
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([0-9, ]+) \|", _doc("protocol.md"), re.MULTILINE))
    codes = [*errors.TABLE.values(), *errors.HTTP_CODES.items(), *errors.REFUSALS.items()]
    assert [(status, code) for status, code in codes if str(status) not in rows.get(code, "")] == []


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
        *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "terraform").rglob("README.md"))),
    ],
)
def test_links_lead_somewhere(page: str) -> None:
    """A relative link in a page MUST lead to a file that is there."""
    file = ROOT / page
    targets = re.findall(r"\]\(([^)#:]+)\)", file.read_text("utf-8"))
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_what_prometheus_is_told_exists() -> None:
    """The configuration and the alerts in docs/observability.md MUST be YAML, and MUST ask for metrics that there are."""
    page = _doc("observability.md")
    scraping, alerting = (yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL))
    assert scraping["scrape_configs"][0]["static_configs"]
    rules = alerting["groups"][0]["rules"]
    assert len(rules) >= 5
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    for rule in rules:
        used = {name.removesuffix("_bucket") for name in re.findall(r"\b(?:moorage|process)_\w+", rule["expr"])}
        assert used <= documented, rule["alert"]
        assert used or "up{" in rule["expr"]
