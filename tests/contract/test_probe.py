"""The probe finds of each real store what its entry declares, and docs/compatibility.md says so."""

import secrets

from storage.objects.contract import ObjectStore
from storage.objects.probe import probe
from tests import compatibility
from tests.contract.conftest import Backend, RealBackend
from tests.contract.helpers import keys
from tests.parts.stores import STORES


async def test_probe(real: RealBackend) -> None:
    """What the probe finds MUST be what tests.parts.stores declares, and nothing MUST be left behind."""
    async with real.store() as store:
        found = await probe(store, secrets.token_hex(8))
        assert found == store.capabilities == real.traits.capabilities
        assert await keys(store) == []
        assert [upload async for upload in store.list_incomplete_uploads()] == []


def test_the_page_of_compatibility(backend: Backend, store: ObjectStore) -> None:
    """docs/compatibility.md MUST have a row for each store, in the version that runs here, with the capabilities it has here."""
    rows = compatibility.PAGE.read_text("utf-8").splitlines()
    if backend.name in (*compatibility.LOCAL, *STORES):
        row = compatibility.found_row(backend.name, store.capabilities)
        assert any(line.startswith(row) for line in rows), row
