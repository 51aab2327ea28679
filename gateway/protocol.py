"""The HTTP/1.1 protocol of uvicorn, with answers in our shape to what never becomes a request."""

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_BODY = msgspec.json.encode(
    {"errors": [{"code": "UNSUPPORTED", "message": "this is no HTTP/1.1 request", "detail": None}]}
)
_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class Protocol(HttpToolsProtocol):
    """An unknown method, a malformed header or a path that is no ASCII is answered by an OCI error document too."""

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are for programmers
        """Answer what cannot be parsed, and hang up."""
        self.transport.write(_ANSWER)
        self.transport.close()
