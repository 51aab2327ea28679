"""What goes, when, and why: one rule of docs/design.md, Removal, after the other. A day is the grace period, two an upload's expiry."""

from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from tests.collection.conftest import DAY, HOUR, Keeper
from tests.protocol.conftest import keys
from tests.protocol.serving import Api, Clock

LINK, AT, DATA, TAG, REFERRER, MARKER = "/in/", "/at/", "data", "_tags", "_referrers", "catalog"


async def live(memory: MemoryStore, prefix: str) -> list[str]:
    """The keys below a prefix that are no tombstones."""
    return [info.key async for info in memory.list(prefix) if info.size != 16]


async def test_what_is_referenced_stays(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """However old, and however often it is collected; nothing is written but the collector's own state."""
    pushed = await api.image("a", "1", layers=3)
    before = {key: (await memory.get(key)).info.etag for key in await keys(memory) if not key.startswith("collector/")}
    for _ in range(5):
        clock.advance(10 * DAY)
        found = await keeper.collect()
        assert (keeper.seen, found.problems) == ([], [])
    after = {key: (await memory.get(key)).info.etag for key in await keys(memory) if not key.startswith("collector/")}
    assert before == after
    assert (await api.get(f"/v2/a/manifests/{pushed.digest}")).content == pushed.content


async def test_the_life_of_garbage(api: Api, keeper: Keeper, clock: Clock, memory: MemoryStore) -> None:
    """I5: condemned after a grace period, buried after another, its bytes gone with the pass after that, tombstones a day later."""
    pushed = await api.image("a", "1", layers=1)
    await api.delete(f"/v2/a/manifests/{pushed.digest}")
    assert (await keeper.collect()).problems == []
    assert keeper.steps == []
    clock.advance(DAY + 1)
    await keeper.collect()
    condemned = [("condemn", LINK), ("condemn", LINK), ("condemn", MARKER)]
    assert keeper.steps == [*condemned, ("purge", "_manifests"), ("purge", TAG)]
    await keeper.collect()
    assert keeper.steps == []
    clock.advance(DAY + 1)
    await keeper.collect()
    assert keeper.steps == [("bury", LINK), ("bury", LINK), ("bury", MARKER)]
    clock.advance(HOUR)
    await keeper.collect()
    assert keeper.steps == [("delete", AT), ("delete", AT)]
    assert await keys(memory, "data/") == []
    assert await live(memory, "blobs/") == []
    clock.advance(DAY + 1)
    await keeper.collect()
    assert keeper.steps == [("purge", LINK), ("purge", LINK), ("purge", MARKER)]
    assert {key.split("/")[0] for key in await keys(memory)} == {"collector", "keys", "moorage.json"}


async def test_requests(api: Api, keeper: Keeper, metered: MeteredStore, clock: Clock) -> None:
    """20 manifests of 5 layers: the first collection reads each once, the second none."""
    for number in range(20):
        await api.image("a", f"t{number}", str(number), layers=5)
    clock.advance(3 * DAY)
    counts = []
    for _ in range(2):
        metered.requests.clear()
        read = (await keeper.collect()).manifests_read
        counts.append((read, metered.requests.total(), dict(metered.requests)))
    print(counts)
    assert counts[0][:2] == (20, 28)
    assert counts[1][:2] == (0, 8)
