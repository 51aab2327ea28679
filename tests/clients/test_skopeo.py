"""Skopeo copies in and out."""

from tests.clients.commands import Commands
from tests.clients.images import Image, assert_same
from tests.parts.gateway import Gateway
from tests.parts.tools import tool


def test_skopeo_round_trip(registry: Gateway, image: Image, commands: Commands) -> None:
    """What skopeo copies in it copies out by tag and by digest, byte for byte."""
    name = f"docker://{registry.host}/team/skopeo"
    # Otherwise it may push a layer that it knows, from the cache that it shares with podman, to unpack to the same.
    copy = (tool("skopeo"), "copy", "--preserve-digests")
    commands.run(*copy, "--dest-tls-verify=false", f"oci:{image.directory}", f"{name}:1")
    for index, reference in enumerate((f"{name}:1", f"{name}@{image.digest}")):
        commands.run(*copy, "--src-tls-verify=false", reference, f"oci:out{index}:1")
        assert_same(commands.home / f"out{index}", image)
    assert '"1"' in commands.run(tool("skopeo"), "list-tags", "--tls-verify=false", name)
