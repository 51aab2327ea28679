"""What boto3 does for a store, in threads of its own: what is sent, single deletes, short listings, and requests of multipart uploads."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from storage.errors import NotFound, PreconditionFailed, StoreError
from storage.objects.contract import IncompleteUpload
from storage.objects.retrying import Retries
from storage.objects.s3_checksums import ALGORITHM, checksum_of
from storage.objects.s3_connection import THREADS, Connection
from storage.objects.s3_errors import UploadGone, translated

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

T = TypeVar("T")


class Boto3Bucket:
    """One bucket through boto3; keys are whole keys, with the store's prefix. Every request is retried by `retries`.

    `under_way` counts the bytes of the parts that are being sent, of all multipart uploads.
    """

    def __init__(self, connection: Connection, bucket: str, retries: Retries) -> None:
        self.client = connection.client
        self.patient = connection.patient
        self.unsigned = connection.unsigned
        self.bucket = bucket
        self.under_way = 0
        self._retries = retries
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")
        self._senders = ThreadPoolExecutor(THREADS, thread_name_prefix="s3-bodies")
        self._cleanups: set[asyncio.Task[None]] = set()

    async def run(self, key: str, call: Callable[[], T]) -> T:
        """Run `call`, one small request of `client` about `key`, in a thread and within the deadline; raises StoreErrors."""
        return await self._retries(lambda: _once(self._threads, key, call))

    async def run_patiently(self, key: str, call: Callable[[], T]) -> T:
        """As `run`, for a request of `patient` that moves many bytes: it may take as long as it makes progress."""
        return await self._retries.patiently(lambda: _once(self._senders, key, call))

    async def pause_wanted(self) -> float:
        """For how many seconds a busy server wants to be left alone, as it says itself: one HEAD, not repeated."""
        try:
            await _once(self._threads, self.bucket, partial(self.client.head_bucket, Bucket=self.bucket))
        except StoreError as error:
            return getattr(error, "retry_after", None) or 0.0
        return 0.0

    async def put(self, key: str, body: bytearray, *, checked: bool) -> None:
        """Write a whole object, which may take as long as it makes progress."""

        def request() -> None:
            send = partial(self._sender(checked).put_object, Bucket=self.bucket, Key=key, Body=_taken(body))
            if checked:
                send = partial(send, ChecksumCRC32C=checksum_of(body))
            send()

        await self.run_patiently(key, request)

    async def delete(self, key: str, if_match: str | None) -> None:
        """Remove an object, with `if_match` only in that state."""
        if if_match is None:
            await self.run(key, partial(self.client.delete_object, Bucket=self.bucket, Key=key))
        else:
            await self._delete_if(key, if_match)

    async def _delete_if(self, key: str, etag: str) -> None:
        begun = 0

        def request() -> None:
            nonlocal begun
            begun += 1
            self.client.delete_object(Bucket=self.bucket, Key=key, IfMatch=etag)

        try:
            await self.run(key, request)
        except (NotFound, PreconditionFailed) as error:
            # A repeated request finds the key gone when the one before was applied though its answer was lost.
            if begun > 1 and await self.size(key) is None:
                return
            raise PreconditionFailed(key) from error

    async def size(self, key: str) -> int | None:
        """The size of an object in bytes, None if there is none."""
        try:
            head = await self.run(key, partial(self.client.head_object, Bucket=self.bucket, Key=key))
        except NotFound:
            return None
        return head["ContentLength"]

    async def incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """Every multipart upload of the bucket. No prefix is asked for: MinIO takes it for a whole key."""
        key = upload = ""
        while True:
            request = partial(
                self.client.list_multipart_uploads, Bucket=self.bucket, KeyMarker=key, UploadIdMarker=upload
            )
            try:
                page = await self.run(self.bucket, request)
            except UploadGone:  # so rclone says that there never was any
                return
            for found in page.get("Uploads", []):
                yield IncompleteUpload(found["Key"], found["UploadId"], found["Initiated"].timestamp())
            if not page.get("IsTruncated"):
                return
            key, upload = page["NextKeyMarker"], page["NextUploadIdMarker"]

    async def begin(self, key: str, *, checked: bool = False) -> str:
        """Begin a multipart upload, and return its id; each part of one that is `checked` MUST have a checksum."""
        request = partial(self.client.create_multipart_upload, Bucket=self.bucket, Key=key)
        if checked:
            request = partial(request, ChecksumAlgorithm=ALGORITHM)
        return (await self.run(key, request))["UploadId"]

    async def send(
        self, key: str, upload: str, number: int, body: bytearray, *, checked: bool
    ) -> "CompletedPartTypeDef":
        """Write a part of a multipart upload, counted from 1, which may take as long as it makes progress."""

        def request() -> "CompletedPartTypeDef":
            send = partial(
                self._sender(checked).upload_part,
                Bucket=self.bucket,
                Key=key,
                UploadId=upload,
                PartNumber=number,
                Body=_taken(body),
            )
            if not checked:
                return {"PartNumber": number, "ETag": send()["ETag"]}
            checksum = checksum_of(body)
            return {"PartNumber": number, "ETag": send(ChecksumCRC32C=checksum)["ETag"], "ChecksumCRC32C": checksum}

        return await self.run_patiently(key, request)

    async def abort(self, key: str, upload: str) -> None:
        """Free what a multipart upload holds; one that is gone is no error."""
        request = partial(self.client.abort_multipart_upload, Bucket=self.bucket, Key=key, UploadId=upload)
        with suppress(UploadGone):
            await self.run(key, request)

    async def in_background(self, cleanup: asyncio.Task[None]) -> None:
        """Wait for `cleanup`; if the waiting is cancelled it goes on, and `close` waits for it."""
        self._cleanups.add(cleanup)
        cleanup.add_done_callback(self._cleanups.discard)
        await asyncio.shield(cleanup)

    async def close(self) -> None:
        """Finish what is under way, and end the threads. Idempotent."""
        await asyncio.gather(*self._cleanups, return_exceptions=True)
        for threads in (self._threads, self._senders):
            await asyncio.to_thread(threads.shutdown)
        for client in (self.client, self.patient, self.unsigned):
            client.close()

    def _sender(self, checked: bool) -> "S3Client":  # noqa: FBT001
        """What sends a body, whose signature a checksum may stand for."""
        return self.unsigned if checked else self.patient


async def _once(threads: ThreadPoolExecutor, key: str, call: Callable[[], T]) -> T:
    with translated(key):
        return await asyncio.get_running_loop().run_in_executor(threads, call)


def _taken(body: bytearray) -> bytes:
    """As it is: boto3 takes a bytearray without copying it, but its stubs do not say so."""
    return cast("bytes", body)
