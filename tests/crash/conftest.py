"""Only what is wrong is logged."""

from tests.protocol.conftest import quiet

__all__ = ["quiet"]
