"""What boto3 does for a store: multipart uploads, single deletes and short listings, in threads of their own."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar, cast

from storage.errors import Invalid, NotFound, PreconditionFailed, StoreError
from storage.objects.contract import IncompleteUpload
from storage.objects.parts import MAX_PARTS, MIN_PART
from storage.objects.retrying import Retries
from storage.objects.s3_checksums import ALGORITHM, checksum_of
from storage.objects.s3_connection import THREADS, Connection
from storage.objects.s3_errors import UploadGone, translated

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import CompletedPartTypeDef

T = TypeVar("T")

# The server copies at most this much in one request, so that each is answered soon.
_COPIED_AT_ONCE = 1024 * 1024 * 1024
# An upload has this many parts under way at most, and only one while those of all uploads hold ENOUGH bytes.
ABREAST = 2
ENOUGH = 32 * 1024 * 1024


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


class MultipartUpload:
    """An object written in parts: `async with` completes it at the end, or aborts it and lets the error through.

    With `checked` each part is guarded by its checksum, and not by a signature. ABREAST parts may be under way, so that the server is
    never idle, but only one while many uploads are: a caller who fills the next meanwhile holds three, or two. What was sent last is left
    in `spent`.
    """

    def __init__(self, bucket: Boto3Bucket, key: str, spent: list[bytearray], *, checked: bool = False) -> None:
        self._bucket = bucket
        self._key = key
        self._spent = spent
        self._checked = checked
        self._upload: asyncio.Task[str] | None = None
        self._sending: set[asyncio.Task[CompletedPartTypeDef]] = set()
        self._parts: list[CompletedPartTypeDef] = []
        self._count = 0
        self.size = 0

    async def add(self, body: bytearray) -> None:
        """Begin to send the next part, once there is room for it; a part that failed is raised by this or a later call."""
        await self._room(ABREAST)
        if self._bucket.under_way >= ENOUGH:
            await self._room(1)
        self.size += len(body)
        self._bucket.under_way += len(body)
        self._start(self._send(self._number(), body))

    async def copy(self, part: "Copy") -> None:
        """Let the server copy the next part; raises NotFound if its source is missing."""
        self.size += part.length
        self._start(self._copy(self._number(), part))
        await self._room(1)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            await self._abandon(error)
            return
        try:
            await self._room(1)
            await self._complete()
        except BaseException as failure:
            await self._abandon(failure)
            raise

    async def _room(self, most: int) -> None:
        """Wait until fewer than `most` parts are under way. Cancelling the wait cancels none of them: a thread cannot be stopped."""
        while len(self._sending) >= most:
            done, _ = await asyncio.wait(self._sending, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                self._parts.append(part.result())
                self._sending.discard(part)

    def _start(self, part: Coroutine[None, None, "CompletedPartTypeDef"]) -> None:
        self._sending.add(asyncio.create_task(part))

    def _number(self) -> int:
        self._count += 1
        return self._count

    async def _send(self, number: int, body: bytearray) -> "CompletedPartTypeDef":
        try:
            upload = await self._begun()
            part = await self._bucket.send(self._key, upload, number, body, checked=self._checked)
        finally:
            self._bucket.under_way -= len(body)
        self._spent[:] = [body]
        return part

    async def _copy(self, number: int, part: "Copy") -> "CompletedPartTypeDef":
        request = partial(
            self._bucket.patient.upload_part_copy,
            Bucket=self._bucket.bucket,
            Key=self._key,
            UploadId=await self._begun(),
            PartNumber=number,
            CopySource={"Bucket": self._bucket.bucket, "Key": part.source},
        )
        if part.length > MIN_PART:
            last = part.start + part.length - 1
            request = partial(request, CopySourceRange=f"bytes={part.start}-{last}")
        answer = await self._bucket.run_patiently(part.source, request)
        # A store that does not know the request takes it for the upload of an empty part.
        if "ETag" not in answer["CopyPartResult"]:
            raise Invalid(f"{part.source}: the store copies no parts")
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    async def _begun(self) -> str:
        """The id of the upload, which the first part begins for all."""
        if self._upload is None:
            self._upload = asyncio.create_task(self._bucket.begin(self._key, checked=self._checked))
        return await asyncio.shield(self._upload)

    async def _complete(self) -> None:
        """Publish the parts. After an answer that was lost the upload may be gone because it was completed."""
        begun = 0
        upload = await self._begun()
        parts = sorted(self._parts, key=itemgetter("PartNumber"))

        def request() -> None:
            nonlocal begun
            begun += 1
            self._bucket.patient.complete_multipart_upload(
                Bucket=self._bucket.bucket, Key=self._key, UploadId=upload, MultipartUpload={"Parts": parts}
            )

        try:
            await self._bucket.run_patiently(self._key, request)
        except UploadGone:
            if begun == 1 or await self._bucket.size(self._key) != self.size:
                raise

    async def _abandon(self, error: BaseException) -> None:
        """Abort because of `error`, after the parts under way; if that fails too, `error` gets a note."""
        await self._bucket.in_background(asyncio.create_task(self._abort(error)))

    async def _abort(self, error: BaseException) -> None:
        await asyncio.gather(*self._sending, return_exceptions=True)
        if self._upload is None or self._upload.exception() is not None:
            return
        try:
            await self._bucket.abort(self._key, self._upload.result())
        except StoreError as failure:
            error.add_note(f"and its multipart upload could not be aborted: {failure}")


async def _once(threads: ThreadPoolExecutor, key: str, call: Callable[[], T]) -> T:
    with translated(key):
        return await asyncio.get_running_loop().run_in_executor(threads, call)


class Copy(NamedTuple):
    """A part that the server copies: `length` bytes of `source` from `start`."""

    source: str
    start: int
    length: int


def copies(sources: Sequence[tuple[str, int]]) -> list[Copy]:
    """How the server copies the whole objects `sources`, pairs of key and size, into one; empty if S3 does not take such parts.

    It takes at least one, not more than MAX_PARTS, and none smaller than MIN_PART but the last.
    """
    parts = [part for source, size in sources for part in _cut(source, size)]
    fit = len(parts) <= MAX_PARTS and all(part.length >= MIN_PART for part in parts[:-1])
    return parts if fit else []


def _cut(source: str, size: int) -> list[Copy]:
    """Copies of even length, so that none is too small because another is large."""
    if size == 0:
        return []
    step = -(-size // -(-size // _COPIED_AT_ONCE))
    return [Copy(source, start, min(step, size - start)) for start in range(0, size, step)]


def _taken(body: bytearray) -> bytes:
    """As it is: boto3 takes a bytearray without copying it, but its stubs do not say so."""
    return cast("bytes", body)
