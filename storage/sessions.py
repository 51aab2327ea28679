"""Upload sessions: all that is known of an upload, in a token that the client carries from request to request.

Nothing is written when a session begins, any gateway can go on with it, and no secret is configured: the token is authenticated
(HMAC-SHA256, RFC 2104) with a key that the bucket keeps, over the repository's name too, so that it is worth nothing elsewhere.
"""

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from storage.errors import UploadUnknown
from storage.records import Piece, changed
from storage.references import RepositoryName

_MAC_SIZE = 16


class Session(msgspec.Struct, frozen=True, array_like=True):
    """An upload under way.

    `upload` tells when it ends (storage.layout); `prefix` is the hex digest by `algorithm` of all bytes so far, where it is known; `index`
    names the object that lists the first segments, once they are too many for a URL; `pieces` are those since.
    """

    upload: str
    algorithm: str
    offset: int = 0
    prefix: str | None = None
    index: str | None = None
    pieces: tuple[Piece, ...] = ()

    def extended(self, piece: Piece, prefix: str | None) -> "Session":
        """The session after one more segment."""
        return changed(self, offset=piece.end, prefix=prefix, pieces=(*self.pieces, piece))


class Sealer:
    """Turns sessions into tokens and back."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret

    def seal(self, session: Session, name: RepositoryName) -> str:
        """A token of URL-safe characters."""
        payload = msgspec.msgpack.encode(session)
        return _token(self._mac(payload, name) + payload)

    def open(self, token: str, name: RepositoryName) -> Session:
        """The session in a token; raises UploadUnknown unless it was sealed here, for this repository."""
        try:
            raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except ValueError:
            raise _unknown() from None
        mac, payload = raw[:_MAC_SIZE], raw[_MAC_SIZE:]
        # Base64 has other spellings of the same bytes; only that of `seal` is a token.
        if _token(raw) != token or not hmac.compare_digest(mac, self._mac(payload, name)):
            raise _unknown()
        try:
            return msgspec.msgpack.decode(payload, type=Session)
        except msgspec.DecodeError:  # sealed by another version
            raise _unknown() from None

    def _mac(self, payload: bytes, name: RepositoryName) -> bytes:
        return hmac.digest(self.secret, b"upload\0" + name.encode() + b"\0" + payload, hashlib.sha256)[:_MAC_SIZE]


def _token(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unknown() -> UploadUnknown:
    return UploadUnknown("no such upload session in this repository")
