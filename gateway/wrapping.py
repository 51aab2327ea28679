"""What wraps every request: admission, a header, a check of the path, an answer to what nobody foresaw, a line in the access log."""

from collections.abc import Callable

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.admission import Admission
from gateway.errors import TOO_SLOW, ErrorResponse, TooSlow, unexpected
from gateway.health import DRAINING

_log = structlog.get_logger()


class Wrapping:
    """Plain ASGI middleware."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float], admission: Admission) -> None:
        self._app = app
        self._clock = clock
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, sent = self._clock(), 0, 0
        waits, state = _waits_to_send(scope), scope.setdefault("state", {})

        async def noted() -> Message:
            nonlocal waits
            waits = False
            message = await receive()
            if TOO_SLOW in state:
                raise TooSlow
            return message

        async def observed(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["Docker-Distribution-API-Version"] = "registry/2.0"
                # A client that waits may send its body or not: what comes next on this connection is anybody's guess.
                if waits or DRAINING in state:
                    headers["Connection"] = "close"
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._admitted(scope, noted, observed)
        except Exception as error:
            if status:  # too late to say so: the server cuts the connection, so that nobody takes the body for whole
                raise
            await unexpected(error)(scope, receive, observed)
        finally:
            _log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                sent=sent,
                ms=round((self._clock() - began) * 1000, 1),
            )

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, or turn the request away."""
        refusal = self._admission.enter(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            await (_HIDDEN_SLASH if _hides_slash(scope) else self._app)(scope, receive, send)
        finally:
            self._admission.leave(scope)


def _waits_to_send(scope: Scope) -> bool:
    """Whether the client sends its body only once it is told to go on (RFC 9110, section 10.1.1)."""
    return any(name == b"expect" for name, _ in scope["headers"])


def _hides_slash(scope: Scope) -> bool:
    """Whether the path has an encoded slash, which a proxy in front may take for part of a name and we for a separator."""
    return b"%2f" in scope.get("raw_path", b"").partition(b"?")[0].lower()


_HIDDEN_SLASH = ErrorResponse(400, "NAME_INVALID", "slashes in a path must not be percent-encoded")
