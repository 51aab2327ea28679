"""The probe finds of each real store what its entry declares."""

import secrets

from storage.objects.probe import probe
from tests.contract.conftest import RealBackend
from tests.contract.helpers import keys


async def test_probe(real: RealBackend) -> None:
    """What the probe finds MUST be what tests.parts.stores declares, and nothing MUST be left behind."""
    async with real.store() as store:
        assert await probe(store, secrets.token_hex(8)) == real.traits.capabilities
        assert store.capabilities == real.traits.capabilities
        assert await keys(store) == []
        assert [upload async for upload in store.list_incomplete_uploads()] == []
