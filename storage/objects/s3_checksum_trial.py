"""Whether a server looks at the checksums that come with a body."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from storage.errors import StoreError
from storage.objects.s3_boto3 import Boto3Bucket
from storage.objects.s3_checksums import checksum_of
from storage.objects.s3_errors import Damaged, store_error

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import CompletedPartTypeDef

_BODY, _ANOTHER = b"checked", b"another"


async def are_checked(bucket: Boto3Bucket, key: str) -> bool:
    """Whether the server refuses bodies that are not those of their checksum, as objects and as parts, and takes the others.

    A server that refuses either, or the body without a signature, for another reason counts as one that does not check. Writes `key`.
    """
    try:
        return await _objects_are_checked(bucket, key) and await _parts_are_checked(bucket, key)
    except StoreError:
        return False


async def _objects_are_checked(bucket: Boto3Bucket, key: str) -> bool:
    put = partial(bucket.unsigned.put_object, Bucket=bucket.bucket, Key=key, Body=_BODY)
    if not await bucket.run(key, partial(_is_refused, partial(put, ChecksumCRC32C=checksum_of(_ANOTHER)))):
        return False
    await bucket.run(key, partial(put, ChecksumCRC32C=checksum_of(_BODY)))
    return True


async def _parts_are_checked(bucket: Boto3Bucket, key: str) -> bool:
    """By an upload of one part, which is refused first."""
    upload = await bucket.begin(key, checked=True)
    part = partial(
        bucket.unsigned.upload_part, Bucket=bucket.bucket, Key=key, UploadId=upload, PartNumber=1, Body=_BODY
    )
    try:
        if not await bucket.run(key, partial(_is_refused, partial(part, ChecksumCRC32C=checksum_of(_ANOTHER)))):
            return False
        etag = (await bucket.run(key, partial(part, ChecksumCRC32C=checksum_of(_BODY))))["ETag"]
        sent: CompletedPartTypeDef = {"PartNumber": 1, "ETag": etag, "ChecksumCRC32C": checksum_of(_BODY)}
        await bucket.run(
            key,
            partial(
                bucket.client.complete_multipart_upload,
                Bucket=bucket.bucket,
                Key=key,
                UploadId=upload,
                MultipartUpload={"Parts": [sent]},
            ),
        )
    finally:
        with suppress(StoreError):
            await bucket.abort(key, upload)
    return True


def _is_refused(request: Callable[[], object]) -> bool:
    """Whether the server says that the body was damaged; raises ClientError for any other refusal."""
    try:
        request()
    except ClientError as error:
        if isinstance(store_error(error, ""), Damaged):
            return True
        raise
    return False
