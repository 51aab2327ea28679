"""Listings of S3 in pages, one request each (https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html).

obstore lists 1,000 keys whatever is wanted, each of which costs the server a read. So boto3 asks for a few; what it is answered is
read here, for its own reader takes 0.14 ms for each key, ten times as long.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

import obstore

from storage.objects.contract import PAGE, ObjectInfo
from storage.objects.retrying import Transient
from storage.objects.s3_boto3 import Boto3Bucket
from storage.objects.s3_connection import UNREAD
from storage.objects.s3_errors import translated

if TYPE_CHECKING:
    from obstore import ListStream, ObjectMeta
    from obstore.store import S3Store

FEW = 512


class Page(NamedTuple):
    """Objects, and whether there are more after them."""

    objects: Sequence[ObjectInfo]
    more: bool


class Pages:
    """The pages of one listing below `root`, in order; after a failure it goes on behind the last key that was read."""

    def __init__(self, objects: "S3Store", boto3: Boto3Bucket, root: str, prefix: str, start_after: str) -> None:
        self._objects = objects
        self._boto3 = boto3
        self._root = root
        self._prefix = root + prefix
        self._last = root + start_after if start_after else ""
        # obstore takes no '/' at the end of where to start, so that a few more keys may come.
        self._behind = self._last if self._last.endswith("/") else ""
        self._stream: ListStream[Sequence[ObjectMeta]] | None = None

    async def read(self) -> Page:
        """The next page, at most PAGE keys. One request, not repeated, and none for the next one yet."""
        stream, self._stream = self._stream or self._begin(), None
        nothing: Sequence[ObjectMeta] = []
        with translated(self._prefix):
            page = await anext(stream, nothing)
        self._stream = stream
        self._last = page[-1]["path"] if page else self._last
        # The marker of a folder that is the root itself comes without its '/'.
        found = (meta for meta in page if meta["path"] > self._behind and meta["path"].startswith(self._root))
        return Page([described(meta["path"].removeprefix(self._root), meta) for meta in found], len(page) == PAGE)

    async def read_few(self, most: int) -> Page:
        """The next page, at most `most` keys. One request."""
        request = partial(self._boto3.client.list_objects_v2, Bucket=self._boto3.bucket, Prefix=self._prefix)
        request = partial(request, MaxKeys=most, **({"StartAfter": self._last} if self._last else {}))
        page = await self._boto3.run(self._prefix, lambda: self._read(request()))
        self._last = self._root + page.objects[-1].key if page.objects else self._last
        found = [info for info in page.objects if info.key]
        # MinIO says that there is no more behind the marker of the folder that is the root itself.
        return Page(found, page.more or len(found) < len(page.objects))

    def _begin(self) -> "ListStream[Sequence[ObjectMeta]]":
        return obstore.list(self._objects, self._prefix or None, offset=self._last or None, chunk_size=PAGE)

    def _read(self, answer: Mapping[str, Any]) -> Page:
        """Raises Transient for what is no listing."""
        try:
            return self._page(ET.fromstring(answer[UNREAD]))  # noqa: S314 - boto3 trusts all that the store says likewise
        except (ET.ParseError, ValueError) as error:
            raise Transient(f"{self._prefix}: what came is no listing: {error}") from error

    def _page(self, listing: ET.Element) -> Page:
        space, found, _ = listing.tag.partition("ListBucketResult")
        if not found:
            raise ValueError(listing.tag)
        encoded = listing.findtext(f"{space}EncodingType") == "url"
        objects = [self._object(entry, space, encoded=encoded) for entry in listing.iterfind(f"{space}Contents")]
        return Page(objects, more=listing.findtext(f"{space}IsTruncated") == "true")

    def _object(self, entry: ET.Element, space: str, *, encoded: bool) -> ObjectInfo:
        said = (entry.findtext(f"{space}{name}", "") for name in ("Key", "Size", "ETag", "LastModified"))
        key, size, etag, modified = said
        key = (unquote_plus(key) if encoded else key).removeprefix(self._root)
        return _info(key, int(size), etag, datetime.fromisoformat(modified))


def described(key: str, meta: "ObjectMeta") -> ObjectInfo:
    """What obstore says of an object."""
    return _info(key, meta["size"], meta["e_tag"] or "", meta["last_modified"])


def _info(key: str, size: int, etag: str, modified: datetime) -> ObjectInfo:
    """What all requests agree on: some stores list times in finer steps than in headers, and etags without their quotes."""
    quoted = f'"{etag}"' if etag and not etag.endswith('"') else etag
    return ObjectInfo(key, size, quoted, float(int(modified.timestamp())))
