"""Uploads that their clients abandon: the store and the gateway's memory are as before, on MinIO."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.patience.peer import Peer, eventually

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

MIB = 1024 * 1024
SIZE = 40 * MIB
SENT = os.urandom(20 * MIB)  # two parts and a half: a multipart upload is under way
AT_ONCE = 4
ROUNDS = 3


@pytest.fixture(scope="module")
def bucket(minio_server: S3Server) -> str:
    """A bucket of its own."""
    return minio_server.create_bucket("abandoned-" + os.urandom(6).hex())


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, minio_server: S3Server, bucket: str) -> Iterator[Gateway]:
    """A gateway of little patience."""
    settings = {**minio_server.env, "MOORAGE_BODY_TIMEOUT": "2s"}
    with Gateway(tmp_path_factory.mktemp("gateway"), f"s3://{bucket}", settings=settings) as started:
        yield started


@pytest.fixture
def s3(minio_server: S3Server) -> Iterator["S3Client"]:
    """A client of the store."""
    client = minio_server.client()
    yield client
    client.close()


@pytest.mark.parametrize("vanishes", [True, False])
def test_an_abandoned_upload_leaves_nothing(
    gateway: Gateway, bucket: str, s3: "S3Client", vanishes: bool, record_property: Callable[[str, object], None]
) -> None:
    """A client that disconnects, or stalls, in the middle of a PATCH of 40 MiB MUST leave no multipart upload and no object.

    Nor memory: several rounds of them MUST NOT take more than one.
    """
    peaks = []
    for _ in range(ROUNDS):
        with ExitStack() as peers:
            uploads = [peers.enter_context(Peer(gateway.port)) for _ in range(AT_ONCE)]
            for peer in uploads:
                _upload_half(gateway, peer)
            eventually(lambda: _multipart_uploads(s3, bucket) == AT_ONCE, "the uploads are under way")
            if not vanishes:
                assert [(peer.answer().status) for peer in uploads] == [408] * AT_ONCE
        eventually(lambda: _multipart_uploads(s3, bucket) == 0, "the multipart uploads are gone")
        assert s3.list_objects_v2(Bucket=bucket, Prefix="data/")["KeyCount"] == 0
        peaks.append(psutil.Process(gateway.pid).memory_info().rss // MIB)
    record_property(f"RSS after rounds of uploads that {'vanish' if vanishes else 'stall'}, MiB", peaks)
    assert peaks[-1] - peaks[0] <= 48  # of 80 that a round brings
    assert httpx.get(f"{gateway.url}/v2/", trust_env=False).status_code == 200


def _upload_half(gateway: Gateway, peer: Peer) -> None:
    location = httpx.post(f"{gateway.url}/v2/a/blobs/uploads/", trust_env=False).headers["Location"]
    peer.begin("PATCH", location, SIZE)
    peer.send(SENT)


def _multipart_uploads(s3: "S3Client", bucket: str) -> int:
    return len(s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []))
