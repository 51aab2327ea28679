"""What bounds everybody, measured in the same run: the object store and its clients by themselves, SHA-256, and a process that answers from memory."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import obstore
from boto3.s3.transfer import TransferConfig

from bench.contenders import CONTENDERS, MOORAGE, place, started
from bench.content import MIB
from bench.floors import Floors, start
from bench.pushing import path_of
from bench.results import Limit
from bench.running import Scale
from bench.workloads.layers import SMALL
from bench.wrk import wrk
from storage.objects.s3_connection import connect
from tests.parts.servers import S3Server, minio

_HOT, _LISTED = 20, 2_000
_CPU = "ms of CPU"


def limits(scale: Scale) -> list[Limit]:
    """All of them, each as often as there are rounds; MinIO is a fresh one."""
    with tempfile.TemporaryDirectory(prefix="moorage-bench-") as scratch:
        directory = Path(scratch)
        with minio(_made(directory / "minio")) as server:
            bucket = server.create_bucket("limits")
            store, floors = _Store(server, bucket), Floors(server, bucket)
            found = [
                _limit("MinIO: PUT of 100 KB, 8 at a time", "PUT/s", scale, lambda: store.puts(scale.layers)),
                _limit("MinIO: GET of 500 bytes, 16 connections", "GET/s", scale, lambda: store.gets(scale.seconds)),
                _limit("MinIO: LIST of 2,000 keys", "listing/s", scale, store.lists),
                _limit(
                    "MinIO: multipart upload, 8 MiB a part, two at a time",
                    "MiB/s",
                    scale,
                    lambda: store.uploads(scale.layer_mib),
                ),
                _limit("SHA-256, one core", "MiB/s", scale, _hashes),
                _limit("obstore: GET of 500 bytes that are as they were", _CPU, scale, floors.read),
                _limit("obstore: LIST of 1,000 keys", _CPU, scale, floors.list_thousand),
                _limit("boto3: LIST of 100 keys, unread", _CPU, scale, floors.list_few),
                _limit("Python: to start, and to import boto3 and obstore", _CPU, scale, start),
            ]
            return [*found, _from_memory(directory / "moorage", server, scale)]


class _Store:
    """A bucket by itself: small objects through obstore, which costs little, and a large one through boto3, as moorage sends it."""

    def __init__(self, server: S3Server, bucket: str) -> None:
        self._bucket = bucket
        connection = connect(bucket, time.time, session=server.session, endpoint=server.endpoint)
        self._client, self._objects = connection.unsigned, connection.objects

    def puts(self, count: int) -> float:
        """Small objects a second."""
        keys, body = [f"put/{number}" for number in range(count)], os.urandom(SMALL)
        return _rate(count, lambda: self._put(keys, body))

    def gets(self, seconds: int) -> float:
        """Reads a second, by presigned URLs, as wrk does them."""
        keys = [f"get/{number}" for number in range(_HOT)]
        self._put(keys, os.urandom(500))
        urls = obstore.sign(self._objects, "GET", keys, timedelta(hours=1))
        return _asked(urlsplit(urls[0]).netloc, [path_of(url) for url in urls], seconds)

    def lists(self) -> float:
        """Listings a second, in pages of a thousand."""
        self._put([f"list/{number:05}" for number in range(_LISTED)], b"tag")
        return _rate(1, lambda: list(obstore.list(self._objects, "list/")))

    def uploads(self, size: int) -> float:
        """Mebibytes a second of one large object, whose parts are sent two at a time."""
        config = TransferConfig(multipart_chunksize=8 * MIB, max_concurrency=2)
        content = BytesIO(os.urandom(size * MIB))
        return _rate(size, lambda: self._client.upload_fileobj(content, self._bucket, "large", Config=config))

    def _put(self, keys: Sequence[str], body: bytes) -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: obstore.put(self._objects, key, body, use_multipart=False), keys))


def _hashes() -> float:
    block = os.urandom(MIB)
    return _rate(256, lambda: [hashlib.sha256(block) for _ in range(256)])


def _from_memory(directory: Path, server: S3Server, scale: Scale) -> Limit:
    """One worker of moorage, asked for what it knows without the store."""
    bucket = server.create_bucket("moorage")
    with place(directory, server, bucket) as there, started(CONTENDERS[MOORAGE], there) as gateway:
        title = "moorage: GET /livez, one worker, 16 connections"
        return _limit(title, "request/s", scale, lambda: _asked(gateway.address, ["/livez"], scale.seconds))


def _asked(address: str, paths: Sequence[str], seconds: int) -> float:
    """Requests a second."""
    load = wrk(address, paths, seconds=seconds)
    return load.requests / load.microseconds * 1e6


def _limit(title: str, unit: str, scale: Scale, measure: Callable[[], float]) -> Limit:
    return Limit(title, unit, [measure() for _ in range(scale.rounds)])


def _rate(operations: float, work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return operations / (time.monotonic() - began)


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
