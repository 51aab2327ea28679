"""Tag lists and the catalog: order, pages, and what does not show."""

import json
from collections.abc import AsyncGenerator

import httpx
import pytest

from gateway.manifests import MAX_TAGS
from storage.objects.memory import MemoryStore
from storage.objects.metered import MeteredStore
from tests.protocol.documents import descriptor, image
from tests.protocol.serving import Api, Clock, World, refused

MANY = 2500


async def names(pages: AsyncGenerator[httpx.Response], field: str) -> list[list[str]]:
    """What each page lists."""
    return [page.json()[field] async for page in pages]


def flat(pages: list[list[str]]) -> list[str]:
    """All of it."""
    return [name for page in pages for name in page]


async def tagged(api: Api, name: str, tags: list[str]) -> None:
    """Push one manifest under many tags."""
    await api.blob(name, b"{}")
    content = image(descriptor(b"{}"))
    for at in range(0, len(tags), MAX_TAGS):
        await api.manifest(name, None, content, query="?" + "&".join(f"tag={tag}" for tag in tags[at : at + MAX_TAGS]))


@pytest.fixture
async def many(api: Api) -> list[str]:
    """2,500 tags, in no order; returned in byte order."""
    tags = [f"{'vV_'[number % 3]}{number * 7919 % MANY}{'.-_'[number % 3]}x" for number in range(MANY)]
    assert len(set(tags)) == MANY
    await tagged(api, "a", tags)
    return sorted(tags, key=str.encode)


async def test_pages_of_many_sizes_hold_every_tag_once(api: Api, many: list[str]) -> None:
    """By Link, all 2,500 tags come in byte order, each page full but the last, which has no Link."""
    for size in (7, 500, 999, 1000, 1001, 1250, MANY - 1, MANY, MANY + 1, 10_000, 10**15):
        pages = await names(api.pages(f"/v2/a/tags/list?n={size}"), "tags")
        assert flat(pages) == many
        assert all(len(page) == size for page in pages[:-1])
        assert 0 < len(pages[-1]) <= size


async def test_the_default_page_holds_up_to_10000_tags(api: Api, many: list[str], metered: MeteredStore) -> None:
    """Without `n` all 2,500 come at once, by three LIST requests, without a Link."""
    metered.requests.clear()
    answer = await api.get("/v2/a/tags/list")
    assert answer.json() == {"name": "a", "tags": many}
    assert "Link" not in answer.headers
    assert metered.requests == {"LIST": 3}


async def test_last_need_not_exist(api: Api) -> None:
    """`last` is exclusive: what sorts after it follows, whether it is there or not."""
    await tagged(api, "a", ["a", "b", "c"])
    for last, expected in {
        "a": ["b", "c"],
        "aa": ["b", "c"],
        "": ["a", "b", "c"],
        "0": ["a", "b", "c"],
        "c": [],
        "zzz": [],
        "b.": ["c"],
        "x" * 128: [],
    }.items():
        answer = await api.get("/v2/a/tags/list", params={"last": last})
        assert (answer.status_code, answer.json()["tags"]) == (200, expected), last


@pytest.mark.parametrize(
    "last", ["..", ".", "../x", "a//b", "/", "\0", "\n", "\x01", "\u00e9", "\ufffd", "x" * 5000, "A b", "a!b"]
)
async def test_a_bad_last(api: Api, last: str) -> None:
    """What is no tag, or no name, is 400: some stores fail on such keys."""
    await tagged(api, "a", ["1"])
    refused(await api.get("/v2/a/tags/list", params={"last": last}), 400, "UNSUPPORTED")
    refused(await api.get("/v2/_catalog", params={"last": last}), 400, "UNSUPPORTED")


async def test_tags_are_in_byte_order(api: Api) -> None:
    """'1.0' before '1.0.1', 'A' < '_' < 'a': neither a locale's order nor that of paths."""
    tags = ["1", "1-0", "1.0", "1.0-rc", "1.0.1", "10", "2", "A", "Z", "_", "_a", "a", "a-b", "a.b", "a_b", "aa", "z"]
    assert tags == sorted(tags, key=str.encode)
    await tagged(api, "a", tags[::-1])
    assert await api.tags("a") == tags
    assert flat(await names(api.pages("/v2/a/tags/list?n=1"), "tags")) == tags


async def test_a_page_of_none(api: Api) -> None:
    """With n=0 the list is empty, without a Link."""
    await tagged(api, "a", ["1"])
    for path, empty in (("a/tags/list", {"name": "a", "tags": []}), ("_catalog", {"repositories": []})):
        answer = await api.get(f"/v2/{path}?n=0")
        assert (answer.status_code, answer.json()) == (200, empty)
        assert "Link" not in answer.headers


@pytest.mark.parametrize("n", ["-1", "x", "", "1.5", "1e3", " 1", "+1", "0x10", "\u0661"])
async def test_a_bad_page_size(api: Api, n: str) -> None:
    """400, for tags as for the catalog."""
    await tagged(api, "a", ["1"])
    refused(await api.get("/v2/a/tags/list", params={"n": n}), 400, "UNSUPPORTED")
    refused(await api.get("/v2/_catalog", params={"n": n}), 400, "UNSUPPORTED")


async def test_tags_that_were_deleted_do_not_show(api: Api) -> None:
    """Nor do they make a page shorter, or lead to one that is empty."""
    tags = [f"t{number:04}" for number in range(1200)]
    await tagged(api, "a", tags)
    gone = [tag for number, tag in enumerate(tags) if number % 3 or number > 900]
    for tag in gone:
        assert (await api.delete(f"/v2/a/manifests/{tag}")).status_code == 202
    left = [tag for tag in tags if tag not in set(gone)]
    pages = await names(api.pages("/v2/a/tags/list?n=50"), "tags")
    assert flat(pages) == left
    assert all(len(page) == 50 for page in pages[:-1])
    assert pages[-1]


async def test_a_repository_without_tags(api: Api) -> None:
    """One that has a manifest, or had one, has an empty list; one that has nothing, or blobs only, is NAME_UNKNOWN."""
    pushed = await api.image("a", None)
    assert await api.tags("a") == []
    await api.delete(f"/v2/a/manifests/{pushed.digest}")
    assert await api.tags("a") == []
    await api.blob("blobs-only", b"x")
    for name in ("blobs-only", "nothing"):
        refused(await api.get(f"/v2/{name}/tags/list"), 404, "NAME_UNKNOWN")


async def test_repositories_side_by_side(api: Api) -> None:
    """`a`, `a/b` and `a-b` are three repositories, each with its own tags and manifests."""
    repositories = ["a", "a/b", "a-b", "a/b/c", "a.b", "a0", "b"]
    for name in repositories:
        await api.image(name, f"tag-of-{name.replace('/', '.')}", seed=name)
    for name in repositories:
        assert await api.tags(name) == [f"tag-of-{name.replace('/', '.')}"]
    listed = (await api.get("/v2/_catalog")).json()["repositories"]
    assert listed == sorted(repositories, key=lambda name: name.replace("/", "!").encode())
    for size in (1, 2, 3, 7):
        pages = await names(api.pages(f"/v2/_catalog?n={size}"), "repositories")
        assert flat(pages) == listed
        assert all(len(page) == size for page in pages[:-1])


async def test_pages_of_the_catalog(memory: MemoryStore, world: World) -> None:
    """By Link, 2,500 repositories come once each, in pages of several sizes."""
    async with world.gateway() as api:
        for number in range(MANY):
            marker = json.dumps({"nonce": f"{number:016x}"}).encode()
            await memory.put(f"catalog/r{number * 7919 % MANY}!x", marker)
        everything = (await api.get("/v2/_catalog")).json()["repositories"]
        assert len(set(everything)) == MANY
        for size in (100, 999, 1000, MANY - 1, MANY, MANY + 1):
            pages = await names(api.pages(f"/v2/_catalog?n={size}"), "repositories")
            assert flat(pages) == everything
            assert all(len(page) == size for page in pages[:-1])


@pytest.mark.parametrize(
    "name",
    ["blobs", "tags", "manifests", "uploads", "referrers", "list", "v2", "blobs/uploads", "tags/list", "a/manifests",
     "manifests/tags/list", "a/blobs/uploads", "a/referrers/b", "blobs/blobs", "a/tags", "uploads/blobs/uploads"],
)  # fmt: skip
async def test_components_may_be_called_like_routes(api: Api, name: str) -> None:
    """Paths are read from the right: such a repository takes uploads, blobs, manifests, tags and referrers."""
    pushed = await api.image(name, "list", seed=name)
    subject = descriptor(pushed.content, pushed.media_type)
    artifact = await api.artifact(name, subject, "test/x")
    assert (await api.get(f"/v2/{name}/manifests/list")).content == pushed.content
    assert await api.tags(name) == ["list"]
    assert [each["digest"] for each in await api.referrers(name, pushed.digest)] == [artifact.digest]
    layer = json.loads(pushed.content)["layers"][0]["digest"]
    assert (await api.get(f"/v2/{name}/blobs/{layer}")).status_code == 200
    location = await api.begin(name)
    assert (await api.patch(location, content=b"x")).status_code == 202
    assert (await api.get("/v2/_catalog")).json() == {"repositories": [name]}


async def test_names_have_up_to_255_characters(api: Api) -> None:
    """The longest name works everywhere; one character more is NAME_INVALID."""
    longest = "/".join(["a" * 63] * 4)
    assert len(longest) == 255
    pushed = await api.image(longest, "1")
    assert (await api.get(f"/v2/{longest}/manifests/1")).content == pushed.content
    assert (await api.get("/v2/_catalog")).json() == {"repositories": [longest]}
    refused(await api.get(f"/v2/{longest}a/tags/list"), 400, "NAME_INVALID")


@pytest.mark.parametrize(
    "name",
    ["_catalog", "A", "a//b", "a/", "-a", "a-", "a..b", "a___b", "a._b", "a b", "a/_b", "a!b", "\u00e9", "a%00",
     "a/%2E%2E/b", "*", "a:1"],
)  # fmt: skip
async def test_what_is_no_name(api: Api, name: str) -> None:
    """NAME_INVALID, on every route that has a name."""
    digest = "sha256:" + "0" * 64
    for answer in (
        await api.get(f"/v2/{name}/tags/list"),
        await api.get(f"/v2/{name}/blobs/{digest}"),
        await api.get(f"/v2/{name}/manifests/1"),
        await api.put(f"/v2/{name}/manifests/1", content=b"{}"),
        await api.delete(f"/v2/{name}/manifests/1"),
        await api.get(f"/v2/{name}/referrers/{digest}"),
        await api.post(f"/v2/{name}/blobs/uploads/"),
        await api.get(f"/v2/{name}/blobs/uploads/x"),
    ):
        refused(answer, 400, "NAME_INVALID")


async def test_the_last_of_the_catalog_need_not_exist(api: Api) -> None:
    """Any name is a place in the order."""
    await api.image("a/b", "1")
    for last, expected in (("", ["a/b"]), ("a", ["a/b"]), ("a/a", ["a/b"]), ("a/b", []), ("a/bb", []), ("b", [])):
        answer = await api.get("/v2/_catalog", params={"last": last})
        assert (answer.status_code, answer.json()["repositories"]) == (200, expected)


async def test_i2_tags_show_at_once_on_every_gateway(world: World, api: Api, clock: Clock) -> None:
    """I2: a list on one gateway has what another has just acknowledged."""
    async with world.gateway() as another:
        for number in range(5):
            await another.image("a", f"{number}")
            assert await api.tags("a") == [str(each) for each in range(number + 1)]
