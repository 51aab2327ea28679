"""Runs of the retention: what goes is condemned first and goes a grace period later, and nothing goes that something needs."""

from contextlib import aclosing, suppress

import pytest

from storage import layout
from storage.errors import Busy, CorruptRecord, PolicyError, Unavailable
from storage.lease import Lease
from storage.objects.contract import StoredObject
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from storage.periods import Periods
from storage.records import changed, decode_manifest, encode
from storage.references import Digest, RepositoryName
from storage.registry import Rules
from storage.retention.policies import Rule
from storage.retention.pulls import PullTimes
from storage.shelf import Context
from storage.views import Epoch, Views
from tests.protocol.conftest import keys
from tests.protocol.documents import index, manifest_descriptor
from tests.protocol.serving import Api, Clock, Nonces, Pushed, World
from tests.retention.interrupting import Interrupting
from tests.retention.keeping import DAY, HOUR, Keeper, keeper_of, state

OLD = 10 * DAY


@pytest.fixture
async def keeper(world: World) -> Keeper:
    """A retention on another host."""
    return await keeper_of(world)


@pytest.fixture
def nonces(world: World) -> Nonces:
    """Of all hosts."""
    return world.nonces


async def push_index(api: Api, name: str, tag: str | None, *children: Pushed) -> Pushed:
    """An index of images that are there."""
    return await api.manifest(name, tag, index([manifest_descriptor(each.content) for each in children]))


def sig(image: Pushed, suffix: str = ".sig") -> str:
    """The tag that cosign gives to what it attaches to an image."""
    return image.digest.replace(":", "-") + suffix


async def test_what_goes(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore) -> None:
    """It is condemned, serves on, is buried a grace period later with its tags, and is gone for every reader then."""
    image = await api.image("a", "1")
    await keeper.apply()
    clock.advance(OLD)
    young = await api.image("a", "2", "x")
    assert (await keeper.run()).problems == []
    assert keeper.done("condemn") == {image.digest}
    assert await state(memory, "a", image.digest) == "condemned"
    for hours in (1, 22):
        clock.advance(hours * HOUR)
        await keeper.run()
        assert keeper.seen == []
        assert (await api.get("/v2/a/manifests/1")).content == image.content
    clock.advance(HOUR + 1)
    await keeper.run()
    assert keeper.done("bury") == {image.digest}
    clock.advance(61)
    assert (await api.get(f"/v2/a/manifests/{image.digest}")).status_code == 404
    assert (await api.get("/v2/a/manifests/1")).status_code == 404
    assert await api.tags("a") == ["2"]
    assert (await api.get("/v2/a/manifests/2")).content == young.content
    clock.advance(HOUR)
    await keeper.run()
    assert keeper.done("condemn") == set()


async def test_tags_go_however_long_that_takes(keeper: Keeper, world: World, api: Api, clock: Clock) -> None:
    """Of an image with so many that they outlast the bound of an operation: here it is over as soon as anything waits."""
    image = await api.image("a", "0")
    tags = "&".join(f"tag={number}" for number in range(1, 60))
    await api.manifest("a", None, image.content, query=f"?{tags}")
    await keeper.apply()
    clock.advance(OLD)
    await keeper.run()
    clock.advance(DAY + 1)
    hurried = await keeper_of(world, rules=Rules(Periods(bound=0)))
    await hurried.run()
    assert hurried.done("bury") == {image.digest}
    assert await api.tags("a") == []


async def test_a_tag_that_moved_on_is_no_tag(keeper: Keeper, api: Api, clock: Clock) -> None:
    """What it pointed to before is untagged, though its record still names the tag."""
    first, second = await api.image("a", "latest", "x"), await api.image("a", "latest", "y")
    await keeper.apply(Rule(untagged=True, expire_period=int(DAY)))
    clock.advance(OLD)
    await keeper.run()
    assert keeper.done("condemn") == {first.digest}
    assert (await api.get("/v2/a/manifests/latest")).content == second.content


async def test_what_is_said_of_it(keeper: Keeper, api: Api, clock: Clock) -> None:
    """Each removal names repository, digest, why and the policy, the size of the image, and is journalled with its record."""
    image = await api.image("a", "1")
    await keeper.apply(Rule(tag_regexp="1", expire_period=int(DAY), description="Test"))
    clock.advance(OLD)
    await keeper.run()
    clock.advance(DAY + 1)
    await keeper.run()
    [(removal, outcome)] = keeper.seen
    assert outcome == "done"
    assert (removal.step, removal.repository, removal.digest) == ("bury", "a", image.digest)
    assert removal.why == "rule 1 (Test): 1d old or older (policy p)"
    assert removal.size == len(image.content) + len(" 0") + len(" 1")
    pages = [page async for page in keeper.registry.journal.pages()]
    journalled = [removal for page in pages if not isinstance(page, CorruptRecord) for removal in page.removals]
    assert [each.step for each in journalled] == ["condemn", "bury"]
    assert all(each.record.endswith(b"\n" + image.content) for each in journalled)


async def test_it_can_be_brought_back(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore) -> None:
    """`gc undo` revives what was condemned, and restores what was buried, with its tag."""
    image = await api.image("a", "1")
    await keeper.apply()
    clock.advance(OLD)
    for expected in ("revived", "restored"):
        await keeper.run()
        if expected == "restored":
            clock.advance(DAY + 1)
            await keeper.run()
            assert await state(memory, "a", image.digest) == "gone"
        undo = keeper.registry.undo.run(RepositoryName("a"), None, dry_run=False)
        assert {result.fate async for result in undo} == {expected}
        assert await state(memory, "a", image.digest) == "live"
    clock.advance(61)
    assert (await api.get("/v2/a/manifests/1")).content == image.content


async def test_what_a_client_deleted_since_stays_deleted(
    keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore
) -> None:
    """`gc undo` brings back what maintenance removed, and MUST NOT bring back what was pushed again and deleted since; blobs as manifests."""
    image = await api.image("a", "1")
    blob = await api.blob("a", b"unreferenced")
    await keeper.apply()
    clock.advance(OLD)
    for _ in range(2):
        await keeper.run()
        await keeper.registry.collector.run()
        clock.advance(DAY + 1)
    assert await state(memory, "a", image.digest) == "gone"
    await api.blob("a", b"unreferenced")
    assert await api.image("a", "1") == image
    for path in (f"manifests/{image.digest}", f"blobs/{blob}"):
        assert (await api.delete(f"/v2/a/{path}")).status_code == 202
    for dry_run in (True, False):
        undo = keeper.registry.undo.run(RepositoryName("a"), None, dry_run=dry_run)
        fates = {result.sentence.split(" ")[1].partition("@")[2]: result.fate async for result in undo}
        assert (fates[image.digest], fates[str(blob)]) == ("left", "left")
    assert await state(memory, "a", image.digest) == "gone"
    assert (await api.get(f"/v2/a/blobs/{blob}")).status_code == 404


async def test_what_is_kept_after_all_is_revived(
    keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore, world: World
) -> None:
    """By another policy, a tag that protects it, an index or a pull; a run that finds it so makes it live."""
    async with world.gateway(record_pulls=True) as recording:
        await recording.image("z", "1")
        await recording.get("/v2/z/manifests/1")
    await keeper.apply(Rule(tag_regexp=".*", untagged=True, retained_pulled=int(5 * DAY)), protect=["keep.*"])
    clock.advance(OLD)
    images = [await api.image("a", tag, seed=str(tag)) for tag in ("1", "2", "3", None)]
    clock.advance(OLD)
    await keeper.run()
    assert keeper.done("condemn") >= {image.digest for image in images}
    async with world.gateway(record_pulls=True) as recording:
        await recording.get("/v2/a/manifests/1")
    await api.manifest("a", "keep", images[1].content)
    fresh = await push_index(api, "a", "keep-index", images[2])
    clock.advance(DAY + 1)
    await keeper.run()
    assert [await state(memory, "a", image.digest) for image in images] == ["live", "live", "live", "gone"]
    assert await state(memory, "a", fresh.digest) == "live"


async def test_a_policy_has_a_grace_period_of_its_own(
    keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore
) -> None:
    """After a change, even of what it has condemned long before, nothing is buried before a grace period is over."""
    image = await api.image("a", "1")
    await keeper.apply()
    clock.advance(OLD)
    await keeper.run()
    await keeper.apply(Rule(tag_regexp="1", expire_period=int(2 * DAY)), status="DISABLED")
    clock.advance(OLD)
    await keeper.run()
    assert await state(memory, "a", image.digest) == "condemned"  # no policy is active, so nothing is judged
    await keeper.apply(Rule(tag_regexp="1", expire_period=int(2 * DAY)))
    clock.advance(DAY - 1)
    await keeper.run()
    assert await state(memory, "a", image.digest) == "condemned"
    clock.advance(2)
    await keeper.run()
    assert await state(memory, "a", image.digest) == "gone"


async def passes(keeper: Keeper, clock: Clock, count: int) -> list[set[str]]:
    """What each of so many runs buries, a day apart."""
    buried = []
    for _ in range(count):
        await keeper.run()
        buried.append(keeper.done("bury"))
        clock.advance(DAY + 1)
    return buried


async def test_what_belongs_to_something_goes_after_it(keeper: Keeper, api: Api, clock: Clock) -> None:
    """First the index; then its children and its attestation; then what refers to those. Never before, never together."""
    children = [await api.image("a", None, seed) for seed in "xy"]
    whole = await push_index(api, "a", "1", *children)
    attestation = await api.artifact("a", manifest_descriptor(whole.content), "sbom/x")
    signature = await api.artifact("a", manifest_descriptor(attestation.content), "sig/x")
    await api.image("a", sig(children[0]), "cosign")
    tagged = (await api.get(f"/v2/a/manifests/{sig(children[0])}")).headers["Docker-Content-Digest"]
    clock.advance(OLD)
    await keeper.apply()
    buried = await passes(keeper, clock, 7)
    assert buried == [
        set(),
        {whole.digest},
        set(),
        {children[0].digest, children[1].digest, attestation.digest},
        set(),
        {signature.digest, tagged},
        set(),
    ]


async def test_what_belongs_to_what_is_kept_stays(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore) -> None:
    """Children, referrers, signatures by tag, and the fallback tag's index with all that it lists, for ever."""
    child = await api.image("a", "child", "x")
    kept = await push_index(api, "a", "kept", child)
    attestation = await api.artifact("a", manifest_descriptor(child.content), "sbom/x")
    signature = await api.image("a", sig(attestation), "cosign")
    listed = await api.image("a", None, "listed")
    fallback = await push_index(api, "a", sig(kept, ""), listed)
    orphan = await api.artifact("a", {**manifest_descriptor(child.content), "digest": str(Digest.of(b"gone"))}, "x/y")
    clock.advance(OLD)
    await keeper.apply(protect=["kept"])
    assert await passes(keeper, clock, 4) == [set(), {orphan.digest}, set(), set()]
    for each in (child, kept, attestation, signature, listed, fallback):
        assert await state(memory, "a", each.digest) == "live"
    assert [each["digest"] for each in await api.referrers("a", child.digest)] == [attestation.digest]


@pytest.mark.parametrize("fails", range(4))
async def test_a_subject_that_comes_back_keeps_its_referrers(
    keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore, nonces: Nonces, fails: int
) -> None:
    """One that is pushed before they are gone MUST keep them, at whichever request of the run that is: signatures by tag too.

    So it MUST where the request that `fails`, counted from there, ends the run; 0 is none.
    """
    image = await api.image("a", "1")
    attestation = await api.artifact("a", manifest_descriptor(image.content), "sbom/x")
    signature = await api.image("a", sig(image), "signature")
    await keeper.apply(protect=["1"])
    assert (await api.delete(f"/v2/a/manifests/{image.digest}")).status_code == 202
    clock.advance(OLD)
    await keeper.run()
    assert keeper.done("condemn") == {attestation.digest, signature.digest}
    clock.advance(DAY + 1)

    async def kept(at: int) -> int | None:
        """How many of the two were there when the subject came back, before request `at`, and so are for good; None if there is none."""
        bucket = MemoryStore(clock)
        bucket._objects = dict(memory._objects)  # noqa: SLF001 - a bucket of its own
        world = World(bucket, clock, nonces)
        store, were_there, came = Interrupting(bucket), set[str](), list[bool]()

        async def end() -> None:
            raise Unavailable("as if the store were away")

        async def come_back() -> None:
            async with World(bucket, clock, nonces).gateway() as other:
                await other.manifest("a", "1", image.content)
            for each in (attestation, signature):
                if await state(bucket, "a", each.digest) != "gone":
                    were_there.add(each.digest)
            came.append(True)
            store.arm(fails, end)

        run = await keeper_of(world, store)
        store.arm(at, come_back)
        with suppress(Unavailable):
            await run.run()
        if not came:
            return None
        store.arm(0, None)
        clock.advance(HOUR)  # the lease of a run that failed may have to run out
        await run.run()
        for digest in were_there:
            assert await state(bucket, "a", digest) == "live", (at, digest)
            assert not run.done("bury")
        async with world.gateway() as other:
            listed = {each["digest"] for each in await other.referrers("a", image.digest)}
            assert (attestation.digest in listed) or attestation.digest not in were_there
            assert (sig(image) in await other.tags("a")) or signature.digest not in were_there
        return len(were_there)

    counted: list[int] = []
    while (number := await kept(len(counted) + 1)) is not None:
        counted.append(number)
    assert sum(counted) > 20


@pytest.mark.parametrize("seeds", [("x", "y"), ("y", "x")])
async def test_what_an_undo_brings_back(
    keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore, seeds: tuple[str, str]
) -> None:
    """Each tag points where it pointed last, whichever manifest comes first; one that a client had deleted MUST stay deleted."""
    old, new = [await api.image("a", "latest", seed) for seed in seeds]
    await api.manifest("a", "deleted", new.content)
    assert (await api.delete("/v2/a/manifests/deleted")).status_code == 202
    await keeper.apply()
    clock.advance(OLD)
    await keeper.run()
    clock.advance(DAY + 1)
    await keeper.run()
    assert keeper.done("bury") == {old.digest, new.digest}
    async with aclosing(keeper.registry.undo.run(RepositoryName("a"), None, dry_run=False)) as results:
        said = [result.sentence async for result in results]
    assert said.count("tag a:latest points to it") == 1
    for each in (old, new):
        assert await state(memory, "a", each.digest) == "live"
    assert await api.tags("a") == ["latest"]
    assert (await api.get("/v2/a/manifests/latest")).content == new.content


async def test_a_record_that_was_damaged_since(
    keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore, nonces: Nonces
) -> None:
    """What earlier runs have read of it is enough to judge it, so that it MUST NOT end the run: it is named, and left alone."""
    first, second = await api.image("a", "1"), await api.image("a", "2", "x")
    key = layout.manifest_key(RepositoryName("a"), Digest.parse(first.digest))
    await keeper.apply()
    await keeper.run()

    class Rotten(MemoryStore):
        """Has lost a bit of the record, of which nothing tells."""

        async def get(self, key_: str) -> StoredObject:
            """See ObjectStore.get."""
            found = await super().get(key_)
            return changed(found, body=found.body[:-1] + b"?") if key_ == key else found

    store = Rotten(clock)
    store._objects = memory._objects  # noqa: SLF001 - the same bucket
    clock.advance(OLD)
    run = await keeper_of(World(store, clock, nonces))
    for how in ("run", "dry run"):
        found = await (run.run() if how == "run" else run.registry.retention.rehearse())
        [problem] = found.problems
        assert problem.startswith(f"{key}: ")
        assert problem.endswith("; it was left alone")
    assert run.done("condemn") == {second.digest}
    assert await state(memory, "a", first.digest) == "live"


@pytest.mark.parametrize("damaged", ["manifest", "tag", "marker"])
async def test_what_cannot_be_read(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore, damaged: str) -> None:
    """One record that cannot be read MUST keep its whole repository, which is named; others are judged."""
    image = await api.image("a", "1")
    await api.image("a", "2", "x")
    other = await api.image("b", "1")
    name = RepositoryName("a")
    key = {
        "manifest": layout.manifest_key(name, Digest.parse(image.digest)),
        "tag": layout.tag_key(name, "1"),
        "marker": layout.catalog_key(name),
    }[damaged]
    await memory.put(key, (await memory.get(key)).body[:-1] + b"x")
    clock.advance(OLD)
    await keeper.apply()
    found = await keeper.run()
    assert keeper.done("condemn") == {other.digest}
    assert found.repositories == 1
    [problem] = found.problems
    assert problem.startswith(f"{key}: ")
    assert problem.endswith("; so nothing of the repository a was judged")


async def test_a_key_that_is_none_of_ours(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore) -> None:
    """It keeps its repository too: who knows what it stands for."""
    await api.image("a", "1")
    await memory.put("repositories/a/_manifests/sha256/x", b"{}")
    clock.advance(OLD)
    await keeper.apply()
    assert (await keeper.run()).problems == [
        "repositories/a/_manifests/sha256/x: is no key of moorage; so nothing of the repository a was judged"
    ]
    assert keeper.seen == []


async def test_two_active_policies(keeper: Keeper, api: Api, clock: Clock) -> None:
    """A repository that both are about is left alone and both are named; others are judged by theirs, or by none."""
    images = {name: await api.image(name, "1", name) for name in ("a/x", "b/y", "b/x", "c")}
    await keeper.apply(name="one", repositories=["a/**", "b/y*"])
    await keeper.apply(name="two", repositories=["**/x"])
    clock.advance(OLD)
    found = await keeper.run()
    assert found.problems == ["one and two are both active for a/x; so nothing of it was judged"]
    assert keeper.done("condemn") == {images["b/y"].digest, images["b/x"].digest}
    assert found.repositories == 2


async def test_one_policy_alone(keeper: Keeper, api: Api, clock: Clock) -> None:
    """The one that is named, among the active ones; it is still known what else is active."""
    images = {name: await api.image(name, "1", name) for name in ("a", "b", "b/x")}
    await keeper.apply(name="one", repositories=["a", "*/x"])
    await keeper.apply(name="two", repositories=["b", "b/*"])
    await keeper.apply(name="three", status="DISABLED")
    clock.advance(OLD)
    found = await keeper.run("two")
    assert keeper.done("condemn") == {images["b"].digest}
    assert found.problems == ["one and two are both active for b/x; so nothing of it was judged"]
    with pytest.raises(PolicyError, match="the policy three is DISABLED: a dry run shows what it would do"):
        await keeper.run("three")
    with pytest.raises(PolicyError, match="there is no policy four"):
        await keeper.run("four")


async def test_a_damaged_policy(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore) -> None:
    """It ends the run, for nobody knows what it keeps; but for pulls, which are put together all the same."""
    await api.image("a", "1")
    key = layout.pulls_key(clock.now, "f" * 16)
    await memory.put(key, encode(PullTimes(int(clock.now), {})))
    await keeper.apply()
    await keeper.apply(name="q", status="DISABLED")
    await memory.put(layout.policy_key("q"), b"{}")
    clock.advance(OLD)
    with pytest.raises(CorruptRecord, match="policies/q"):
        await keeper.run()
    assert keeper.seen == []
    assert key not in await keys(memory)


async def test_two_runs_at_once(keeper: Keeper, world: World, clock: Clock) -> None:
    """The second one says so and does nothing; a dry run needs no lease, and leaves none."""
    await keeper.apply()
    context = Context(world.store, Views(clock, Epoch(), max_bytes=0), clock, world.nonces)
    async with Lease(context, "retention").held():
        with pytest.raises(Busy, match="another run of the retention is under way"):
            await keeper.run()
        await keeper.registry.retention.rehearse()
    await keeper.run()


async def test_without_a_policy_nothing_is_read(keeper: Keeper, api: Api, metered: MeteredStore) -> None:
    """A run costs what the lease and two LISTs do."""
    await api.image("a", "1")
    metered.requests.clear()
    await keeper.run()
    assert metered.requests == {"GET": 1, "PUT": 2, "HEAD": 1, "LIST": 2}


async def test_no_manifest_is_read_twice(keeper: Keeper, api: Api, clock: Clock, metered: MeteredStore) -> None:
    """A run reads manifests that no run has read, and the tags; the collector's evidence serves the retention and the other way round."""
    for number in range(20):
        await api.image("a", str(number), str(number))
    await keeper.apply(Rule(tag_regexp=".*", expire_period=int(DAY)))
    assert (await keeper.run()).manifests_read == 20
    assert (await keeper.run()).manifests_read == 0
    assert (await keeper.registry.collector.run()).manifests_read == 0
    await api.image("a", "20", "20")
    assert (await keeper.registry.collector.run()).manifests_read == 1
    assert (await keeper.run()).manifests_read == 0


async def test_damaged_pulls_keep_what_may_have_been_pulled(
    keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore
) -> None:
    """It is said, and other policies are applied."""
    await api.image("a", "1")
    other = await api.image("b", "1")
    await memory.put(layout.PULLED_KEY, b"{}")
    await keeper.apply(Rule(tag_regexp=".*", retained_pulled=int(DAY)), repositories=["a"])
    await keeper.apply(Rule(tag_regexp=".*", expire_period=int(DAY)), name="q", repositories=["b"])
    clock.advance(OLD)
    found = await keeper.run()
    assert keeper.done("condemn") == {other.digest}
    assert [problem.endswith("; so all is kept that may have been pulled") for problem in found.problems] == [True]


# ---------------------------------------------------------------- dry runs


async def test_a_dry_run_is_kept(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore) -> None:
    """It lists what goes with why, tags and sizes, can be read later, and changes nothing that is served."""
    image = await api.image("a", "1")
    await api.manifest("a", "latest", image.content)
    await keeper.apply()
    clock.advance(OLD)
    before = {key: (await memory.get(key)).body for key in await keys(memory, "repositories/")}
    found = await keeper.registry.retention.rehearse()
    assert {key: (await memory.get(key)).body for key in await keys(memory, "repositories/")} == before
    [affected] = found.images
    assert (affected.repository, affected.digest, affected.tags) == ("a", image.digest, ("1", "latest"))
    assert (affected.why, affected.size) == ("rule 1: 1d old or older", len(image.content) + 4)
    assert await keeper.registry.dry_runs.ids() == [found.dry_run]
    kept = await keeper.registry.dry_runs.get(found.dry_run)
    assert (kept.at, kept.policies, kept.images) == (clock.now, ("p",), (affected,))
    await keeper.run()
    assert keeper.done("condemn") == {image.digest}
    again = await keeper.registry.retention.rehearse()
    assert again.images == found.images  # condemned or not, it would go
    with pytest.raises(PolicyError, match="there is no dry run x"):
        await keeper.registry.dry_runs.get("x")


async def test_a_dry_run_of_a_disabled_policy(keeper: Keeper, api: Api, clock: Clock) -> None:
    """This is how one is tried, whatever else is active."""
    images = {name: await api.image(name, "1", name) for name in ("a", "b")}
    await keeper.apply(Rule(tag_regexp="x", retained_top=1))
    await keeper.apply(name="new", repositories=["a"], status="DISABLED")
    clock.advance(OLD)
    assert (await keeper.registry.retention.rehearse()).images == []
    found = await keeper.registry.retention.rehearse(policy="new")
    assert [each.digest for each in found.images] == [images["a"].digest]
    assert found.problems == []
    with pytest.raises(PolicyError, match="there is no policy never"):
        await keeper.registry.retention.rehearse(policy="never")


async def test_old_dry_runs_go(keeper: Keeper, clock: Clock) -> None:
    """After 30 days."""
    first = (await keeper.registry.retention.rehearse()).dry_run
    clock.advance(29 * DAY)
    second = (await keeper.registry.retention.rehearse()).dry_run
    assert await keeper.registry.dry_runs.ids() == [first, second]
    clock.advance(2 * DAY)
    third = (await keeper.registry.retention.rehearse()).dry_run
    assert await keeper.registry.dry_runs.ids() == [second, third]


async def test_large_repositories(keeper: Keeper, api: Api, clock: Clock, memory: MemoryStore) -> None:
    """More manifests than are read together, and more removals than a page of the journal holds."""
    content = (await api.image("a", None)).content
    name = RepositoryName("a")
    decoded = decode_manifest(await memory.get(layout.manifest_key(name, Digest.of(content))))
    assert decoded is not None
    for number in range(550):
        await api.manifest("a", None, content + b" " * (number + 1))
    clock.advance(OLD)
    await keeper.apply()
    await keeper.run()
    assert len(keeper.done("condemn")) == 551
    clock.advance(DAY + 1)
    await keeper.run()
    assert len(keeper.done("bury")) == 551
