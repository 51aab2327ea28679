"""A listing of S3 in pages, one request each."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import obstore

from storage.objects.s3_errors import translated

if TYPE_CHECKING:
    from obstore import ListStream, ObjectMeta
    from obstore.store import S3Store

PAGE = 1_000


class Pages:
    """The pages of one listing, in order; after a failure it goes on behind the last key that was read."""

    def __init__(self, objects: "S3Store", prefix: str, start_after: str) -> None:
        self._objects = objects
        self._prefix = prefix
        self._last = start_after
        self._stream: ListStream[Sequence[ObjectMeta]] | None = None

    async def read(self) -> Sequence["ObjectMeta"]:
        """The next page, at most PAGE keys; a shorter one is the last. One request, and none for the next one yet."""
        stream, self._stream = self._stream or self._begin(), None
        nothing: Sequence[ObjectMeta] = []
        with translated(self._prefix):
            page = await anext(stream, nothing)
        self._stream = stream
        self._last = page[-1]["path"] if page else self._last
        return page

    def _begin(self) -> "ListStream[Sequence[ObjectMeta]]":
        return obstore.list(self._objects, self._prefix or None, offset=self._last or None, chunk_size=PAGE)
