"""The compose files: valid, refusing what is missing by its name, and working, run natively out of their own blocks."""

import json
import subprocess
from pathlib import Path

import botocore.exceptions
import httpx
import pytest
import yaml

from tests.clients.commands import Commands
from tests.clients.images import Image, assert_same, blobs_of
from tests.deploy import composing
from tests.deploy.composing import Topology, up
from tests.parts.gateway import ROOT
from tests.parts.servers import S3Server
from tests.parts.tools import tool

LOCALSTACK, SEAWEEDFS = ROOT / "localstack-compose.yml", ROOT / "compose.yml"
FILES = [LOCALSTACK, SEAWEEDFS]
SECRET = {"STORE_SECRET_KEY": "a secret of our own"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_specification_is_kept(file: Path) -> None:
    """Both the JSON schema of the Compose specification and its reference implementation MUST accept the file."""
    command: list[str | Path] = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    done = composing.read(file, SECRET)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_gateway_is_hardened(file: Path) -> None:
    """It MUST be built from the Dockerfile here, have no capability and write to /tmp and its store only."""
    gateway = json.loads(composing.read(file, SECRET).stdout)["services"]["moorage"]
    assert (gateway["build"]["context"], gateway["build"]["dockerfile"]) == (str(ROOT), "Dockerfile")
    assert (gateway["read_only"], gateway["tmpfs"], gateway["cap_drop"]) == (True, ["/tmp"], ["ALL"])
    assert gateway["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_secret_is_refused_by_name(value: str | None) -> None:
    """Neither a store whose secret is empty nor one with a secret that everybody knows MUST come up."""
    done = composing.read(SEAWEEDFS, {} if value is None else {"STORE_SECRET_KEY": value})
    assert done.returncode != 0
    assert "STORE_SECRET_KEY must be set to a secret of your own" in done.stderr


def test_images_have_versions() -> None:
    """What is pulled MUST be one version, and of LocalStack the last that needs no account."""
    pulled = [
        each["image"]
        for file in FILES
        for each in yaml.safe_load(file.read_text())["services"].values()
        if "image" in each
    ]
    assert pulled == ["localstack/localstack:4.14.0", "chrislusf/seaweedfs:4.48"]


@pytest.mark.xdist_group("localstack")
def test_localstack_works(tmp_path: Path, image: Image, commands: Commands) -> None:
    """The init hook makes the bucket, the gateway finds it, and what is pushed is pulled back, layers straight from the store."""
    bucket = f"moorage-{tmp_path.stat().st_ino}"
    with up(LOCALSTACK, tmp_path / "up", bucket=bucket) as topology:
        where = _round_trip(topology, image, commands)
        assert where is not None
        assert where.startswith(f"http://{topology.services['localstack'].host}/{bucket}/data/")


def test_seaweedfs_works(tmp_path: Path, image: Image, commands: Commands) -> None:
    """The store makes its bucket and asks for the secret, and what is pushed is pulled back through the gateway."""
    with up(SEAWEEDFS, tmp_path / "up", bucket="moorage", environment=SECRET) as topology:
        assert _round_trip(topology, image, commands) is None
        store = topology.services["store"]
        right = S3Server(f"http://{store.host}", access_key="moorage", secret_key=SECRET["STORE_SECRET_KEY"])
        assert [each["Name"] for each in right.client().list_buckets()["Buckets"]] == ["moorage"]
        wrong = S3Server(f"http://{store.host}", access_key="moorage", secret_key="another")
        with pytest.raises(botocore.exceptions.ClientError, match="SignatureDoesNotMatch"):
            wrong.client().list_objects_v2(Bucket="moorage")


def _round_trip(topology: Topology, image: Image, commands: Commands) -> str | None:
    """Push and pull with crane; returns where the gateway sends clients for a large layer, None if it delivers it itself."""
    host = topology.services["moorage"].host
    commands.run(tool("crane"), "push", "--insecure", image.directory, f"{host}/team/app:1")
    commands.run(tool("crane"), "pull", "--insecure", "--format=oci", f"{host}/team/app:1", "pulled")
    assert_same(commands.home / "pulled", image)
    largest = max(blobs_of(image.manifest), key=lambda digest: len(image.blobs[digest]))
    answer = httpx.get(f"http://{host}/v2/team/app/blobs/{largest}", trust_env=False)
    return str(answer.headers["location"]) if answer.is_redirect else None
