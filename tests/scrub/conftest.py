"""A registry in memory, built through a real gateway, and what a scrub of it finds."""

from tests.protocol.conftest import api, clock, memory, metered, quiet, world

__all__ = ["api", "clock", "memory", "metered", "quiet", "world"]
