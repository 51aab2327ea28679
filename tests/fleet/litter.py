"""What processes that died leave in a bucket, and what only a collector removes: one of each kind."""

from typing import TYPE_CHECKING

from storage import layout
from storage.documents import OCI_MANIFEST
from storage.layout import Segment
from storage.objects.contract import ObjectStore
from storage.records import CatalogMarker, Instance, Link, ReferrerEntry, TagPointer, encode
from storage.references import Digest, RepositoryName

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

NAME = RepositoryName("litter/app")
_NONCE, _DEAD = "0123456789abcdef", "00000000deadbeef"
_CONTENT = b"bytes that were pushed"


async def litter(store: ObjectStore) -> list[str]:
    """Leave it all in a repository where nobody works; the keys."""
    gone, subject, linked, unlinked = map(Digest.of, (b"gone", b"subject", _CONTENT, b"unlinked"))
    left = {
        **_blob(linked, 1, is_linked=True),
        **_blob(unlinked, 2, is_linked=False),
        layout.data_key(_segment(3)): b"an upload that was never closed",
        layout.segment_index_key(_segment(3).upload, _NONCE): b"its segments",
        layout.cancelled_key(_segment(3).upload): _NONCE.encode(),
        layout.tag_key(NAME, "dead"): encode(TagPointer(str(gone), _DEAD, OCI_MANIFEST, 1, 0, _NONCE)),
        layout.referrer_key(NAME, subject, gone): encode(ReferrerEntry(_DEAD, _NONCE)),
        layout.catalog_key(NAME): encode(CatalogMarker(_NONCE, deletions=True)),
        layout.manifest_key(NAME, gone): _NONCE.encode(),
    }
    for key, body in left.items():
        await store.put(key, body)
    return sorted(left)


def begin_upload(client: "S3Client", bucket: str) -> None:
    """Begin a large object, and send a part of it, which not every store lists."""
    key = layout.data_key(_segment(4))
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"a part")


def _blob(digest: Digest, number: int, *, is_linked: bool) -> dict[str, bytes]:
    segment = _segment(number)
    key = layout.data_key(segment)
    left = {key: _CONTENT, layout.instance_key(digest, segment): encode(Instance(key, len(_CONTENT), _NONCE))}
    link = {layout.link_key(digest, NAME): encode(Link(key, len(_CONTENT), _NONCE))}
    return left | (link if is_linked else {})


def _segment(number: int) -> Segment:
    return Segment(f"{number:032x}", 0, _NONCE)
