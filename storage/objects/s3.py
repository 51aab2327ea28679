"""A bucket of any S3-compatible store.

Small operations, listings and reads go through obstore, which takes a tenth of boto3's time for them; what is sent in parts, single
deletes and listings of a few go through boto3. Each method is one request where the contract says so, and requests are retried here alone.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import boto3
import obstore
from obstore.exceptions import NotModifiedError

from storage.errors import Invalid, NotFound, Overtaken, PreconditionFailed, Unavailable
from storage.objects.contract import Capabilities, IncompleteUpload, ObjectInfo, StoredObject
from storage.objects.parts import regroup
from storage.objects.retrying import Retries, Transient
from storage.objects.s3_boto3 import Boto3Bucket
from storage.objects.s3_checksum_trial import are_checked
from storage.objects.s3_connection import Place, connect
from storage.objects.s3_errors import Unranged, translated, without_user
from storage.objects.s3_listing import FEW, Pages, described
from storage.objects.s3_multipart import MultipartUpload, copies

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, UpdateVersion

T = TypeVar("T")
_Mode: TypeAlias = "Literal['create', 'overwrite'] | UpdateVersion"

CHUNK = 1024 * 1024  # bytes; a quarter of it costs a fifth more CPU for each byte that passes
# A body up to this many bytes is sent by obstore, which limits the time of a request as a whole.
_SMALL = 1024 * 1024
# How often in a row a read may break off before anything of it has come.
_FRUITLESS_READS = 3
_LONGEST_PRESIGNED = 7 * 24 * 3600

ASSUMED = Capabilities(
    conditional_create=True,
    conditional_replace=True,
    conditional_delete=False,
    ordered_listing=True,
    presigning=True,
    part_copy=True,
    checksums=False,
)
"""What most stores can do; storage.objects.probe finds out what one really can."""


class S3Store:
    """Implements storage.objects.contract.ObjectStore in `bucket`, below `prefix`.

    Endpoint, region and credentials come out of boto3's chain unless `session` and `endpoint` are given. Presigned URLs name
    `public_endpoint` if it is given. No request is repeated later than `deadline` seconds after it was first made, nor
    before `repeating` was called. Raises Denied if there are no credentials; sends nothing by itself.
    """

    def __init__(  # noqa: PLR0913 - all but the bucket have a default or a name
        self,
        bucket: str,
        prefix: str = "",
        *,
        clock: Callable[[], float],
        session: boto3.Session | None = None,
        endpoint: str | None = None,
        public_endpoint: str | None = None,
        deadline: float = 20,
        capabilities: Capabilities = ASSUMED,
        repeating: Callable[[], None] = lambda: None,
    ) -> None:
        self.capabilities = capabilities
        self._root = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        connection = connect(
            bucket,
            clock,
            session=session,
            endpoint=endpoint,
            public_endpoint=public_endpoint,
            silent_at_most=deadline / 2,
        )
        self._objects = connection.objects
        self._public = connection.public
        self._boto3 = Boto3Bucket(connection, bucket, Retries(deadline, noted=repeating))
        self._retries = Retries(deadline, self._boto3.pause_wanted, repeating)

    @property
    def place(self) -> Place:
        """Where the bucket is, for messages."""
        meta = self._boto3.client.meta
        return Place(self._boto3.bucket, without_user(meta.endpoint_url), meta.region_name)

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        return await self._retries(lambda: self._get(key))

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""

        async def attempt() -> StoredObject | None:
            try:
                return await self._get(key, {"if_none_match": etag})
            except NotModifiedError:
                return None

        return await self._retries(attempt)

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        if start < 0 or (length is not None and length < 0):
            raise Invalid(f"{key}: {length} bytes from {start}")
        if length == 0:
            return await self._no_bytes(key, start)
        try:
            result = await self._open_range(key, _range(start, length))
        except Invalid:
            # S3 calls it unsatisfiable to read all the rest where nothing is left.
            if length is not None:
                raise
            return await self._no_bytes(key, start)
        first, last = result.range
        end = last if length is None else start + length
        if not first <= start <= end <= last:
            raise Invalid(f"{key}: {length} bytes from {start} of {result.meta['size']}")
        return self._chunks(key, result, start, end)

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head. A missing key takes a second request: HEAD does not tell it from a missing bucket."""
        try:
            return await self._retries(lambda: self._head(key))
        except NotFound:
            result = await self._retries(lambda: self._open(key))
            return described(key, result.meta)

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        if if_match is not None:
            return await self._put_if(key, body, {"e_tag": if_match}, if_match)
        if if_absent:
            return await self._put_if(key, body, "create", None)
        return await self._retries(lambda: self._put(key, body, "overwrite"))

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See ObjectStore.put_stream."""
        spent: list[bytearray] = []
        async with aclosing(regroup(chunks, spent)) as parts:
            # A list, for nothing here may hold a part that was sent.
            begun = [part async for part in _at_most(2, parts)]
            if len(begun) == 1:
                return await self._put_whole(key, begun[0])
            checked = self.capabilities.checksums
            async with MultipartUpload(self._boto3, self._root + key, spent, checked=checked) as upload:
                while begun:
                    await upload.add(begun.pop(0))
                async for part in parts:
                    await upload.add(part)
            return upload.size

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """See ObjectStore.compose. What the server cannot copy, because parts would be too small, is read and written here."""
        parts = copies([(self._root + source, size) for source, size in sources])
        if self.capabilities.part_copy and parts:
            async with MultipartUpload(self._boto3, self._root + key, []) as upload:
                for part in parts:
                    await upload.copy(part)
        else:
            await self.put_stream(key, self._joined(sources))

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        if if_match is not None and not self.capabilities.conditional_delete:
            raise Invalid(f"{key}: this store has no conditional delete")
        await self._boto3.delete(self._root + key, if_match)

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many."""
        if not keys:
            return
        paths = [self._root + key for key in keys]

        async def attempt() -> None:
            with translated(keys[0]):
                await obstore.delete_async(self._objects, paths)

        await self._retries(attempt)

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list."""
        pages = Pages(self._objects, self._boto3, self._root, prefix, start_after)
        left = limit
        while left is None or left > 0:
            page = await (pages.read_few(left) if left is not None and left <= FEW else self._retries(pages.read))
            for info in page.objects[:left]:
                yield info
            if not page.more:
                return
            left = None if left is None else left - len(page.objects)

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get. S3 knows no URL that lasts longer than a week."""
        if not self.capabilities.presigning or not 0 < expires <= _LONGEST_PRESIGNED:
            raise Invalid(f"{key}: no URL that lasts {expires} s can be had")
        with translated(key):
            return await obstore.sign_async(self._public, "GET", self._root + key, timedelta(seconds=expires))

    async def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads."""
        async for found in self._boto3.incomplete_uploads():
            if found.key.startswith(self._root):
                yield IncompleteUpload(found.key.removeprefix(self._root), found.upload, found.initiated)

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload."""
        await self._boto3.abort(self._root + upload.key, upload.upload)

    async def begin_upload(self, key: str) -> IncompleteUpload:
        """Begin a stream and leave it incomplete, so that the probe learns whether those can be found and freed."""
        return IncompleteUpload(key, await self._boto3.begin(self._root + key), 0.0)

    async def checks_checksums(self, key: str) -> bool:
        """Whether the server refuses bodies that are not those of their checksum; a few requests, which may write `key`."""
        return await are_checked(self._boto3, self._root + key)

    async def close(self) -> None:
        """See ObjectStore.close."""
        await self._boto3.close()

    async def _open(self, key: str, options: "GetOptions | None" = None) -> "GetResult":
        with translated(key):
            return await obstore.get_async(self._objects, self._root + key, options=options)

    async def _get(self, key: str, options: "GetOptions | None" = None) -> StoredObject:
        result = await self._open(key, options)
        with translated(key):
            body = bytes(await result.bytes_async())
        return StoredObject(described(key, result.meta), body)

    async def _head(self, key: str) -> ObjectInfo:
        with translated(key):
            return described(key, await obstore.head_async(self._objects, self._root + key))

    async def _no_bytes(self, key: str, start: int) -> AsyncGenerator[bytes]:
        """The empty stream, if `start` lies within the object or at its end."""
        size = (await self.head(key)).size
        if not 0 <= start <= size:
            raise Invalid(f"{key}: the range does not lie within the object's {size} bytes")
        return _nothing()

    async def _chunks(self, key: str, result: "GetResult", start: int, end: int) -> AsyncGenerator[bytes]:
        """The bytes of `key` from `start` to `end`, which `result` begins; a stream that breaks off is begun again where it did."""
        etag, fruitless = result.meta["e_tag"], 0
        while True:
            try:
                async for chunk in _stream(key, result, start, end):
                    start, fruitless = start + len(chunk), 0
                    yield chunk
            except Transient:
                fruitless += 1
                if fruitless > _FRUITLESS_READS:
                    raise
            else:
                return
            self._retries.noted()
            result = await self._reopened(key, start, end, etag)

    async def _reopened(self, key: str, start: int, end: int, etag: str | None) -> "GetResult":
        """The rest of an object that MUST still be the same."""
        options: GetOptions = {"range": (start, end), "if_match": etag}
        try:
            result = await self._open_range(key, options)
        except (Invalid, NotFound, PreconditionFailed) as error:
            raise Unavailable(f"{key}: it was replaced or removed while it was read") from error
        if result.meta["e_tag"] != etag:
            raise Unavailable(f"{key}: it was replaced while it was read")
        return result

    async def _open_range(self, key: str, options: "GetOptions | None") -> "GetResult":
        """Begin to read a range, or else the whole object: not every server answers ranges as such."""
        try:
            return await self._retries(lambda: self._open(key, options))
        except Unranged:
            return await self._retries(lambda: self._open(key))

    async def _put(self, key: str, body: bytes, mode: _Mode) -> str:
        with translated(key):
            result = await obstore.put_async(self._objects, self._root + key, body, mode=mode, use_multipart=False)
        return result["e_tag"] or ""

    async def _put_if(self, key: str, body: bytes, mode: _Mode, expected: str | None) -> str:
        """Write `body` over the state `expected`, an etag or None for no object.

        Once an attempt has failed in a way that leaves open whether it was applied, what is there now decides.
        """
        unknown = False

        async def attempt() -> str:
            nonlocal unknown
            if unknown and (etag := await self._applied(key, body, expected)):
                return etag
            try:
                return await self._put(key, body, mode)
            except NotFound:
                refused = PreconditionFailed(f"{key}: there is no such object to replace")
            except PreconditionFailed as error:
                refused = error
            except Transient:
                unknown = True
                raise
            if unknown and (etag := await self._applied(key, body, expected)):
                return etag
            raise refused

        return await self._retries(attempt)

    async def _applied(self, key: str, body: bytes, expected: str | None) -> str | None:
        """The etag if `body` was written, None if the state is still `expected`, else raises Overtaken."""
        try:
            found = await self._get(key)
        except NotFound:
            if expected is None:
                return None
            raise Overtaken(f"{key}: it was removed meanwhile") from None
        if found.body == body:
            return found.info.etag
        if found.info.etag == expected:
            return None
        raise Overtaken(f"{key}: it was written by another meanwhile")

    async def _put_whole(self, key: str, body: bytearray) -> int:
        if len(body) <= _SMALL:
            await self.put(key, bytes(body))
        else:
            await self._boto3.put(self._root + key, body, checked=self.capabilities.checksums)
        return len(body)

    async def _joined(self, sources: Sequence[tuple[str, int]]) -> AsyncGenerator[bytes]:
        for source, size in sources:
            async with aclosing(await self.get_range(source, 0, size)) as chunks:
                async for chunk in chunks:
                    yield chunk


async def _stream(key: str, result: "GetResult", start: int, end: int) -> AsyncGenerator[bytes]:
    """The bytes from `start` to `end` of a body that MUST hold them; it may begin before and end after them."""
    stream, at = result.stream(CHUNK), result.range[0]
    while at < end:
        with translated(key):
            chunk = await anext(stream, b"")
        if not chunk:
            raise Transient(f"{key}: the body ended {end - at} bytes early")
        if wanted := chunk[max(start - at, 0) : end - at]:
            yield wanted
        at += len(chunk)


async def _nothing() -> AsyncGenerator[bytes]:
    none: tuple[bytes, ...] = ()
    for chunk in none:
        yield chunk


async def _at_most(count: int, items: AsyncGenerator[T]) -> AsyncGenerator[T]:
    while count and (item := await anext(items, None)) is not None:
        yield item
        count -= 1


def _range(start: int, length: int | None) -> "GetOptions | None":
    if length is not None:
        return {"range": (start, start + length)}
    return {"range": {"offset": start}} if start else None
