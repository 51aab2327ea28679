"""Gateways and a retention over one store in memory."""

from tests.protocol.conftest import api, clock, memory, metered, quiet, world

__all__ = ["api", "clock", "memory", "metered", "quiet", "world"]
