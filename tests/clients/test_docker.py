"""Docker pushes and pulls."""

import re

import pytest

from tests.clients.daemon import Docker
from tests.clients.images import Image, blobs_of, digest_of, write_docker_archive
from tests.clients.manifests import fetch_manifest
from tests.parts.gateway import Gateway
from tests.parts.tools import tool

# One worker of xdist runs all that takes the daemon.
pytestmark = pytest.mark.xdist_group("docker")


def test_docker_round_trip(registry: Gateway, image: Image, dockerd: Docker) -> None:
    """What docker pushes it pulls back by tag and by digest, once its own copy is gone; and the image runs."""
    name = f"{registry.host}/team/docker:1"
    archive = registry.directory / "docker.tar"
    write_docker_archive(image, archive, name)
    dockerd.run("load", "--input", archive)
    pushed = _digest(dockerd.run("push", name))
    manifest = fetch_manifest(registry, "team/docker", "1")
    assert digest_of(manifest) == pushed
    assert blobs_of(manifest)[0] == image.image_id

    for reference in (name, f"{registry.host}/team/docker@{pushed}"):
        dockerd.run("image", "rm", "--force", image.image_id)
        assert image.image_id not in dockerd.read("image", "ls", "--no-trunc", "--quiet")
        dockerd.run("pull", reference)
        assert dockerd.read("image", "inspect", "--format", "{{.Id}}", reference) == image.image_id
        assert pushed in dockerd.read("image", "inspect", "--format", "{{.RepoDigests}}", reference)

    said = dockerd.read("run", "--rm", "--network", "none", reference, "sha256sum", "/payload/0")
    assert said.startswith(image.payload)


def test_docker_pulls_what_others_pushed(registry: Gateway, newer_image: Image, dockerd: Docker) -> None:
    """An image in OCI format, pushed by another client, is pulled by docker under the digest that it was pushed with."""
    dockerd.commands.run(tool("crane"), "push", "--insecure", newer_image.directory, f"{registry.host}/team/oci:1")
    said = dockerd.run("pull", f"{registry.host}/team/oci:1")
    assert _digest(said) == newer_image.digest
    assert (
        dockerd.read("image", "inspect", "--format", "{{.Id}}", f"{registry.host}/team/oci:1") == newer_image.image_id
    )
    dockerd.run("image", "rm", "--force", newer_image.image_id)


def _digest(said: str) -> str:
    found = re.search(r"digest: (sha256:[0-9a-f]{64})", said, re.IGNORECASE)
    assert found is not None, said
    return found[1]
