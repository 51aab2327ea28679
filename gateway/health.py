"""Health: whether the process runs, and whether it can reach its store."""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from gateway.errors import store_failed, unavailable
from gateway.requests import registry_of
from storage.errors import MoorageError
from storage.registry import Registry

DRAINING = "moorage.draining"  # in a request's state: the gateway is about to end
CHECK_AGE = 3.0  # seconds for which a round trip to the store counts


class Liveness:
    """/livez."""

    async def get(self, _: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("ok\n")


class Readiness:
    """/readyz: remembers for a moment whether the store answered, so that probes cost it little, and wait for it one at a time."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._checked = 0.0
        self._failure: MoorageError | None = None
        self._checking = asyncio.Lock()

    async def get(self, request: Request) -> Response:
        """The store answers, and the gateway is not about to end: 200, or else 503."""
        if DRAINING in request.scope["state"]:
            return unavailable("the gateway is shutting down; try another")
        async with self._checking:
            if not 0 <= self._clock() - self._checked <= CHECK_AGE:
                self._failure = await _failure(registry_of(request))
                self._checked = self._clock()
        return store_failed(self._failure) if self._failure else PlainTextResponse("ok\n")


async def _failure(registry: Registry) -> MoorageError | None:
    try:
        await registry.check()
    except MoorageError as error:
        return error
    return None
