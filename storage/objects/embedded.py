"""A store in a directory of this machine: nothing to install, and several processes may share it.

    objects.sqlite           the index, see storage.objects.embedded_index: keys, etags, bodies of up to 64 KiB
    partial/  files/         larger bodies, see storage.objects.embedded_files

Order of writing: the file, complete and on disk; then the row that names it; then the file that the row named before is
removed. So a process killed at any moment leaves every acknowledged object whole, and at worst a file that no row names.
Such a file is swept by an `open` a day later; whoever was only asleep finds it missing before committing, and fails.

SQLite and files block, so they are used in the threads of storage.objects.embedded_threads.
"""

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from storage.errors import Denied, Invalid, NotFound, PreconditionFailed, Unavailable
from storage.objects.contract import PAGE, Capabilities, IncompleteUpload, ObjectInfo, StoredObject
from storage.objects.embedded_files import BodyFiles, Draft, locked, make_home, sync_directory
from storage.objects.embedded_index import Index, Row
from storage.objects.embedded_threads import Threads

INLINE = 64 * 1024
ABANDONED_SECONDS = 24 * 3600.0
_READ_BLOCK = 512 * 1024
_WRITE_BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """What a conditional write demands of the object that it meets."""

    if_absent: bool = False
    if_match: str | None = None

    def check(self, key: str, current: str | None) -> None:
        """Raise PreconditionFailed unless the object's etag, None if there is no object, is as demanded."""
        if (self.if_absent and current is not None) or (self.if_match is not None and current != self.if_match):
            raise PreconditionFailed(key)


class EmbeddedStore:
    """Implements storage.objects.contract.ObjectStore. Made by `open`."""

    def __init__(self, directory: Path, clock: Callable[[], float], nonce: Callable[[], str]) -> None:
        self._directory = directory
        self._clock = clock
        self._nonce = nonce
        self._index = Index(directory)
        self._files = BodyFiles(directory)
        self._threads = Threads()
        self.capabilities = Capabilities(
            conditional_create=True,
            conditional_replace=True,
            conditional_delete=True,
            ordered_listing=True,
            presigning=False,
            part_copy=False,
            checksums=False,
        )

    @classmethod
    async def open(cls, directory: Path, clock: Callable[[], float], nonce: Callable[[], str]) -> Self:
        """Open the store in `directory`, which is created if missing.

        `clock` gives seconds since 1970, `nonce` random hex that never repeats; both are called in threads. Raises
        ForeignFormat for a directory that something else, or a newer moorage, wrote; Invalid for what is no directory;
        Denied for one that cannot be written to.
        """
        store = cls(directory, clock, nonce)
        try:
            await store._threads.write(str(directory), store._prepare)
        except BaseException:
            await store.close()
            raise
        return store

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        return await self._threads.do(key, self._load, key)

    async def get_if_changed(self, key: str, etag: str) -> StoredObject | None:
        """See ObjectStore.get_if_changed."""
        return await self._threads.do(key, self._load_if_changed, key, etag)

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range. The object stays readable to the end though it be replaced or deleted meanwhile."""
        stream = self._stream(key, start, length)
        await anext(stream)  # only a generator that has begun frees anything when it is closed
        return stream

    async def head(self, key: str) -> ObjectInfo:
        """See ObjectStore.head."""
        info = await self._threads.do(key, self._index.head, key)
        if info is None:
            raise NotFound(key)
        return info

    async def put(self, key: str, body: bytes, *, if_absent: bool = False, if_match: str | None = None) -> str:
        """See ObjectStore.put."""
        condition = Condition(if_absent, if_match)
        if len(body) <= INLINE:
            return await self._commit(key, bytes(body), condition)
        async with self._draft() as draft:
            await self._threads.do(key, draft.complete, body)
            return await self._commit(key, draft, condition)

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes]) -> int:
        """See ObjectStore.put_stream. Holds about 1 MiB and a chunk in memory."""
        async with self._draft() as draft:
            block = bytearray()
            async for chunk in chunks:
                block += chunk
                if len(block) >= _WRITE_BLOCK:
                    await self._append(key, draft, block)
                    block = bytearray()
            if draft.size == 0:
                await self.put(key, bytes(block))
                return len(block)
            await self._threads.do(key, draft.complete, block)
            await self._commit(key, draft, Condition())
            return draft.size

    async def compose(self, key: str, sources: Sequence[tuple[str, int]]) -> None:
        """See ObjectStore.compose."""
        async with aclosing(self._concatenated([source for source, _ in sources])) as chunks:
            await self.put_stream(key, chunks)

    async def delete(self, key: str, *, if_match: str | None = None) -> None:
        """See ObjectStore.delete."""
        await self._remove(key, await self._threads.write(key, self._delete, [key], Condition(if_match=if_match)))

    async def delete_many(self, keys: Sequence[str]) -> None:
        """See ObjectStore.delete_many. All or none, in one transaction."""
        subject = f"{len(keys)} keys"
        await self._remove(subject, await self._threads.write(subject, self._delete, keys, Condition()))

    async def list(self, prefix: str, *, start_after: str = "", limit: int | None = None) -> AsyncGenerator[ObjectInfo]:
        """See ObjectStore.list."""
        left, after = limit, start_after
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            page = await self._threads.do(prefix, self._index.page, prefix, after, size)
            for info in page:
                yield info
            if len(page) < size:
                return
            after = page[-1].key
            left = None if left is None else left - size

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get."""
        raise Invalid(f"{key}: a store in a directory has no URLs that last {expires} s")

    async def list_incomplete_uploads(self) -> AsyncGenerator[IncompleteUpload]:
        """See ObjectStore.list_incomplete_uploads. Streams that have not filled a block yet hold nothing and are not listed."""
        for upload in await self._threads.do("uploads", self._index.uploads):
            yield upload

    async def abort_incomplete_upload(self, upload: IncompleteUpload) -> None:
        """See ObjectStore.abort_incomplete_upload. Its writer, if it lives, will get Unavailable."""
        await self._threads.write(upload.key, self._abort, [upload.upload])

    async def close(self) -> None:
        """See ObjectStore.close. Waits for what is under way."""
        await self._threads.close(self._index.close)

    def _prepare(self) -> None:
        make_home(self._directory)
        with locked(self._directory):
            self._index.prepare()
            self._files.prepare()
            sync_directory(self._directory)
            self._sweep(self._clock() - ABANDONED_SECONDS)

    def _sweep(self, moment: float) -> None:
        """Remove the files that no row names, and the uploads without a file, if nobody touched them since `moment`."""
        unnamed = [name for name in self._files.untouched_since(moment) if not self._index.refers_to(name)]
        begun = [upload.upload for upload in self._index.uploads() if upload.initiated < moment]
        if abandoned := unnamed + [name for name in begun if not self._files.has(name)]:
            self._abort(abandoned)

    def _abort(self, names: Sequence[str]) -> None:
        """Remove uploads and files without an object; the write lock keeps anyone from naming them meanwhile."""
        with self._index.change() as change:
            for name in names:
                change.forget_upload(name)
                if not self._index.refers_to(name):
                    self._files.remove(name)

    def _open(self, key: str, held: ExitStack) -> tuple[ObjectInfo, bytes | BinaryIO]:
        """Find an object, and hold its file open; a file that was replaced since its row was read is looked for again."""
        missing = None
        while row := self._index.find(key):
            if row.file is None:
                return row.info, row.body or b""
            if row.file == missing:
                raise Unavailable(f"{key}: its file {row.file} is missing")
            try:
                return row.info, held.enter_context(self._files.open(row.file))
            except FileNotFoundError:
                missing = row.file
        raise NotFound(key)

    def _load(self, key: str) -> StoredObject:
        with ExitStack() as held:
            info, body = self._open(key, held)
            found = StoredObject(info, body if isinstance(body, bytes) else body.read())
        if len(found.body) != info.size:
            raise Unavailable(f"{key}: {len(found.body)} of its {info.size} bytes are there")
        return found

    def _load_if_changed(self, key: str, etag: str) -> StoredObject | None:
        info = self._index.head(key)
        return None if info is not None and info.etag == etag else self._load(key)

    async def _stream(self, key: str, start: int, length: int | None) -> AsyncGenerator[bytes]:
        """Yield an empty chunk as soon as the object is open, then the range."""
        with ExitStack() as held:
            info, body = await self._threads.do(key, self._open, key, held)
            end = info.size if length is None else start + length
            if not 0 <= start <= end <= info.size:
                raise Invalid(f"{key}: bytes {start} to {end} of {info.size}")
            yield b""
            for at in range(start, end, _READ_BLOCK):
                until = min(at + _READ_BLOCK, end)
                if isinstance(body, bytes):
                    yield body[at:until]
                else:
                    yield await self._threads.do(key, _read, key, body, at, until)

    async def _concatenated(self, keys: Sequence[str]) -> AsyncGenerator[bytes]:
        for key in keys:
            async with aclosing(await self.get_range(key)) as chunks:
                async for chunk in chunks:
                    yield chunk

    @asynccontextmanager
    async def _draft(self) -> AsyncIterator[Draft]:
        """A body to write, of which nothing stays if the block raises before it was published."""
        draft = self._files.draft(self._nonce())
        try:
            yield draft
        except BaseException:
            with suppress(Unavailable, Denied):  # the error that led here counts; what stays is swept a day later
                await self._threads.write(draft.name, self._discard, draft)
            raise

    async def _append(self, key: str, draft: Draft, block: bytearray) -> None:
        if draft.size == 0:
            draft.announced = True
            await self._threads.write(key, self._announce, IncompleteUpload(key, draft.name, self._clock()))
        await self._threads.do(key, draft.append, block)

    def _announce(self, upload: IncompleteUpload) -> None:
        with self._index.change() as change:
            change.announce_upload(upload)

    def _discard(self, draft: Draft) -> None:
        draft.discard()
        if draft.announced and not draft.published:
            with self._index.change() as change:
                change.forget_upload(draft.name)

    async def _commit(self, key: str, content: bytes | Draft, condition: Condition) -> str:
        etag = f'"{self._nonce()}"'
        replaced = await self._threads.write(key, self._replace, key, etag, content, condition)
        await self._remove(key, [replaced])
        return etag

    def _replace(self, key: str, etag: str, content: bytes | Draft, condition: Condition) -> str | None:
        """Publish an object, and tell the file that it had before."""
        with self._index.change() as change:
            current, replaced = change.current(key)
            condition.check(key, current)
            if isinstance(content, bytes):
                change.put(Row(ObjectInfo(key, len(content), etag, self._clock()), None, content))
            elif self._files.is_complete(content.name):
                change.put(Row(ObjectInfo(key, content.size, etag, self._clock()), content.name, None))
                content.published = True
            else:
                raise Unavailable(f"{key}: the upload was aborted")
        return replaced

    def _delete(self, keys: Sequence[str], condition: Condition) -> Sequence[str | None]:
        """Remove objects, and tell the files that they had."""
        removed = []
        with self._index.change() as change:
            for key in keys:
                current, file = change.current(key)
                condition.check(key, current)
                change.delete(key)
                removed.append(file)
        return removed

    async def _remove(self, subject: str, names: Sequence[str | None]) -> None:
        """Remove files that no row names any more. The write is done, so no error is told; what stays is swept a day later."""
        if files := [name for name in names if name is not None]:
            with suppress(Unavailable, Denied):
                await self._threads.do(subject, self._remove_files, files)

    def _remove_files(self, names: Sequence[str]) -> None:
        for name in names:
            self._files.remove(name)


def _read(key: str, file: BinaryIO, start: int, end: int) -> bytes:
    block = os.pread(file.fileno(), end - start, start)
    if len(block) < end - start:
        raise Unavailable(f"{key}: its file ends at byte {start + len(block)}")
    return block
