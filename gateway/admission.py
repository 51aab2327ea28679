"""Admission: how many requests are served at once, in all and of one client."""

from collections import Counter

from starlette.types import Scope

from gateway.errors import RETRY_AFTER, ErrorResponse, unavailable

ALWAYS = frozenset({"/livez", "/readyz", "/metrics"})


class Admission:
    """Counts the requests of a process that are under way. A bound of 0 is none."""

    def __init__(self, most: int = 0, most_of_one: int = 0) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._count = 0
        self._of_one: Counter[str] = Counter()

    def enter(self, scope: Scope) -> ErrorResponse | None:
        """Let a request in, which MUST `leave` in the end, or give the answer that turns it away."""
        if scope["path"] in ALWAYS:
            return None
        if self._most and self._count >= self._most:
            return unavailable("the gateway serves as many requests as it may; try again")
        if self._most_of_one:
            client = _address(scope)
            if self._of_one[client] >= self._most_of_one:
                return _too_many(self._most_of_one)
            self._of_one[client] += 1
        self._count += 1
        return None

    def leave(self, scope: Scope) -> None:
        """A request that was let in is done."""
        if scope["path"] in ALWAYS:
            return
        self._count -= 1
        if self._most_of_one:
            client = _address(scope)
            self._of_one[client] -= 1
            if not self._of_one[client]:
                del self._of_one[client]


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _too_many(most: int) -> ErrorResponse:
    message = f"a client may have {most} requests under way at once; try again"
    return ErrorResponse(429, "TOOMANYREQUESTS", message, headers={"Retry-After": str(RETRY_AFTER)})
