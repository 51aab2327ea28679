"""Upload sessions: bytes stream to random keys as they arrive, and are never moved.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs. A client names a blob's digest only in its last
request; by then the bytes lie in one segment for each request that carried some. One segment becomes the instance as it is, several are
composed into one.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from storage import layout
from storage.blobs import Blobs
from storage.errors import (
    DigestInvalid,
    NotFound,
    OutOfOrder,
    SizeInvalid,
    TooLarge,
    Unavailable,
    UploadUnknown,
)
from storage.hashing import Hasher, RunningHashes, hashed, mismatch, verified
from storage.layout import Segment
from storage.objects.parts import MIN_PART
from storage.records import Piece, SegmentIndex, changed, encode
from storage.references import ALGORITHMS, Digest, RepositoryName
from storage.sessions import Sealer, Session
from storage.shelf import Context, Shelf, codec

Renew = Callable[[bytes], Awaitable[bytes]]

MAX_PIECES = 32
_NOTHING = Piece(0, 0, "")


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries: its bytes, and what the client said of them, if anything: first byte's offset and length in bytes."""

    chunks: AsyncIterable[bytes]
    start: int | None = None
    length: int | None = None


class Uploads:
    """Begins, continues and ends upload sessions.

    `renew` reads the secret that sessions are sealed by from the bucket, where it puts the one given if there is none. `most` is the
    bytes of the largest blob.
    """

    def __init__(self, context: Context, blobs: Blobs, sealer: Sealer, renew: Renew, *, most: int) -> None:
        self._context = context
        self._blobs = blobs
        self._sealer = sealer
        self._renew = renew
        self._most = most
        self._hashes = RunningHashes()
        self._indexes = Shelf(context, codec(SegmentIndex))

    def begin(self, algorithm: str = "sha256") -> Session:
        """A new session; raises DigestInvalid for an algorithm that is not supported. No request."""
        if algorithm not in ALGORITHMS:
            raise DigestInvalid(f"digest-algorithm is one of {', '.join(ALGORITHMS)}, not {algorithm[:200]!r}")
        return Session(self._context.new_upload(), algorithm)

    def seal(self, session: Session, name: RepositoryName) -> str:
        """The token by which the client goes on."""
        return self._sealer.seal(session, name)

    async def open(self, token: str, name: RepositoryName) -> Session:
        """The session of a token; raises UploadUnknown if it is forged, another repository's, or expired. No request.

        Only a token that was not sealed by the secret that this process knows costs one: the bucket may have another by now.
        """
        try:
            session = self._sealer.open(token, name)
        except UploadUnknown:
            self._sealer.secret = await self._renew(self._sealer.secret)
            session = self._sealer.open(token, name)
        self._check_expiry(session)
        return session

    async def status(self, session: Session) -> Session:
        """The session with all that is durable, answers that were lost on the way included: one LIST. Raises UploadUnknown."""
        pieces: dict[int, Piece] = {}
        async with aclosing(self._context.store.list(layout.upload_prefix(session.upload))) as listing:
            async for info in listing:
                if info.key == layout.cancelled_key(session.upload):
                    raise UploadUnknown("the upload was cancelled")
                piece = _piece(info.key, info.size)
                if piece and piece.length > pieces.get(piece.offset, _NOTHING).length:
                    pieces[piece.offset] = piece
        while session.offset in pieces:
            session = session.extended(pieces[session.offset], None)
        return await self._shortened(session)

    async def append(self, session: Session, body: Body) -> Session:
        """Write the body as the session's next segment: one PUT, or a multipart upload. Nothing stays of a body that fails.

        Raises OutOfOrder if it does not begin where the session ends, SizeInvalid if it is not as long as was said, TooLarge as soon
        as it is known that the blob is.
        """
        session = await self._in_order(session, body.start)
        hasher = await self._hasher(session)
        content = hashed(self._measured(session, body), hasher)
        first = await anext(content, None)
        if first is None:
            return session
        nonce = self._context.nonce()
        key = layout.data_key(Segment(session.upload, session.offset, nonce))
        length = await self._context.store.put_stream(key, _chain(first, content))
        prefix = await hasher.hexdigest() if hasher else None
        if hasher:
            self._hashes.keep(nonce, hasher)
        return await self._shortened(session.extended(Piece(session.offset, length, nonce), prefix))

    async def commit(self, name: RepositoryName, session: Session, digest: Digest, body: Body | None) -> None:
        """Publish the session's bytes, the body's included, as the blob `digest`.

        Raises DigestInvalid if they are not that, and then nothing is published. Never copies a single segment whose session was
        begun for this algorithm.
        """
        if body is not None:
            session = await self._in_order(session, body.start)
            if session.offset == 0:
                await self._commit_at_once(name, session, digest, body)
                return
            session = await self.append(session, body)
        pieces = await self._pieces(session)
        if len(pieces) == 0:
            await self._commit_at_once(name, session, digest, Body(_nothing()))
        else:
            await self._publish(name, session, digest, await self._verified(session, digest, pieces))

    async def cancel(self, session: Session) -> None:
        """Mark the session as given up. Its bytes are left to the collector: another request may be publishing them."""
        await self._context.store.put(layout.cancelled_key(session.upload), self._context.nonce().encode())

    async def _commit_at_once(self, name: RepositoryName, session: Session, digest: Digest, body: Body) -> None:
        """All bytes in the request that names their digest: verified before they are stored, and not stored if known."""
        content = verified(self._measured(session, body), digest)
        shared = await self._blobs.shared(digest)
        if shared is not None:
            await _drain(content)
            if not self._blobs.is_recent(shared):
                shared = await self._blobs.shared(digest)
            if shared is None:
                raise Unavailable(f"the last link to {digest} went while it was being pushed")
            await self._blobs.adopt(name, digest, shared)
            return
        segment = self._context.own_segment()
        size = await self._context.store.put_stream(layout.data_key(segment), content)
        # Who pushed the same meanwhile has stored it too: to look again would cost every push a request.
        await self._blobs.publish(name, digest, segment, size, lambda: self._check_expiry(session))

    async def _publish(self, name: RepositoryName, session: Session, digest: Digest, segment: Segment) -> None:
        """Link the repository to verified bytes: to those that the store has already, or else to those of `segment`."""
        shared = await self._blobs.shared(digest)
        if shared is not None:
            await self._blobs.adopt(name, digest, shared)
        else:
            await self._blobs.publish(name, digest, segment, session.offset, lambda: self._check_expiry(session))

    async def _verified(self, session: Session, digest: Digest, pieces: Sequence[Piece]) -> Segment:
        """The segment that holds the session's bytes, which are those of the digest; raises DigestInvalid.

        Compares with the digest that the token has, if it is of the same algorithm. What is read again may have been damaged on the
        way here: that is not the client's fault, and Unavailable if the token tells so. If nothing tells, it is looked at twice.
        """
        sent = session.prefix if session.algorithm == digest.algorithm else None
        if sent is not None and sent != digest.hex:
            raise mismatch(digest, sent)
        try:
            return await self._joined(session, digest, pieces, is_known=sent is not None)
        except DigestInvalid as error:
            if sent is not None:
                raise Unavailable(f"upload {session.upload} is stored, but was read as other bytes") from error
        return await self._joined(session, digest, pieces, is_known=False)

    async def _joined(self, session: Session, digest: Digest, pieces: Sequence[Piece], *, is_known: bool) -> Segment:
        """The one segment that there is, read again unless its digest `is_known`, or a new one; raises DigestInvalid."""
        if len(pieces) > 1 or session.algorithm != digest.algorithm:
            return await self._compose(session, digest, pieces)
        if not is_known:
            await _drain(verified(self._content(session, pieces), digest))
        return Segment(session.upload, 0, pieces[0].nonce)

    async def _compose(self, session: Session, digest: Digest, pieces: Sequence[Piece]) -> Segment:
        """Join the segments into a new one, on the server where it can, and verify what came out.

        A single one is copied if the digest is of another algorithm than the session's: two digests never share a segment, for the
        collector judges each by itself.
        """
        target = self._context.own_segment()
        key = layout.data_key(target)
        store = self._context.store
        if store.capabilities.part_copy and all(piece.length >= MIN_PART for piece in pieces[:-1]):
            await store.compose(key, [(_key(session, piece), piece.length) for piece in pieces])
            await _drain(verified(await store.get_range(key), digest))
        else:
            await store.put_stream(key, verified(self._content(session, pieces), digest))
        return target

    async def _measured(self, session: Session, body: Body) -> AsyncGenerator[bytes]:
        """The body's bytes; raises SizeInvalid, or TooLarge before any of them is read if what was said is too much already."""
        size = session.offset
        if size + (body.length or 0) <= self._most:
            async for chunk in _counted(body):
                size += len(chunk)
                if size > self._most:
                    break
                yield chunk
            else:
                return
        raise TooLarge(f"a blob has at most {self._most} bytes here")

    async def _content(self, session: Session, pieces: Sequence[Piece]) -> AsyncGenerator[bytes]:
        for piece in pieces:
            try:
                chunks = await self._context.store.get_range(_key(session, piece))
            except NotFound:
                raise UploadUnknown("the upload has expired") from None
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield chunk

    async def _in_order(self, session: Session, start: int | None) -> Session:
        """The session, caught up by what is durable if the client is ahead of its token; raises OutOfOrder."""
        if start is not None and start > session.offset:
            session = await self.status(session)
        if start is not None and start != session.offset:
            raise OutOfOrder(session.offset)
        return session

    async def _hasher(self, session: Session) -> Hasher | None:
        if session.offset == 0:
            return Hasher(session.algorithm)
        return await self._hashes.after(session.pieces[-1].nonce) if session.pieces else None

    async def _shortened(self, session: Session) -> Session:
        """The session with a short list of segments: a long one is written to the bucket, and named by the token."""
        if len(session.pieces) <= MAX_PIECES:
            return session
        older, latest = await self._pieces(changed(session, pieces=session.pieces[:-1])), session.pieces[-1:]
        nonce = self._context.nonce()
        index = encode(SegmentIndex(tuple(older)))
        await self._context.store.put(layout.segment_index_key(session.upload, nonce), index)
        return changed(session, index=nonce, pieces=latest)

    async def _pieces(self, session: Session) -> Sequence[Piece]:
        """All segments of the session, in order."""
        if session.index is None:
            return session.pieces
        older = (await self._indexes.read(layout.segment_index_key(session.upload, session.index))).value
        if older is None:
            raise UploadUnknown("the upload has expired")
        return (*older.pieces, *session.pieces)

    def _check_expiry(self, session: Session) -> None:
        if self._context.is_over(session.upload):
            raise UploadUnknown("the upload has expired")


def _key(session: Session, piece: Piece) -> str:
    return layout.data_key(Segment(session.upload, piece.offset, piece.nonce))


def _piece(key: str, size: int) -> Piece | None:
    try:
        segment = layout.parse_data_key(key)
    except ValueError:
        return None  # an index of segments
    return Piece(segment.offset, size, segment.nonce)


async def _nothing() -> AsyncGenerator[bytes]:
    no_chunks: tuple[bytes, ...] = ()
    for chunk in no_chunks:
        yield chunk


async def _chain(first: bytes, rest: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


async def _counted(body: Body) -> AsyncGenerator[bytes]:
    """The body's bytes; raises SizeInvalid before its end if they are not as many as was said."""
    size = 0
    async for chunk in body.chunks:
        size += len(chunk)
        if body.length is not None and size > body.length:
            break
        yield chunk
    if body.length is not None and size != body.length:
        raise SizeInvalid(f"the body is not {body.length} bytes long as the request says")


async def _drain(chunks: AsyncIterable[bytes]) -> None:
    async for _ in chunks:
        pass
