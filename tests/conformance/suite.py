"""Runs the official conformance suite against a gateway."""

import os
import subprocess
from pathlib import Path

from tests.conformance.results import Results, read_results
from tests.parts.gateway import Gateway
from tests.parts.tools import tool

TIMEOUT = 600.0
# Of the specification: its development version, which demands all that 1.1 does and more.
VERSION = "dev"


def run_suite(gateway: Gateway, directory: Path, *, sparse: bool) -> Results:
    """Run all of it, with its reports in `directory`; only what it was told is in its environment."""
    settings = {
        "PATH": os.environ["PATH"],
        "OCI_REGISTRY": gateway.host,
        "OCI_TLS": "disabled",
        "OCI_REPO1": "conformance/repo1",
        "OCI_REPO2": "conformance/repo2",
        "OCI_VERSION": VERSION,
        "OCI_DATA_SPARSE": str(sparse).lower(),
        "OCI_RESULTS_DIR": str(directory),
    }
    done = subprocess.run(
        [tool("conformance")], cwd=directory, env=settings, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    # Each failed test with its reason; pytest shows it where the results are not what they must be.
    print(done.stderr[:5000])
    return read_results(done.stdout + done.stderr, directory / "results.yaml")
