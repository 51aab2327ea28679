"""Opening a store whose capabilities are known."""

import secrets
import time
from dataclasses import replace

import pytest

from storage.errors import Invalid
from storage.objects.opening import Opening, found_out, open_store
from storage.objects.s3 import ASSUMED
from storage.objects.single_writer import SingleWriterStore

URL = "s3://bucket"
OPENING = Opening(time.time, lambda: secrets.token_hex(8))


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens where the store would be."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test12345")


async def test_what_is_known_is_not_probed() -> None:
    """A store that is known is opened without a request, and can do what it is known for."""
    known = replace(ASSUMED, presigning=False, conditional_delete=True)
    store = await open_store(URL, replace(OPENING, known=known))
    assert store.capabilities == known
    await store.close()


@pytest.mark.parametrize("ignored", ["conditional_create", "conditional_replace"])
async def test_a_store_that_is_known_to_ignore_conditions(ignored: str) -> None:
    """It is refused, or given a single writer, as one that was probed."""
    known = replace(ASSUMED, **{ignored: False})
    with pytest.raises(Invalid, match="the store ignores If-"):
        await open_store(URL, replace(OPENING, known=known))
    store = await open_store(URL, replace(OPENING, known=known, single_writer=True))
    assert isinstance(store, SingleWriterStore)
    await store.close()


async def test_a_store_of_our_own_has_nothing_to_be_found_out() -> None:
    """It is what it says."""
    assert await found_out("memory:", OPENING) is None
