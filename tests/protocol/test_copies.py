"""I3: bytes are written once, and stored once, however they come and wherever they go."""

import pytest

from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.references import Digest
from tests.protocol.conftest import keys
from tests.protocol.serving import Api

BLOB = bytes(1024) * 512 + b"end"
DIGEST = str(Digest.of(BLOB))
RECORDS = 2048
"""Bytes that the small records of a push may take."""


async def instances(memory: MemoryStore) -> list[str]:
    """The records of instances."""
    return [key for key in await keys(memory, "blobs/") if "/at/" in key]


async def stream(api: Api, name: str) -> None:
    """Push by POST, PATCH and PUT."""
    answer = await api.patch(await api.begin(name), content=BLOB)
    await api.finish(answer.headers["Location"], DIGEST)


@pytest.mark.parametrize("with_patch", [True, False])
async def test_i3_a_layers_bytes_are_written_exactly_once(api: Api, metered: MeteredStore, with_patch: bool) -> None:
    """I3: what is written is the payload and small records, and nothing of it is read again or copied."""
    metered.written = 0
    metered.requests.clear()
    await (stream(api, "a") if with_patch else api.blob("a", BLOB))
    assert len(BLOB) <= metered.written <= len(BLOB) + RECORDS
    assert metered.requests["COPY"] == metered.requests["GET"] == 0


async def test_i3_ten_repositories_share_one_copy(api: Api, memory: MemoryStore, metered: MeteredStore) -> None:
    """I3: pushed by POST + PUT to five repositories and mounted by five more, a blob is one data object and one instance."""
    await api.blob("r0", BLOB)
    metered.written = 0
    for number in range(1, 5):
        await api.blob(f"r{number}", BLOB)
    for number in range(5, 10):
        query = f"?mount={DIGEST}" + ("&from=r0" if number % 2 else "")
        assert (await api.post(f"/v2/r{number}/blobs/uploads/{query}")).status_code == 201
    assert len(await keys(memory, "data/")) == 1
    assert len(await instances(memory)) == 1
    assert metered.written < 10 * RECORDS
    for number in range(10):
        assert (await api.get(f"/v2/r{number}/blobs/{DIGEST}")).content == BLOB


async def test_i3_a_patch_of_known_bytes_leaves_spare_data_but_one_instance(api: Api, memory: MemoryStore) -> None:
    """I3: bytes that came before their digest was named are spare, and left to the collector; no repository points to them."""
    for name in ("a", "b", "c"):
        await stream(api, name)
    assert len(await keys(memory, "data/")) == 3
    [instance] = await instances(memory)
    links = [(await memory.get(key)).body for key in await keys(memory, "blobs/") if "/in/" in key]
    assert len(links) == 3
    key = instance.rsplit("/", 1)[1].replace("-", "/", 1)
    assert all(f'"data/{key}"'.encode() in link for link in links)


async def test_i3_tags_and_versions_share_blobs(api: Api, memory: MemoryStore, metered: MeteredStore) -> None:
    """I3: another tag, or another manifest, on the same layers writes none of their bytes."""
    await api.blob("a", BLOB)
    pushed = await api.image("a", "1")
    before = await keys(memory, "data/")
    metered.written = 0
    for number in range(5):
        await api.manifest("a", f"t{number}", pushed.content)
    assert await keys(memory, "data/") == before
    assert metered.written < 10 * RECORDS
