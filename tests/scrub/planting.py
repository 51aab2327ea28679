"""Damage, planted behind the gateways' back."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import msgspec

from storage import layout
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.records import decode_manifest, encode_manifest
from storage.references import Digest
from tests.invariants import sealed
from tests.protocol.conftest import keys
from tests.scrub.building import APP, CONFIG, LAYER_DIGEST, LINK, Built

Plant = Callable[[MemoryStore, Built], Awaitable[str]]


def flipped(body: bytes) -> bytes:
    """One bit of it is another one."""
    return body[:20] + bytes([body[20] ^ 1]) + body[21:]


async def flip(memory: MemoryStore, key: str) -> str:
    """Damage the object under `key`."""
    await memory.put(key, flipped((await memory.get(key)).body))
    return key


async def lose(memory: MemoryStore, key: str) -> str:
    """Remove the object under `key`, as nothing in moorage does."""
    await memory.get(key)
    await memory.delete(key)
    return key


async def amend(memory: MemoryStore, key: str, /, **fields: Any) -> str:
    """Change fields of a record, and seal it as moorage would."""
    record = msgspec.json.decode((await memory.get(key)).body)
    await memory.put(key, sealed({**record, **fields, "nonce": "0" * 16}))
    return key


async def instance(memory: MemoryStore) -> str:
    """The key of the layer's instance."""
    [at] = await keys(memory, layout.instances_prefix(LAYER_DIGEST))
    return at


async def amend_header(memory: MemoryStore, key: str, **fields: Any) -> str:
    """Change fields of a manifest's header."""
    decoded = decode_manifest(await memory.get(key))
    assert decoded is not None
    header, content = decoded
    await memory.put(key, encode_manifest(msgspec.structs.replace(header, **fields), content))
    return key


async def swap_instance(memory: MemoryStore, built: Built) -> str:
    """An instance that names bytes of another one."""
    [other] = await keys(memory, layout.instances_prefix(Digest.of(CONFIG)))
    key = layout.data_key(layout.parse_instance_key(other)[1])
    return await amend(memory, await instance(memory), key=key)


async def forget_generation(memory: MemoryStore, built: Built) -> str:
    """A tag that points to a generation that is gone."""
    return await amend(memory, layout.tag_key(APP, "1"), generation="f" * 16)


async def forget_tags(memory: MemoryStore, built: Built) -> str:
    """A record that names other tags than those that point to it."""
    await amend_header(memory, built.record, tags=("other",))
    return layout.tag_key(APP, "1")


async def harm_instance(memory: MemoryStore, harm: Callable[[MemoryStore, str], Awaitable[str]]) -> str:
    """Do something to the layer's instance."""
    return await harm(memory, await instance(memory))


async def lose_instance(memory: MemoryStore, built: Built) -> str:
    """The record of where the bytes lie is gone; the links that name them are not."""
    await lose(memory, await instance(memory))
    return LINK


async def entomb(memory: MemoryStore, key: str) -> str:
    """Put a tombstone where none can be, or where nobody knows of it."""
    await memory.put(key, b"0" * 16)
    return key


async def resize_instance(memory: MemoryStore, built: Built) -> str:
    """An instance that says another size than its links."""
    await amend(memory, await instance(memory), size=7)
    return LINK


async def linked(memory: MemoryStore, link: str) -> str:
    """The data key that a link names."""
    return str(msgspec.json.decode((await memory.get(link)).body)["key"])


class ChangingStore(MeteredStore):
    """Changes a link as soon as content is read for the `reading`th time."""

    def __init__(self, memory: MemoryStore, link: str, fields: dict[str, object], reading: int) -> None:
        super().__init__(memory)
        self._memory, self._link, self._fields, self._left = memory, link, fields, reading

    async def get_range(self, key: str, start: int = 0, length: int | None = None) -> AsyncGenerator[bytes]:
        """See ObjectStore.get_range."""
        self._left -= 1
        if self._left == 0:
            await amend(self._memory, self._link, **self._fields)
        return await super().get_range(key, start, length)
