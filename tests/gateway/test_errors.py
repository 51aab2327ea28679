"""How errors leave the gateway: each has a status and a code, and none says more than it should."""

import inspect
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from structlog.testing import capture_logs

from gateway.app import create_app
from gateway.errors import HANDLERS, RETRY_AFTER, ErrorResponse
from storage import errors
from storage.objects.contract import StoredObject
from storage.objects.memory import MemoryStore
from storage.registry import Registry, Rules, open_registry
from storage.views import Epoch
from tests.protocol.serving import Clock, Nonces, codes

REGISTRY_ERRORS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RegistryError)
]


class Failing(MemoryStore):
    """A store whose reads raise what a test wants."""

    error: Exception | None = None

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        if self.error is not None:
            raise self.error
        return await super().get(key)


async def ask(error: Exception) -> httpx.Response:
    """What a client is answered when the store raises `error`."""
    clock = Clock()
    store = Failing(clock)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Registry]:
        yield await open_registry(store, clock=clock, nonce=Nonces(), epoch=Epoch(), rules=Rules())

    app = create_app(opened, clock=clock, redirect=False)
    async with app.router.lifespan_context(app):
        store.error = error
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://registry.test") as http:
            return await http.get("/v2/a/manifests/1")


@pytest.mark.parametrize("kind", [kind for kind in REGISTRY_ERRORS if kind is not errors.RegistryError])
async def test_every_registry_error_is_the_clients(kind: type[errors.RegistryError]) -> None:
    """It has a handler, a status of 4xx, and an error document whose message is the error's."""
    error: errors.RegistryError
    if issubclass(kind, errors.OutOfOrder):
        error = kind(5)
    elif issubclass(kind, errors.ReferencesUnknown):
        error = kind(["sha256:x"])
    else:
        error = kind("what is wrong")
    answer = await ask(error)
    assert 400 <= answer.status_code < 500
    assert str(error) in answer.json()["errors"][0]["message"]
    assert kind in HANDLERS


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (errors.Unavailable, "failed or took too long"),
        (errors.Denied, "refuses the gateway"),
        (errors.Contended, "too many are changing this"),
    ],
)
async def test_a_store_that_fails_is_503(kind: type[errors.StoreError], words: str) -> None:
    """With Retry-After and which of these it is, and not a word of what the store said."""
    answer = await ask(kind("bucket-name/key"))
    assert (answer.status_code, codes(answer)) == (503, ["UNAVAILABLE"])
    assert int(answer.headers["Retry-After"]) > 0
    assert words in answer.text
    assert "bucket-name" not in answer.text


async def test_when_to_come_again() -> None:
    """What the store has said of that MUST be told in whole seconds, if it is later than a client would come anyway."""
    for said, told in ((61.5, "62"), (0.5, str(RETRY_AFTER))):
        error = errors.Unavailable("slow down")
        error.retry_after = said
        assert (await ask(error)).headers["Retry-After"] == told


@pytest.mark.parametrize("error", [RuntimeError("secret"), errors.CorruptRecord("key", "secret"), KeyError("secret")])
async def test_our_own_faults_are_500_and_tell_nothing(error: Exception) -> None:
    """An OCI error document, without the error's words, which are in the log."""
    with capture_logs() as logs:
        answer = await ask(error)
    assert [line["log_level"] for line in logs] == ["error"]
    assert "secret" in str(logs)
    assert (answer.status_code, codes(answer)) == (500, ["UNKNOWN"])
    assert "secret" not in answer.text


def test_an_entry_for_each_missing_digest() -> None:
    """Every entry names its own digest, in words and in the detail."""
    response = ErrorResponse(400, "MANIFEST_BLOB_UNKNOWN", "unknown", missing=["a", "b"])
    assert json.loads(bytes(response.body)) == {
        "errors": [
            {"code": "MANIFEST_BLOB_UNKNOWN", "message": "unknown: a", "detail": {"digest": "a"}},
            {"code": "MANIFEST_BLOB_UNKNOWN", "message": "unknown: b", "detail": {"digest": "b"}},
        ]
    }
