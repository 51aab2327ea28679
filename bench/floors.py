"""The least CPU that what moorage rests on takes, in milliseconds: its clients of the object store each alone, and Python's start."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import obstore
import uvloop
from obstore.exceptions import NotModifiedError

from bench.usage import ended_cpu
from storage.objects.s3_connection import connect
from tests.parts.servers import S3Server

_AT_ONCE = 16
_READS, _LISTINGS = 2_000, 20
_KEYS = 1_000
_START = "import boto3, obstore.store"


class Floors:
    """Measured over a bucket, which is filled first, by the clients that moorage has, which are asked for nothing else."""

    def __init__(self, server: S3Server, bucket: str) -> None:
        connection = connect(bucket, time.time, session=server.session, endpoint=server.endpoint)
        self._bucket = bucket
        self._boto3, self._objects = connection.client, connection.objects
        for number in range(_KEYS):
            obstore.put(self._objects, f"listed/{number:05}", b"tag", use_multipart=False)

    def read(self) -> float:
        """A conditional GET of an object that is as it was, by obstore, 16 at a time."""
        obstore.put(self._objects, "floor", os.urandom(500), use_multipart=False)
        etag = obstore.head(self._objects, "floor")["e_tag"]

        async def read() -> None:
            with suppress(NotModifiedError):
                await obstore.get_async(self._objects, "floor", options={"if_none_match": etag})

        return _cpu(_READS, lambda: uvloop.run(_many(read)))

    def list_thousand(self) -> float:
        """A LIST of a thousand keys, by obstore."""
        return _cpu(_LISTINGS, lambda: [list(obstore.list(self._objects, "listed/")) for _ in range(_LISTINGS)])

    def list_few(self) -> float:
        """A LIST of a hundred keys, by boto3, but for reading what it brings."""

        def ask() -> object:
            return self._boto3.list_objects_v2(Bucket=self._bucket, Prefix="listed/", MaxKeys=100)

        return _cpu(_LISTINGS, lambda: [ask() for _ in range(_LISTINGS)])


def start() -> float:
    """An interpreter that imports the clients and ends."""
    began = ended_cpu()
    subprocess.run([sys.executable, "-c", _START], check=True)  # noqa: S603 - our own words
    return (ended_cpu() - began) * 1e3


async def _many(read: Callable[[], Awaitable[None]]) -> None:
    left: Iterator[int] = iter(range(_READS))

    async def some() -> None:
        for _ in left:
            await read()

    await asyncio.gather(*(some() for _ in range(_AT_ONCE)))


def _cpu(operations: int, work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) / operations * 1e3
