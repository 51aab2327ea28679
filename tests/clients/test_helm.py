"""Helm pushes and pulls charts."""

import re

from tests.clients.commands import Commands
from tests.parts.gateway import Gateway
from tests.parts.tools import tool


def test_helm_round_trip(registry: Gateway, commands: Commands) -> None:
    """A chart comes back by version and by digest, byte for byte."""
    helm = tool("helm")
    commands.run(helm, "create", "harbour")
    commands.run(helm, "package", "harbour")
    package = commands.home / "harbour-0.1.0.tgz"
    charts = f"oci://{registry.host}/charts"
    said = commands.run(helm, "push", "--plain-http", package, charts)
    digest = re.search(r"^Digest: (sha256:[0-9a-f]{64})$", said, re.MULTILINE)
    assert digest is not None, said
    for index, reference in enumerate(([f"{charts}/harbour", "--version", "0.1.0"], [f"{charts}/harbour@{digest[1]}"])):
        out = commands.home / f"out{index}"
        out.mkdir()
        commands.run(helm, "pull", "--plain-http", "--destination", out, *reference)
        assert [file.read_bytes() for file in out.iterdir()] == [package.read_bytes()]
