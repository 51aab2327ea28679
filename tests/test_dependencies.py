"""The runtime dependencies are few, and each one is there on purpose."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNTIME = {
    "boto3",
    "click",
    "crc32c",
    "google-re2",
    "httptools",
    "msgspec",
    "obstore",
    "prometheus-client",
    "pyyaml",
    "starlette",
    "structlog",
    "tenacity",
    "uvicorn",
    "uvloop",
}


def test_runtime_dependencies_are_pinned() -> None:
    """A new runtime dependency MUST be a decision: named here, and with its reason in docs/dependencies.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {re.split(r"[<>=;\[ ]", requirement)[0] for requirement in project["dependencies"]}
    assert declared == RUNTIME
    reasons = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    assert [name for name in sorted(RUNTIME) if f"| {name} |" not in reasons] == []


def test_versions_have_an_upper_bound_or_a_calendar() -> None:
    """Every range MUST end somewhere; structlog's versions are dates."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert [each for each in project["dependencies"] if "<" not in each] == ["structlog>=25.1"]
