"""Pace: whether a client keeps bytes moving while it is its turn to."""

from typing import NamedTuple


class Bounds(NamedTuple):
    """What is demanded: a byte every `timeout` seconds, and `rate` bytes a second on average over as long."""

    timeout: float
    rate: float


class Pace:
    """How one direction of a connection goes. It is told now and then, and knows no clock.

    Only the time in which the other side is awaited counts, so that nobody is blamed for a store that is slow, nor for a process that
    stood still.
    """

    __slots__ = ("_count", "_moved", "_quiet", "_waited")

    def __init__(self) -> None:
        self.begin(0)

    def begin(self, count: int) -> None:
        """Start afresh, `count` bytes having passed until now."""
        self._count = count
        self._moved = 0
        self._quiet = self._waited = 0.0

    def rest(self, count: int) -> None:
        """It was not the client's turn."""
        self._note(count)
        self._quiet = 0.0

    def is_too_slow(self, elapsed: float, count: int, bounds: Bounds) -> bool:
        """Whether the client, awaited for `elapsed` seconds more, has now had its time."""
        self._quiet = 0.0 if self._note(count) else self._quiet + elapsed
        self._waited += elapsed
        if self._quiet >= bounds.timeout:
            return True
        if self._waited < bounds.timeout:
            return False
        slow = self._moved < bounds.rate * self._waited
        self._moved, self._waited = 0, 0.0
        return slow

    def _note(self, count: int) -> int:
        moved = count - self._count
        self._count = count
        self._moved += moved
        return moved
