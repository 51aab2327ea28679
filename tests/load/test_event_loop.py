"""Nothing long runs on the event loop: hashing, parsing and disk are for threads."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from gateway.app import create_app
from storage.documents import OCI_INDEX, OCI_MANIFEST
from storage.objects.embedded import EmbeddedStore
from storage.references import Digest
from storage.registry import Registry, Rules, open_registry
from storage.views import Epoch

CHUNK = b"x" * 64 * 1024
LIMIT = 0.02  # seconds of CPU time


class Meter:
    """The most CPU time, in seconds, that any step of the event loop has taken since `reset`: busy neighbours do not count."""

    def __init__(self) -> None:
        self.longest = 0.0

    def reset(self) -> None:
        """Begin to measure, after the current step."""
        asyncio.get_running_loop().call_soon(setattr, self, "longest", 0.0)


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> Meter:
    """A meter of this test's event loop."""
    meter, run = Meter(), asyncio.Handle._run  # noqa: SLF001 - there is no public place that every step passes

    def timed(handle: Any) -> None:
        before = time.thread_time()
        run(handle)
        meter.longest = max(meter.longest, time.thread_time() - before)

    monkeypatch.setattr(asyncio.Handle, "_run", timed)
    return meter


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, over an embedded store."""
    nonces = count(1)
    nonce = lambda: f"{next(nonces):016x}"  # noqa: E731

    @asynccontextmanager
    async def opened() -> AsyncIterator[Registry]:
        store = await EmbeddedStore.open(tmp_path / "store", time.time, nonce)
        yield await open_registry(store, clock=time.time, nonce=nonce, epoch=Epoch(), rules=Rules(allow_sparse=True))
        await store.close()

    app = create_app(opened, clock=time.time, redirect=False)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://moorage") as it,
    ):
        yield it


async def test_a_large_layer_and_a_large_manifest_leave_the_loop_free(client: httpx.AsyncClient, meter: Meter) -> None:
    """No step of the loop MUST take more than a few milliseconds of CPU time, whatever is pushed."""
    config, layer = CHUNK, CHUNK * 256
    digests = [str(Digest.of(config)), str(Digest.of(layer))]
    manifest = _manifest(*digests)
    meter.reset()
    await asyncio.sleep(0)
    for content, digest in zip((config, layer), digests, strict=True):
        await _push_blob(client, content, digest)
    headers = {"Content-Type": OCI_MANIFEST}
    answer = await client.put("/v2/a/manifests/1", content=_pieces(manifest), headers=headers)
    assert answer.status_code == 201, answer.text
    print(f"the longest step took {meter.longest * 1000:.1f} ms of CPU time; the manifest has {len(manifest)} bytes")
    assert meter.longest < LIMIT


async def test_a_large_fallback_index_leaves_the_loop_free(client: httpx.AsyncClient, meter: Meter) -> None:
    """No step of the loop MUST take long when a fallback tag lists thousands of referrers."""
    subject = Digest.of(b"subject")
    index = {
        "schemaVersion": 2,
        "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": f"sha256:{number:064x}", "size": 1} for number in range(20_000)
        ],
    }
    tag, content = f"sha256-{subject.hex}", msgspec.json.encode(index)
    answer = await client.put(f"/v2/a/manifests/{tag}", content=_pieces(content), headers={"Content-Type": OCI_INDEX})
    assert answer.status_code == 201, answer.text
    meter.reset()
    await asyncio.sleep(0)
    answer = await client.get(f"/v2/a/referrers/{subject}")
    assert answer.json()["manifests"] == []
    assert meter.longest < LIMIT


def _manifest(config: str, layer: str) -> bytes:
    """A manifest of nearly 4 MiB."""
    descriptor = {"mediaType": "application/octet-stream", "digest": layer, "size": 1}
    annotations = {f"note-{index}": "x" * 400 for index in range(9_000)}
    return msgspec.json.encode(
        {
            "schemaVersion": 2,
            "config": {**descriptor, "digest": config},
            "layers": [descriptor],
            "annotations": annotations,
        }
    )


async def _push_blob(client: httpx.AsyncClient, content: bytes, digest: str) -> None:
    started = await client.post("/v2/a/blobs/uploads/")
    patched = await client.patch(started.headers["Location"], content=_pieces(content))
    assert patched.status_code == 202
    assert (await client.put(patched.headers["Location"], params={"digest": digest})).status_code == 201


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), len(CHUNK)):
        yield content[at : at + len(CHUNK)]
        await asyncio.sleep(0)
