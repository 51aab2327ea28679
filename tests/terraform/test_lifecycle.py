"""examples/localstack and examples/minio for real: applied, served, pushed to, pulled from, collected and destroyed."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.clients.commands import Commands
from tests.clients.images import Image, assert_same, make_image
from tests.clients.test_crane import pull, push
from tests.parts.gateway import ROOT, Gateway
from tests.parts.servers import S3Server
from tests.parts.tools import tool
from tests.terraform.commands import Terraform, copied
from tests.terraform.readme import PAGE
from tests.terraform.sessions import environment_of, session_with

T = TypeVar("T")
Record = Callable[[str, object], None]
NO_CHANGES = "No changes. Your infrastructure matches the configuration."


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """An image with a layer that is pushed in parts."""
    return make_image(tmp_path_factory.mktemp("image"), tool("busybox"), seed=6)


@pytest.mark.xdist_group("localstack")
def test_a_whole_life_on_localstack(
    localstack_server: S3Server, tmp_path: Path, image: Image, record_property: Record
) -> None:
    """Apply, no changes after it, a gateway from the outputs alone, push, pull, gc, and destroy: only when told to take the images too.

    The key MUST outlive a destroy that was refused.
    """
    terraform, timed = copied(tmp_path, "examples/localstack"), Timed(record_property)
    bucket = f"terraform{localstack_server.suffix}"
    given = ("-no-color", f"-var=endpoint={localstack_server.endpoint}", f"-var=bucket={bucket}")
    terraform.init()
    timed("apply", lambda: terraform.run("apply", "-auto-approve", *given))
    assert NO_CHANGES in timed("second plan", lambda: terraform.run("plan", "-detailed-exitcode", *given))
    resources = terraform.run("state", "list").splitlines()
    record_property("terraform resources on LocalStack", len(resources))

    environment = _written_as_documented(terraform)
    outputs = terraform.outputs()
    assert environment == outputs["environment"] | outputs["secret_environment"]
    # With the key of the user who was made: LocalStack holds the presigned URLs of what is pulled to its secret.
    assert environment["AWS_SECRET_ACCESS_KEY"] != localstack_server.secret_key
    _serve_and_collect(tmp_path, environment, image)

    status, said = timed("refused destroy", lambda: terraform.status("destroy", "-auto-approve", *given))
    assert status == 1
    assert f"deleting S3 Bucket ({bucket})" in said
    assert "BucketNotEmpty" in said
    manifest = f"registry/repositories/team/image/_manifests/{image.digest.replace(':', '/')}"
    assert manifest in _keys(localstack_server, bucket)
    assert _state_of_key(localstack_server, bucket, manifest) == "Enabled"
    assert "module.registry.aws_kms_key.this[0]" in terraform.run("state", "list").splitlines()
    told = (*given, "-var=force_destroy=true")
    terraform.run("apply", "-auto-approve", "-target=module.registry.aws_s3_bucket.this", *told)
    timed("destroy", lambda: terraform.run("destroy", "-auto-approve", *told))
    client = localstack_server.client()
    assert [each["Name"] for each in client.list_buckets()["Buckets"] if each["Name"].startswith(bucket)] == []
    client.close()


@pytest.mark.xdist_group("minio")
def test_a_bucket_on_minio(minio_server: S3Server, tmp_path: Path, image: Image) -> None:
    """The example for MinIO applies and plans no changes, and a gateway serves from its outputs with no more than its policy."""
    terraform = Terraform(copied(tmp_path, "examples/minio").directory, minio_server.env)
    given = ("-no-color", f"-var=endpoint={minio_server.endpoint}", "-var=bucket=of-terraform")
    terraform.init()
    terraform.run("apply", "-auto-approve", *given)
    assert NO_CHANGES in terraform.run("plan", "-detailed-exitcode", *given)
    outputs = terraform.outputs()
    session = session_with(minio_server, json.loads(outputs["policy_json"]))
    _serve_and_collect(tmp_path, outputs["environment"] | environment_of(session), image)


class Timed:
    """Runs something, and puts on record how long it took."""

    def __init__(self, record_property: Record) -> None:
        self._record = record_property

    def __call__(self, what: str, act: Callable[[], T]) -> T:
        """What `act` returns."""
        began = time.monotonic()
        result = act()
        self._record(f"terraform {what} on LocalStack", f"{time.monotonic() - began:.0f} s")
        return result


def _written_as_documented(terraform: Terraform) -> dict[str, str]:
    """The environment that the commands of terraform/README.md write, for nobody else to read."""
    tool("jq")
    commands = re.search(r"^```sh\n(\(umask .*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert commands
    terraform.shell(commands[1])
    written = terraform.directory / "gateway.env"
    assert written.stat().st_mode & 0o077 == 0
    lines = written.read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def _serve_and_collect(directory: Path, environment: dict[str, str], image: Image) -> None:
    """A gateway with this environment takes an image and gives it back, and gc finds nothing to remove."""
    commands = Commands(directory)
    with Gateway(directory / "gateway", environment["MOORAGE_STORE"], settings=environment) as gateway:
        push(commands, image, f"{gateway.host}/team/image:1")
        pull(commands, f"{gateway.host}/team/image:1", "pulled")
    assert_same(directory / "pulled", image)
    collected = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "gc", "--json"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert collected.returncode == 0, collected.stdout + collected.stderr


def _keys(server: S3Server, bucket: str) -> list[str]:
    client = server.client()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    client.close()
    return keys


def _state_of_key(server: S3Server, bucket: str, name: str) -> str:
    """The state of the KMS key that an object is encrypted with."""
    client, kms = server.client(), server.session.client("kms", endpoint_url=server.endpoint)
    key = client.head_object(Bucket=bucket, Key=name)["SSEKMSKeyId"]
    state = str(kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"])
    client.close()
    kms.close()
    return state
