"""`moorage scrub`: sentences for people, one document for machines, and exit codes that tell."""

import asyncio
import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from storage import layout
from storage.objects.contract import ObjectInfo, ObjectStore
from storage.objects.opening import Opening, open_store
from tests.load.images import MANIFEST, Image, check_image, digest_of, push_blob
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server

ROOT = Path(__file__).parents[2]
SHORT = ("--testing-short-grace", "--grace", "2s")  # it waits an eighth of that for what is under way
pytestmark = pytest.mark.usefixtures("elsewhere")


def scrub(*arguments: str, server: S3Server | None = None) -> Result:
    """What the command prints, and how it ends: without a traceback."""
    result = CliRunner().invoke(main, ["scrub", *SHORT, *arguments], env=server.env if server else {})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def push(client: httpx.Client, tag: str) -> Image:
    """Push an image that is the same each time, with one large layer."""
    config, *layers = [push_blob(client, "app", tag.encode() * size) for size in (20, 300, 200_000)]
    manifest = msgspec.json.encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
    answer = client.put(f"/v2/app/manifests/{tag}", content=manifest, headers={"Content-Type": MANIFEST})
    assert answer.status_code == 201
    return Image(tag, digest_of(manifest), tuple(str(part["digest"]) for part in (config, *layers)))


def behind_the_back(work: Callable[[ObjectStore], Awaitable[None]]) -> None:
    """Do something to the store in `data`."""

    async def opened() -> None:
        store = await open_store("file:data", Opening(time.time, lambda: secrets.token_hex(8)))
        try:
            await work(store)
        finally:
            await store.close()

    asyncio.run(opened())


async def put(store: ObjectStore, key: str, body: bytes) -> None:
    """Write an object."""
    await store.put(key, body)


def damage_bytes() -> None:
    """Flip a bit of the largest blob."""

    async def work(store: ObjectStore) -> None:
        largest = max([info async for info in store.list(layout.DATA_PREFIX)], key=lambda info: info.size)
        body = (await store.get(largest.key)).body
        await store.put(largest.key, bytes([body[0] ^ 1]) + body[1:])

    behind_the_back(work)


def lose_marker() -> None:
    """Remove what lists the repository."""
    behind_the_back(lambda store: store.delete(layout.catalog_key("app")))


@pytest.fixture
def built(elsewhere: None) -> None:
    """A registry in `data` with one image."""
    url = f"file:{Path('data').absolute()}"
    with Gateway(Path("gateway"), url) as gateway, httpx.Client(base_url=gateway.url) as client:
        push(client, "1")


@pytest.mark.usefixtures("built")
def test_a_registry_that_is_sound() -> None:
    """Exit code 0, what was read, and where the next run goes on."""
    result = scrub("--store", "file:data")
    assert result.exit_code == 0
    assert result.output.startswith("records: ")
    assert result.output.endswith("the round is over\nsound\n")
    document = json.loads(scrub("--json", "--store", "file:data").output)
    assert (document["findings"], document["isSound"], document["error"]) == ([], True, None)
    assert document["round"]["isOver"]
    assert document["round"]["bytes"] == document["round"]["allBytes"] > 0
    result = scrub("--for", "0s", "--store", "file:data")
    assert result.exit_code == 0
    assert "bytes: 0 of 3 blobs, " in result.output
    assert result.output.endswith("the next run continues at the first blob\nsound\n")
    assert not json.loads(scrub("--for", "0s", "--json", "--store", "file:data").output)["round"]["isOver"]


@pytest.mark.usefixtures("built")
def test_damage_is_told_and_mended() -> None:
    """1 while damage is left, 0 once all was mended; each finding in a line, or an object, with what became of it."""
    lose_marker()
    result = scrub("--store", "file:data")
    assert result.exit_code == 1
    line = "missing-marker: catalog/app: the repository has manifests, but the catalog does not list it\n"
    assert result.output.startswith(f"found       {line}")
    assert result.output.endswith("damage left or content lost: 1\n")
    result = scrub("--repair", "--store", "file:data")
    assert (result.exit_code, result.output.startswith(f"mended      {line}")) == (0, True)
    lose_marker()
    result = scrub("--repair", "--json", "--store", "file:data")
    [finding] = json.loads(result.output)["findings"]
    assert (result.exit_code, finding["kind"], finding["outcome"]) == (0, "missing-marker", "mended")
    assert scrub("--store", "file:data").output.endswith("sound\n")


@pytest.mark.usefixtures("built")
def test_what_is_lost_is_told_by_the_exit_code() -> None:
    """A repair that could only put a blob out of use MUST NOT look like a success; what went can be listed."""
    damage_bytes()
    assert scrub("quarantine", "--store", "file:data").output == ""
    assert scrub("--store", "file:data").exit_code == 1
    result = scrub("--repair", "--store", "file:data")
    assert (result.exit_code, result.output.startswith("quarantined corrupt-bytes: blobs/sha256/")) == (1, True)
    result = scrub("--store", "file:data")
    assert (result.exit_code, "\nnote        corrupt-bytes: " in result.output) == (1, True)
    listed = scrub("quarantine", "--store", "file:data")
    assert (listed.exit_code, listed.output.count("\n")) == (0, 1)
    assert "/in/app: its bytes at data/" in listed.output
    [kept] = json.loads(scrub("quarantine", "--json", "--store", "file:data").output)["quarantine"]
    assert kept["key"].endswith("/in/app")
    assert kept["place"].startswith("scrub/quarantine/")
    assert kept["bytes"].startswith("data/")
    behind_the_back(lambda store: put(store, kept["place"], b"damaged"))
    for how in ([], ["--json"]):
        result = scrub("quarantine", *how, "--store", "file:data")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"problem: {kept['place']}: is no record in quarantine")
    assert json.loads(result.stdout)["quarantine"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rate", "fast"], "Error: --rate: a size is"),
        (["--for", "a while"], "Error: --for: a duration is"),
        (["--workers", "x"], "Error: --workers: "),
        (["--store", "file:nowhere"], "Error: --store file:nowhere: there is no such directory"),
        (["--store", "memory:"], "Error: --store memory:: "),
        (["--single-writer", "--repair"], "Error: --single-writer: a gateway that serves is another writer"),
        (["quarantine", "--store", "file:nowhere"], "Error: --store file:nowhere: "),
    ],
)
def test_what_cannot_be_run(arguments: list[str], sentence: str) -> None:
    """Exit code 2, and a sentence; nothing is made where nothing was."""
    result = scrub(*arguments)
    assert result.exit_code == 2
    assert result.output.startswith(sentence)
    assert not Path("nowhere").exists()


@pytest.mark.usefixtures("built")
def test_a_run_beside_another_one() -> None:
    """The second MUST end with 2 and a sentence, also as JSON; a signal ends the first one, which lets go of its lease."""
    command = [sys.executable, "-m", "gateway.cli", "scrub", "--rate", "1", "--store", "file:data"]
    with subprocess.Popen(command, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True) as first:
        _wait_for_lease()
        result = scrub("--json", "--store", "file:data")
        assert result.exit_code == 2
        assert "another run of the scrub is under way" in json.loads(result.stdout)["error"]
        first.send_signal(signal.SIGTERM)
        assert first.wait(30) == 128 + signal.SIGTERM
    assert scrub("--store", "file:data").exit_code == 0


def _wait_for_lease() -> None:
    found: list[ObjectInfo] = []

    async def look(store: ObjectStore) -> None:
        found.extend([info async for info in store.list("scrub/")])

    for _ in range(600):
        behind_the_back(look)
        if found:
            return
        time.sleep(0.05)
    raise AssertionError("no scrub began")


def test_a_bucket_that_gateways_serve(minio_server: S3Server) -> None:
    """Over MinIO, beside a gateway: a damaged blob answers 404, is healed by the next push, and everything is served again."""
    bucket = minio_server.create_bucket("scrubbed")
    store = f"s3://{bucket}"
    settings = {**minio_server.env, "MOORAGE_TESTING_SHORT_GRACE": "1", "MOORAGE_GRACE": "2s"}
    with (
        Gateway(Path("gateway"), store, settings=settings) as gateway,
        httpx.Client(base_url=gateway.url, follow_redirects=True, timeout=60) as client,
    ):
        push(client, "1")
        image = push(client, "2")
        assert scrub("--store", store, server=minio_server).exit_code == 0
        s3 = minio_server.client()
        listed = s3.list_objects_v2(Bucket=bucket, Prefix="data/")["Contents"]
        assert sorted(each["Size"] for each in listed)[-2:] == [200_000] * 2
        damaged = [
            each["Key"]
            for each in listed
            if each["Size"] == 200_000 and s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read(1) == b"2"
        ]
        s3.put_object(Bucket=bucket, Key=damaged[0], Body=b"x" * 200_000)
        s3.delete_object(Bucket=bucket, Key="catalog/app")
        assert scrub("--store", store, server=minio_server).exit_code == 1
        result = scrub("--repair", "--store", store, server=minio_server)
        assert result.exit_code == 1
        assert "quarantined corrupt-bytes: " in result.output
        assert "mended      missing-marker: " in result.output
        time.sleep(0.5)  # a gateway remembers a link for a tenth of the grace period
        assert [client.head(f"/v2/app/blobs/{digest}").status_code for digest in image.blobs] == [200, 200, 404]
        push(client, "1")
        assert push(client, "2") == image
        check_image(client, "app", image)
        assert client.get("/v2/_catalog").json() == {"repositories": ["app"]}
