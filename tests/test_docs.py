"""The documentation names everything that there is, and follows the code."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import click
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
from tests.documents import ROOT, anchors, blocks, links, pages


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
    paths = {route.template for route in _routes(Readiness(lambda: 0.0), Scraping(bytes))} - {"/v2"}
    assert [path for path in sorted(paths) if f"`{path}`" not in _doc("protocol.md")] == []


def test_every_error_code_is_documented() -> None:
    """Every code with its status MUST be in docs/protocol.md."""
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([0-9, ]+) \|", _doc("protocol.md"), re.MULTILINE))
    codes = [*errors.TABLE.values(), *errors.HTTP_CODES.items(), *errors.REFUSALS.items()]
    assert [(status, code) for status, code in codes if str(status) not in rows.get(code, "")] == []


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """A relative link MUST lead to a file that is there, and its anchor to a heading of it."""
    assert [link for link in links(page) if not _leads_somewhere(page, *link.partition("#")[::2])] == []


def _leads_somewhere(page: Path, target: str, anchor: str) -> bool:
    file = page.parent / target if target else page
    return file.exists() and (not anchor or anchor in anchors(file))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page: Path) -> None:
    """What a page tells people to type MUST be a command of moorage, with the flags that it has, and the tree's files that are there."""
    for command in (each for shown in blocks(page) if shown.language == "sh" for each in shown.commands()):
        words = shlex.split(re.split(r" >>? ", command)[0])
        assert [word for word in words if word.startswith(("scripts/", "deploy/")) and not (ROOT / word).exists()] == []
        assert [word for word in words if word.endswith(("compose.yml", ".lock")) and not (ROOT / word).exists()] == []
        if words[0] in {"moorage", "scripts/serve"}:
            _parse(words[1:] if words[0] == "moorage" else ["serve", *words[1:]])


def _parse(arguments: list[str]) -> None:
    """Let click read the arguments of `moorage`, command by command; it raises what it does not know."""
    command: click.Command | None = main
    context = None
    while command is not None:
        context = command.make_context("moorage", list(arguments), parent=context)
        rest = [*context._protected_args, *context.args]  # noqa: SLF001 - as click itself goes on
        _, command, arguments = (
            command.resolve_command(context, rest) if isinstance(command, click.Group) and rest else (None, None, [])
        )


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
