"""Crane pushes, pulls, pushes again, and moves a tag."""

import pytest

from tests.clients.commands import Commands
from tests.clients.images import Image, assert_same, blobs_of
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.parts.tools import tool


def push(commands: Commands, image: Image, name: str) -> str:
    """Push `image`; returns what crane said."""
    return commands.run(tool("crane"), "push", "--insecure", image.directory, name)


def pull(commands: Commands, name: str, directory: str) -> None:
    """Pull into an OCI layout below the home of `commands`."""
    commands.run(tool("crane"), "pull", "--insecure", "--format=oci", name, directory)


def test_crane_round_trip(registry: Gateway, image: Image, commands: Commands) -> None:
    """What crane pushes it pulls by tag and by digest, byte for byte."""
    name = f"{registry.host}/team/crane"
    push(commands, image, f"{name}:1")
    for index, reference in enumerate((f"{name}:1", f"{name}@{image.digest}")):
        pull(commands, reference, f"out{index}")
        assert_same(commands.home / f"out{index}", image)
    commands.run(tool("crane"), "validate", "--insecure", "--remote", f"{name}:1")


def test_pushing_again_uploads_nothing(registry: Gateway, image: Image, commands: Commands) -> None:
    """I3: a client that pushes an unchanged image under another tag is told that every blob exists."""
    name = f"{registry.host}/team/again"
    first = push(commands, image, f"{name}:1")
    assert first.count("pushed blob: sha256:") == len(image.blobs), first
    again = push(commands, image, f"{name}:2")
    assert "pushed blob" not in again
    assert sorted(line.split()[-1] for line in again.splitlines() if "existing blob: sha256:" in line) == sorted(
        blobs_of(image.manifest)
    )


def test_content_is_stored_once(
    minio_server: S3Server,
    image: Image,
    newer_image: Image,
    commands: Commands,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """I3: two images in two repositories under several tags leave one instance in the bucket for each distinct blob."""
    directory = tmp_path_factory.mktemp("once")
    bucket = minio_server.create_bucket(directory.name)
    with Gateway(directory, f"s3://{bucket}", settings=minio_server.env) as gateway:
        for name in ("a:1", "a:2", "b/c:1"):
            push(commands, image, f"{gateway.host}/{name}")
        push(commands, newer_image, f"{gateway.host}/a:3")
    instances = [key.split("/at/")[0] for key in _keys(minio_server, bucket, "blobs/") if "/at/" in key]
    digests = [digest.split(":") for digest in image.blobs | newer_image.blobs]
    assert sorted(instances) == sorted(f"blobs/{algorithm}/{hex_[:2]}/{hex_}" for algorithm, hex_ in digests)


def test_a_moved_tag_leaves_the_old_digest(
    registry: Gateway, image: Image, newer_image: Image, commands: Commands
) -> None:
    """I2: after a tag moved it names the newer image at once, and the older one still pulls by its digest."""
    name = f"{registry.host}/team/moved"
    for pushed in (image, newer_image):
        push(commands, pushed, f"{name}:latest")
        assert commands.read(tool("crane"), "digest", "--insecure", f"{name}:latest") == pushed.digest
    pull(commands, f"{name}@{image.digest}", "old")
    assert_same(commands.home / "old", image)
    pull(commands, f"{name}:latest", "new")
    assert_same(commands.home / "new", newer_image)


def _keys(server: S3Server, bucket: str, prefix: str) -> list[str]:
    client = server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    client.close()
    return keys
