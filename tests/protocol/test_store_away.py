"""A store that fails is told from an answer: 503 while it may come back, never wrong bytes, never a word of what it said."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from storage.errors import Denied, Unavailable
from storage.objects.memory import MemoryStore
from storage.objects.retrying import Transient
from tests.protocol.serving import Api, refused

SECRET = "the store's own words"


@pytest.fixture
def failing(memory: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Exception], None]:
    """Let a method of the store raise from now on."""

    def fail(method: str, error: Exception) -> None:
        async def raising(*_: Any, **__: Any) -> None:
            raise error

        monkeypatch.setattr(memory, method, raising)

    return fail


@pytest.mark.parametrize("kind", [Unavailable, Transient, Denied])
async def test_a_store_that_is_away_is_503(
    api: Api, failing: Callable[[str, Exception], None], kind: type[Exception]
) -> None:
    """Every kind of failure that may pass MUST be 503 with Retry-After, and tell nothing of the store."""
    failing("get", kind(SECRET))
    for path in ("manifests/1", f"manifests/sha256:{'0' * 64}", f"blobs/sha256:{'0' * 64}"):
        answer = await api.get(f"/v2/a/{path}")
        refused(answer, 503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) > 0
        assert SECRET not in answer.text
    refused(await api.get("/readyz"), 503, "UNAVAILABLE")


async def test_what_nobody_foresaw_is_500_without_words(api: Api, failing: Callable[[str, Exception], None]) -> None:
    """An error that the table does not have MUST be a 500 of our shape, whose text leaks nothing."""
    failing("get", ZeroDivisionError(SECRET))
    answer = await api.get("/v2/a/manifests/1")
    refused(answer, 500, "UNKNOWN")
    assert SECRET not in answer.text
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


async def test_a_body_cut_short_by_the_store_never_ends_well(
    api: Api, memory: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blob whose bytes stop coming MUST end in an error of the connection, not in a body that looks whole."""
    digest = await api.blob("a", b"x" * 1000)

    async def half(*_: Any) -> AsyncGenerator[bytes]:
        async def chunks() -> AsyncGenerator[bytes]:
            yield b"x" * 500
            raise Unavailable(SECRET)

        return chunks()

    monkeypatch.setattr(memory, "get_range", half)
    with pytest.raises(Unavailable):
        await api.get(f"/v2/a/blobs/{digest}")


async def test_a_record_that_is_garbled_is_named_and_not_served(api: Api, memory: MemoryStore) -> None:
    """A record that moorage cannot have written MUST be a 500, never a wrong answer, and the log names its key."""
    pushed = await api.image("a", "1")
    [key] = [info.key async for info in memory.list("repositories/a/_tags/")]
    await memory.put(key, b'{"digest": "sha256:nonsense"}')
    refused(await api.get("/v2/a/manifests/1"), 500, "UNKNOWN")
    assert (await api.get(f"/v2/a/manifests/{pushed.digest}")).status_code == 200
