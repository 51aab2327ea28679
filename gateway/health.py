"""Health: whether the process runs, and whether it can reach its store."""

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.errors import ErrorResponse
from gateway.requests import registry_of
from storage.errors import MoorageError

CHECK_AGE = 3.0  # seconds for which a round trip to the store counts


async def livez(_: Request) -> Response:
    """The process answers."""
    return PlainTextResponse("ok\n")


class Readiness:
    """Remembers when the store last answered, so that probes cost it little."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answered = 0.0

    async def readyz(self, request: Request) -> Response:
        """The store answers: 200, or 503 with what is wrong."""
        now = self._clock()
        if not 0 <= now - self._answered <= CHECK_AGE:
            try:
                await registry_of(request).check()
            except MoorageError as error:
                return ErrorResponse(503, "UNAVAILABLE", f"the store does not answer: {error}")
            self._answered = now
        return PlainTextResponse("ok\n")
