"""Faults of HTTP, between a store and a real server: the proxy of tests.parts.wire, told what to do to which request."""

import asyncio
import re
from collections.abc import Callable, Mapping
from enum import Enum

from tests.parts.wire import Alter, Ending, Exchange, Wire, status

REFUSED_FOR = 0.3  # seconds
SLOW_BY = 0.5


class HttpFault(Enum):
    """What may become of a request or its answer on the way."""

    REFUSED = "connection refused"
    RESET_BEFORE = "reset before it was applied"
    RESET_AFTER = "reset after it was applied"
    SILENT_BEFORE = "no answer, not applied"
    SILENT_AFTER = "no answer, applied"
    INTERNAL_ERROR = "500 InternalError"
    INTERNAL_ERROR_AFTER = "500 InternalError, applied"
    BUSY = "503 SlowDown"
    BUSY_FOR = "503 SlowDown with Retry-After"
    TRUNCATED = "truncated body"
    LONGER = "Content-Length beyond the body"
    SHORTER = "Content-Length within the body"
    FLIPPED_GET = "flipped byte in the body of a GET"
    FLIPPED_PUT = "flipped byte in the body of a PUT"
    ERROR_IN_SUCCESS = "200 with an error inside"
    STALE = "stale answer"
    SLOW = "slow answer"


INSTEAD: Mapping[HttpFault, bytes | Ending] = {
    HttpFault.REFUSED: Ending.RESET,
    HttpFault.RESET_BEFORE: Ending.RESET,
    HttpFault.SILENT_BEFORE: Ending.SILENCE,
    HttpFault.INTERNAL_ERROR: status(500, "InternalError"),
    HttpFault.BUSY: status(503, "SlowDown"),
    HttpFault.BUSY_FOR: status(503, "SlowDown").replace(b"Connection:", b"Retry-After: 1\r\nConnection:"),
    HttpFault.ERROR_IN_SUCCESS: status(200, "InternalError"),
}
AFTER: Mapping[HttpFault, bytes | Ending] = {
    HttpFault.RESET_AFTER: Ending.RESET,
    HttpFault.SILENT_AFTER: Ending.SILENCE,
    HttpFault.INTERNAL_ERROR_AFTER: status(500, "InternalError"),
}
_LENGTH = re.compile(rb"(?i)(content-length: *)(\d+)")

Schedule = Callable[[int], bool]
"""Whether a fault strikes the request with this number, counted from 0 among those that it can strike."""


def first(number: int) -> bool:
    """The first request alone."""
    return number == 0


def every_third(number: int) -> bool:
    """The second request, the fifth, and so on: never two attempts of one request in a row."""
    return number % 3 == 1


def always(_: int) -> bool:
    """Every request."""
    return True


class Faults:
    """Does one fault at a time to what passes `wire`; `struck` has the exchanges that it was done to."""

    def __init__(self, wire: Wire) -> None:
        self.struck: list[Exchange] = []
        self._wire = wire
        self._fault: HttpFault | None = None
        self._schedule: Schedule = lambda _: False
        self._count = 0
        self._reopening: asyncio.Task[None] | None = None
        self._seen: dict[str, dict[bytes, bytes]] = {}
        wire.instead, wire.lose = self._instead, self._lose
        wire.sending, wire.answering = self._sending, self._answering

    def follow(self, fault: HttpFault, schedule: Schedule) -> None:
        """Do `fault` as `schedule` says, from now on."""
        self._fault, self._schedule, self._count = fault, schedule, 0
        self.struck.clear()

    async def calm(self) -> None:
        """Do nothing any more."""
        if self._reopening is not None:
            await self._reopening
        await self._wire.listen()
        self._fault = self._reopening = None

    def forget(self) -> None:
        """Have no older answers to give."""
        self._seen.clear()

    def _strikes(self, exchange: Exchange) -> bool:
        strikes = self._schedule(self._count)
        self._count += 1
        if strikes:
            self.struck.append(exchange)
        return strikes

    def _instead(self, exchange: Exchange) -> bytes | Ending | None:
        fault = self._fault
        if (
            fault is None
            or fault not in INSTEAD
            or (fault is HttpFault.ERROR_IN_SUCCESS and exchange.kind not in {"COMPLETE", "COPY"})
        ):
            return None
        if not self._strikes(exchange):
            return None
        if fault is HttpFault.REFUSED:
            self._wire.refuse()
            if self._schedule is not always and self._reopening is None:
                self._reopening = asyncio.create_task(self._reopen())
        return INSTEAD[fault]

    async def _reopen(self) -> None:
        await asyncio.sleep(REFUSED_FOR)
        await self._wire.listen()
        self._reopening = None

    def _lose(self, exchange: Exchange) -> bytes | Ending | None:
        fault = self._fault
        return AFTER[fault] if fault is not None and fault in AFTER and self._strikes(exchange) else None

    def _sending(self, exchange: Exchange) -> Callable[[bytes], bytes] | None:
        has_body = int(exchange.headers.get("content-length", "0")) > 0
        if self._fault is HttpFault.FLIPPED_PUT and exchange.method == "PUT" and has_body and self._strikes(exchange):
            return _flipped
        return None

    def _answering(self, exchange: Exchange) -> Alter | None:
        async def alter(head: bytes, body: bytes) -> bytes:
            return await self._alter(exchange, head, body)

        return alter

    async def _alter(self, exchange: Exchange, head: bytes, body: bytes) -> bytes:
        """The answer, altered if it is of a kind that the fault can alter."""
        is_read = exchange.kind == "GET" and exchange.status in {200, 206}
        seen = self._seen.setdefault(f"{exchange.path} {exchange.headers.get('range')}", {})
        older = next((answer for other, answer in reversed(seen.items()) if other != body), None)
        if is_read:
            seen[body] = head + body
        match self._fault:
            case HttpFault.SLOW if self._strikes(exchange):
                await asyncio.sleep(SLOW_BY)
            case HttpFault.STALE if is_read and older and self._strikes(exchange):
                return older
            case HttpFault.FLIPPED_GET if is_read and body and self._strikes(exchange):
                return head + _flipped(body)
            case HttpFault.TRUNCATED if body and self._strikes(exchange):
                return head + body[: len(body) // 2]
            case HttpFault.LONGER if body and self._strikes(exchange):
                return _LENGTH.sub(lambda found: found[1] + b"%d" % (int(found[2]) + 10), head) + body
            case HttpFault.SHORTER if is_read and body and self._strikes(exchange):
                return _LENGTH.sub(lambda found: found[1] + b"%d" % (int(found[2]) // 2), head) + body
            case _:
                pass
        return head + body


def _flipped(piece: bytes) -> bytes:
    """One bit in the middle is another."""
    at = len(piece) // 2
    return piece[:at] + bytes([piece[at] ^ 1]) + piece[at + 1 :]
