"""Multipart uploads (https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html), and what the server copies into one."""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from operator import itemgetter
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from storage.errors import Invalid, StoreError
from storage.objects.parts import MAX_PARTS, MIN_PART
from storage.objects.s3_boto3 import Boto3Bucket
from storage.objects.s3_errors import UploadGone

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

# The server copies at most this much in one request, so that each is answered soon.
_COPIED_AT_ONCE = 1024 * 1024 * 1024
# An upload has this many parts under way at most, and only one while those of all uploads hold ENOUGH bytes.
ABREAST = 2
ENOUGH = 32 * 1024 * 1024


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
