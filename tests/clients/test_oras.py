"""ORAS pushes, pulls and attaches artifacts."""

import json
import random
import re

from tests.clients.commands import Commands
from tests.parts.gateway import Gateway
from tests.parts.tools import tool

FILES = {"notes.txt": b"some notes\n", "weights.bin": random.Random(3).randbytes(9 * 1024 * 1024)}


def test_oras_round_trip(registry: Gateway, commands: Commands) -> None:
    """An artifact of two files, the larger of more than one part, comes back by tag and by digest, byte for byte."""
    name = f"{registry.host}/team/artifact"
    for file, content in FILES.items():
        (commands.home / file).write_bytes(content)
    said = commands.run(
        tool("oras"), "push", "--plain-http", "--artifact-type", "application/vnd.example.model", f"{name}:1", *FILES
    )
    for index, reference in enumerate((f"{name}:1", f"{name}@{_digest(said)}")):
        commands.run(tool("oras"), "pull", "--plain-http", "--output", f"out{index}", reference)
        assert {file: (commands.home / f"out{index}" / file).read_bytes() for file in FILES} == FILES


def test_oras_discovers_what_it_attached(registry: Gateway, commands: Commands) -> None:
    """An attached artifact is listed as a referrer of its subject, and goes from the list when it is deleted."""
    name = f"{registry.host}/team/subject"
    (commands.home / "text").write_bytes(b"the subject\n")
    (commands.home / "sbom.json").write_bytes(b"{}\n")
    subject = _digest(commands.run(tool("oras"), "push", "--plain-http", f"{name}:1", "text"))
    attached = _digest(
        commands.run(
            tool("oras"), "attach", "--plain-http", "--artifact-type", "application/spdx+json", f"{name}:1", "sbom.json"
        )
    )
    assert attached != subject
    assert _referrers(commands, f"{name}:1") == [attached]
    commands.run(tool("oras"), "manifest", "delete", "--plain-http", "--force", f"{name}@{attached}")
    assert _referrers(commands, f"{name}:1") == []


def _digest(said: str) -> str:
    found = re.findall(r"^Digest: (sha256:[0-9a-f]{64})$", said, re.MULTILINE)
    assert len(found) == 1, said
    return str(found[0])


def _referrers(commands: Commands, name: str) -> list[str]:
    found = json.loads(commands.read(tool("oras"), "discover", "--plain-http", "--format", "json", name))
    return [referrer["digest"] for referrer in found["referrers"] or []]
