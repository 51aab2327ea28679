"""What is in the bucket and should not be, or is no longer what it was: a clear error that names the key, never a wrong answer."""

from collections.abc import Awaitable, Callable

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs

from storage import layout
from storage.errors import CorruptRecord, ForeignFormat
from storage.objects.contract import ObjectStore, StoredObject
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.references import Digest
from tests.invariants import sealed
from tests.protocol.conftest import keys
from tests.protocol.documents import media_type_of
from tests.protocol.serving import Api, Clock, World, refused

LAYER = b"layer" * 300_000
DIGEST = str(Digest.of(LAYER))

Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, Damage] = {
    "flipped": lambda body: body[:20] + bytes([body[20] ^ 1]) + body[21:],
    "cut": lambda body: body[:-1],
    "empty": lambda body: b"",
    "another format": lambda body: b'{"schemaVersion": 2, "written": "by somebody else"}',
    "longer": lambda body: body + b"}",
}


@pytest.fixture(params=DAMAGES)
def damage(request: pytest.FixtureRequest) -> Damage:
    """Each way in which an object may come to be another one."""
    return DAMAGES[request.param]


async def harm(memory: MemoryStore, part: str, damage: Damage) -> str:
    """Damage the one object whose key contains `part`; its key."""
    [key] = [key for key in await keys(memory) if part in key]
    await memory.put(key, damage((await memory.get(key)).body))
    return key


async def is_named(ask: Awaitable[httpx.Response], key: str) -> None:
    """The answer MUST be a 500 of our shape without details, and the log name the key."""
    with capture_logs() as logs:
        refused(await ask, 500, "UNKNOWN")
    assert any(key in line.get("error", "") for line in logs), logs


async def test_a_damaged_record_is_named(memory: MemoryStore, world: World, damage: Damage) -> None:
    """Links, tags, manifests and catalog markers alike: whoever needs one MUST be told, and the log name the key."""
    async with world.gateway() as api:
        pushed = await api.image("a", "1", layers=0)
        config = msgspec.json.decode(pushed.content)["config"]["digest"]
    requests: dict[str, Callable[[Api], Awaitable[httpx.Response]]] = {
        "/in/": lambda api: api.get(f"/v2/a/blobs/{config}"),
        "/_tags/": lambda api: api.get("/v2/a/manifests/1"),
        "/_manifests/": lambda api: api.get(f"/v2/a/manifests/{pushed.digest}"),
        "catalog/": lambda api: api.delete(f"/v2/a/manifests/{pushed.digest}"),
    }
    for part, ask in requests.items():
        before = {key: (await memory.get(key)).body for key in await keys(memory)}
        key = await harm(memory, part, damage)
        async with world.gateway() as api:
            await is_named(ask(api), key)
        await memory.put(key, before[key])
    async with world.gateway() as api:
        assert (await api.get("/v2/a/manifests/1")).content == pushed.content


@pytest.mark.parametrize("damage", [DAMAGES[name] for name in ("flipped", "cut", "empty", "another format")])
async def test_a_damaged_blob_never_ends_well(memory: MemoryStore, world: World, damage: Damage) -> None:
    """I4: bytes that are not those of the digest MUST break the connection before the last of them, and be named."""
    async with world.gateway() as api:
        await api.blob("a", LAYER)
        key = await harm(memory, "data/", damage)
        with capture_logs() as logs:
            if len((await memory.get(key)).body) < len(LAYER):
                refused(await api.get(f"/v2/a/blobs/{DIGEST}"), 500, "UNKNOWN")
            else:
                with pytest.raises(CorruptRecord):  # the server cuts the connection
                    await api.get(f"/v2/a/blobs/{DIGEST}")
        assert any(key in line.get("error", "") for line in logs), logs


class DamagedOnce(MeteredStore):
    """Damages the next answer to a read whose key contains `part`, as a bad network would."""

    def __init__(self, inner: ObjectStore, damage: Damage) -> None:
        super().__init__(inner)
        self.part: str | None = None
        self._damage = damage

    async def get(self, key: str) -> StoredObject:
        """See ObjectStore.get."""
        found = await super().get(key)
        if self.part is None or self.part not in key:
            return found
        self.part = None
        return StoredObject(found.info, self._damage(found.body))


async def test_a_record_that_was_damaged_on_the_way_is_looked_at_again(
    memory: MemoryStore, clock: Clock, damage: Damage
) -> None:
    """One bad answer of a store that has the right record MUST not be seen by the client."""
    store = DamagedOnce(memory, damage)
    world = World(store, clock)
    async with world.gateway() as api:
        pushed = await api.image("a", "1")
    for part in ("_tags/", "_manifests/"):
        async with world.gateway() as api:
            store.part = part
            assert (await api.get("/v2/a/manifests/1")).content == pushed.content
            assert store.part is None


async def test_a_list_of_segments_that_was_damaged_on_the_way_is_looked_at_again(
    memory: MemoryStore, clock: Clock, damage: Damage
) -> None:
    """As any other record: one bad answer MUST not end a long upload."""
    store = DamagedOnce(memory, damage)
    async with World(store, clock).gateway() as api:
        location, content = await api.begin("a"), b"".join(b"%03d" % number for number in range(40))
        for at in range(0, len(content), 3):
            location = (await api.patch(location, content=content[at : at + 3])).headers["Location"]
        store.part = "/index-"
        await api.finish(location, str(Digest.of(content)))
        assert store.part is None


async def test_a_damaged_list_of_segments_is_named(api: Api, memory: MemoryStore, damage: Damage) -> None:
    """An upload whose list of segments was damaged MUST not be put together from it."""
    location = await api.begin("a")
    for number in range(40):
        location = (await api.patch(location, content=b"%03d" % number)).headers["Location"]
    key = await harm(memory, "/index-", damage)
    digest = Digest.of(b"".join(b"%03d" % number for number in range(40)))
    await is_named(api.put(location, params={"digest": str(digest)}), key)


@pytest.mark.parametrize(
    "stray", ["docker/registry/v2/repositories/a/_manifests/x", "terraform.tfstate", "x/moorage.json", "data/1/2-3"]
)
async def test_a_bucket_of_another_layout_is_refused(memory: MemoryStore, world: World, stray: str) -> None:
    """A bucket that holds something, but no format of ours, MUST be refused by the name of a key in it, and left as it is."""
    await memory.put(stray, b"of somebody else")
    with pytest.raises(ForeignFormat, match=stray):
        async with world.gateway():
            pass
    assert await keys(memory) == [stray]


async def test_leftovers_of_a_probe_are_no_other_layout(memory: MemoryStore, world: World) -> None:
    """What another gateway's probe of an empty bucket has written just now MUST not keep this one from starting."""
    await memory.put("probe/1/order/a", b"1")
    async with world.gateway() as api:
        await api.image("a", "1")


async def test_a_damaged_format_is_refused(memory: MemoryStore, world: World, damage: Damage) -> None:
    """A registry whose format cannot be read MUST not be served, and the error name the key."""
    async with world.gateway():
        pass
    await harm(memory, layout.FORMAT_KEY, damage)
    with pytest.raises(ForeignFormat, match=layout.FORMAT_KEY):
        async with world.gateway():
            pass


async def test_a_newer_format_is_refused(memory: MemoryStore, world: World) -> None:
    """A store that a newer moorage wrote MUST not be touched."""
    await memory.put(layout.FORMAT_KEY, sealed({"format": "moorage", "version": 2}))
    with pytest.raises(ForeignFormat, match="format 2"):
        async with world.gateway():
            pass


@pytest.mark.parametrize("damage", [DAMAGES["cut"], DAMAGES["empty"], bytes.upper], ids=["cut", "empty", "upper"])
async def test_a_damaged_secret_is_refused(memory: MemoryStore, world: World, damage: Damage) -> None:
    """A secret that was cut is easy to guess: it MUST be refused, and the error name the key."""
    async with world.gateway() as api:
        location = await api.begin("a")
        key = await harm(memory, "keys/", damage)
        with pytest.raises(CorruptRecord, match=key):
            async with world.gateway():
                pass
        assert (await api.patch(location, content=b"1")).status_code == 202
        await is_named(api.patch(location[:-1] + "_", content=b"1"), key)


async def test_a_deleted_secret_ends_sessions_and_nothing_else(memory: MemoryStore, world: World) -> None:
    """Gateways MUST come to share the new secret; sessions of the old one are unknown, and a new upload works on all of them."""
    async with world.gateway() as old:
        pushed = await old.image("a", "1")
        location = await old.begin("a")
        [key] = await keys(memory, "keys/")
        await memory.delete(key)
        async with world.gateway() as new:
            refused(await new.patch(location, content=b"1"), 404, "BLOB_UPLOAD_UNKNOWN")
            started = await new.begin("a")
            answer = await old.patch(started, content=b"12")
            assert answer.status_code == 202
            await new.finish(answer.headers["Location"], str(Digest.of(b"12")))
            refused(await old.patch(location, content=b"1"), 404, "BLOB_UPLOAD_UNKNOWN")
            assert (await old.get("/v2/a/manifests/1")).content == pushed.content


async def test_a_deleted_secret_comes_back_from_a_gateway_that_knows_it(memory: MemoryStore, world: World) -> None:
    """As long as no other was drawn, a gateway MUST put back the one that it works with, and sessions go on."""
    async with world.gateway() as old:
        location = await old.begin("a")
        [key] = await keys(memory, "keys/")
        secret = (await memory.get(key)).body
        await memory.delete(key)
        refused(await old.patch("/v2/a/blobs/uploads/forged", content=b"1"), 404, "BLOB_UPLOAD_UNKNOWN")
        assert (await memory.get(key)).body == secret
        async with world.gateway() as new:
            assert (await new.patch(location, content=b"1")).status_code == 202


async def test_a_blob_whose_bytes_are_gone_is_named(api: Api, memory: MemoryStore) -> None:
    """A link to bytes that somebody removed MUST be a 500 that the log explains; a push of the digest cannot mend it yet."""
    digest = await api.blob("a", b"gone")
    [key] = await keys(memory, "data/")
    await memory.delete(key)
    await is_named(api.get(f"/v2/a/blobs/{digest}"), key)
    await memory.put(key, b"go")
    await is_named(api.get(f"/v2/a/blobs/{digest}"), key)
    await is_named(api.get(f"/v2/a/blobs/{digest}", headers={"Range": "bytes=2-3"}), key)


async def test_a_manifest_of_other_bytes_is_never_served(api: Api, memory: MemoryStore, world: World) -> None:
    """I4: a record that is whole but holds another manifest than its key says MUST be refused."""
    one, other = await api.image("a", "1", "one"), await api.image("a", "2", "other")
    records = {key: await memory.get(key) for key in await keys(memory, "repositories/a/_manifests/")}
    [target] = [key for key in records if Digest.parse(one.digest).hex in key]
    [source] = [key for key in records if Digest.parse(other.digest).hex in key]
    await memory.put(target, records[source].body)
    assert media_type_of(one.content) == media_type_of(other.content)
    async with world.gateway() as cold:
        await is_named(cold.get(f"/v2/a/manifests/{one.digest}"), target)


async def test_what_is_damaged_elsewhere_stops_no_push(memory: MemoryStore, world: World, damage: Damage) -> None:
    """A link of another repository, or a key that is not ours beside it: the blob is shared by another link, or stored once more."""
    links = layout.links_prefix(Digest.parse(DIGEST))
    async with world.gateway() as api:
        for name in ("a", "b"):
            await api.blob(name, LAYER)
    await harm(memory, f"{links}a", damage)
    await memory.put(f"{links}-", b"of another")
    async with world.gateway() as api:
        await api.blob("c", LAYER)
        assert len(await keys(memory, "data/")) == 1
        assert (await api.post(f"/v2/d/blobs/uploads/?mount={DIGEST}")).status_code == 201
    await harm(memory, f"{links}b", damage)
    for name in ("c", "d"):
        await memory.delete(f"{links}{name}")
    async with world.gateway() as api:
        await api.blob("e", LAYER)
        assert (await api.get(f"/v2/e/blobs/{DIGEST}")).content == LAYER
    assert len(await keys(memory, "data/")) == 2


async def test_a_damaged_tag_keeps_no_other_from_going(memory: MemoryStore, world: World) -> None:
    """DELETE of a manifest is answered with 500 then, but all other tags on it are gone from the list."""
    async with world.gateway() as api:
        pushed = await api.image("a", "00")
        for number in range(1, 40):
            await api.manifest("a", f"{number:02}", pushed.content)
    key = await harm(memory, "_tags/00", DAMAGES["flipped"])
    async with world.gateway() as api:
        await is_named(api.delete(f"/v2/a/manifests/{pushed.digest}"), key)
        assert await api.tags("a") == ["00"]
