"""Gateways in this process, which log only what is wrong."""

from tests.protocol.conftest import quiet

__all__ = ["quiet"]
