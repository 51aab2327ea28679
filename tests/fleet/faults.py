"""Faults on the wire between gateways and their bucket, a share of the requests each, drawn by a seed."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.parts.wire import Exchange, Wire, status, wire

_ERROR = status(500, "InternalError")
_BUSY = status(503, "SlowDown")
_CUT = b""
_CUTS = (20, 1_000, 70_000, 300_000)  # bytes of a body that still come


@dataclass
class Faults:
    """What goes wrong of the requests for keys with `part` in them, once `share` of them is not 0; `injected` counts it by kind.

    A third each are refused by the server, cut off before it sees them, and applied without an answer. Some bodies are cut short.
    """

    wire: Wire
    chance: random.Random
    share: float = 0.0
    part: str = ""
    injected: Counter[str] = field(default_factory=Counter)

    @property
    def endpoint(self) -> str:
        """Where gateways find the bucket."""
        return self.wire.endpoint

    def instead(self, exchange: Exchange) -> bytes | None:
        """Refuse a request, or cut it off."""
        drawn = self.chance.random() * 3
        if drawn >= 2 * self._share(exchange):
            return None
        if drawn >= self._share(exchange):
            return self._counted("cut off", _CUT)
        return self._counted("refused", self.chance.choice((_ERROR, _ERROR, _ERROR, _BUSY)))

    def lose(self, exchange: Exchange) -> bytes | None:
        """Lose an answer, or have the body of one of the next cut short."""
        if exchange.method == "GET" and not self.wire.cut_after and self.chance.random() < self._share(exchange):
            self.wire.cut_after.append(self.chance.choice(_CUTS))
            self.injected["cut short"] += 1
        drawn = self.chance.random() * (3 - 2 * self._share(exchange))
        return self._counted("answer lost", _CUT) if drawn < self._share(exchange) else None

    def _share(self, exchange: Exchange) -> float:
        return self.share if self.part in exchange.path else 0.0

    def _counted(self, kind: str, answer: bytes) -> bytes:
        self.injected[kind] += 1
        return answer


@asynccontextmanager
async def faults(endpoint: str, seed: int) -> AsyncIterator[Faults]:
    """A proxy in front of the S3 server at `endpoint`, without any faults until a share is set."""
    async with wire(endpoint) as proxy:
        it = Faults(proxy, random.Random(seed))
        proxy.instead, proxy.lose = it.instead, it.lose
        yield it
