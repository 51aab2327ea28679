"""Manifests: what is taken, how it is served again, and what becomes of tags."""

import json
from typing import Any

import pytest

from storage.documents import DOCKER_LIST, DOCKER_MANIFEST, DOCKER_SCHEMA_1, OCI_INDEX, OCI_MANIFEST
from storage.objects.memory import MemoryStore
from storage.periods import Periods
from storage.references import Digest
from storage.registry import Rules
from tests.protocol.conftest import keys
from tests.protocol.documents import LAYER, descriptor, image, index, manifest_descriptor
from tests.protocol.serving import Api, Clock, World, chunks_of, codes, refused

MIB = 1024 * 1024
LIMIT = 4 * MIB
CONFIG = descriptor(b"{}", "application/vnd.oci.image.config.v1+json")


async def put(api: Api, path: str, content: Any, media_type: str | None = OCI_MANIFEST) -> Any:
    """Push a manifest, and return the answer."""
    headers = {} if media_type is None else {"Content-Type": media_type}
    return await api.put(f"/v2/{path}", content=content, headers=headers)


def sized(size: int) -> bytes:
    """A manifest of exactly this many bytes."""
    bare = image(CONFIG, annotations={"padding": ""})
    return image(CONFIG, annotations={"padding": "x" * (size - len(bare))})


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_4_mib_are_taken_and_a_byte_more_is_not(api: Api, memory: MemoryStore, is_chunked: bool) -> None:
    """4 MiB are stored and served byte by byte; above, 413, whether the length is said or found out."""
    await api.blob("a", b"{}")
    largest = sized(LIMIT)
    assert len(largest) == LIMIT
    await api.manifest("a", "big", largest)
    assert (await api.get("/v2/a/manifests/big")).content == largest
    before = await keys(memory)
    beyond = sized(LIMIT + 1)
    body: Any = chunks_of(beyond, 100_000) if is_chunked else beyond
    refused(await put(api, "a/manifests/bigger", body), 413, "SIZE_INVALID")
    assert await keys(memory) == before


async def test_a_body_that_is_too_large_is_not_read_to_its_end(api: Api) -> None:
    """Of an endless body no more than the limit and one chunk is taken."""
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += MIB
            yield b" " * MIB

    refused(await put(api, "a/manifests/x", endless()), 413, "SIZE_INVALID")
    assert read <= LIMIT + 2 * MIB


async def test_the_limit_is_a_setting(world: World) -> None:
    """A smaller limit refuses what the default takes."""
    async with world.gateway(rules=Rules(max_manifest_bytes=1000)) as api:
        await api.blob("a", b"{}")
        await api.manifest("a", "1", sized(1000))
        refused(await put(api, "a/manifests/1", sized(1001)), 413, "SIZE_INVALID")


async def test_every_missing_reference_is_named(api: Api, memory: MemoryStore) -> None:
    """MANIFEST_BLOB_UNKNOWN has one entry for each digest that the repository lacks, and nothing is stored."""
    await api.blob("a", b"{}")
    await api.blob("elsewhere", b"in another repository")
    before = await keys(memory)
    missing = [descriptor(b"one"), descriptor(b"two"), descriptor(b"in another repository")]
    answer = await put(api, "a/manifests/1", image(CONFIG, [*missing, missing[0]]))
    refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")
    entries = answer.json()["errors"]
    assert [entry["detail"]["digest"] for entry in entries] == [each["digest"] for each in missing]
    for entry in entries:
        assert entry["detail"]["digest"] in entry["message"]
    assert await keys(memory) == before


async def test_naming_many_missing_references_takes_an_answer_in_proportion(api: Api) -> None:
    """A manifest of 2,000 unknown layers is answered by 2,000 entries of a few hundred bytes, not by 2,000 lists of 2,000."""
    layers = [descriptor(b"%d" % number) for number in range(2000)]
    content = image(CONFIG, layers)
    answer = await put(api, "a/manifests/1", content)
    assert len(codes(answer)) == 2001
    assert len(answer.content) < 3 * len(content)


async def test_missing_children_of_an_index_are_named(api: Api) -> None:
    """So are the manifests that an index lists, by tag or by digest of the index."""
    child = image(CONFIG)
    content = index([manifest_descriptor(child)])
    answer = await put(api, "a/manifests/1", content, OCI_INDEX)
    refused(answer, 400, "MANIFEST_BLOB_UNKNOWN")
    assert answer.json()["errors"][0]["detail"] == {"digest": str(Digest.of(child))}
    refused(await put(api, f"a/manifests/{Digest.of(content)}", content, OCI_INDEX), 400, "MANIFEST_BLOB_UNKNOWN")


async def test_sparse_manifests_are_taken_where_the_setting_says_so(world: World) -> None:
    """With allow_sparse neither blobs nor children need to exist."""
    async with world.gateway(rules=Rules(allow_sparse=True)) as api:
        await api.manifest("a", "image", image(CONFIG, [descriptor(b"missing")]))
        await api.manifest("a", "index", index([descriptor(b"missing", OCI_MANIFEST)]))
        assert await api.tags("a") == ["image", "index"]


async def test_docker_images_keep_their_bytes_and_type(api: Api) -> None:
    """A Docker schema 2 image, and a manifest list of it, are served as they were pushed."""
    for content in (b"config", b"layer"):
        await api.blob("a", content)
    config = descriptor(b"config", "application/vnd.docker.container.image.v1+json")
    layer = descriptor(b"layer", "application/vnd.docker.image.rootfs.diff.tar.gzip")
    single = image(config, [layer], DOCKER_MANIFEST)
    platform = {"architecture": "amd64", "os": "linux"}
    several = index([manifest_descriptor(single, platform=platform)], DOCKER_LIST)
    for tag, content, media_type in (("one", single, DOCKER_MANIFEST), ("list", several, DOCKER_LIST)):
        pushed = await api.manifest("a", tag, content)
        for reference in (tag, pushed.digest):
            answer = await api.get(f"/v2/a/manifests/{reference}")
            assert (answer.content, answer.headers["Content-Type"]) == (content, media_type)
            assert answer.headers["Docker-Content-Digest"] == str(Digest.of(content))


@pytest.mark.parametrize("media_type", [f"{DOCKER_SCHEMA_1}+json", f"{DOCKER_SCHEMA_1}+prettyjws"])
async def test_schema_1_is_refused_in_words(api: Api, media_type: str) -> None:
    """400 with a message that says what to do."""
    content = json.dumps({"schemaVersion": 1, "name": "a", "tag": "1", "fsLayers": [], "history": []}).encode()
    answer = await put(api, "a/manifests/1", content, media_type)
    refused(answer, 400, "MANIFEST_INVALID")
    assert "schema 1" in answer.text


@pytest.mark.parametrize(
    "accept", [None, "*/*", OCI_MANIFEST, OCI_INDEX, DOCKER_LIST, "text/html", "", "application/json;q=0.1, text/*"]
)
async def test_accept_never_changes_what_is_served(api: Api, accept: str | None) -> None:
    """The exact bytes and type, whatever the client says that it accepts."""
    pushed = await api.image("a", "1")
    headers = {} if accept is None else {"Accept": accept}
    for reference in ("1", pushed.digest):
        answer = await api.get(f"/v2/a/manifests/{reference}", headers=headers)
        assert (answer.status_code, answer.content) == (200, pushed.content)
        assert answer.headers["Content-Type"] == OCI_MANIFEST


async def test_head_says_what_get_would(api: Api) -> None:
    """The same headers, and no bytes; a HEAD of what is missing has a status only."""
    pushed = await api.image("a", "1")
    for reference in ("1", pushed.digest):
        got, head = await api.get(f"/v2/a/manifests/{reference}"), await api.head(f"/v2/a/manifests/{reference}")
        assert got.headers.pop("X-Request-Id") != head.headers.pop("X-Request-Id")
        assert head.headers == got.headers
        assert head.headers["Content-Length"] == str(len(pushed.content))
        assert head.content == b""
    assert (await api.head("/v2/a/manifests/other")).status_code == 404


@pytest.mark.parametrize("parameters", ["; charset=utf-8", ";charset=utf-8; x=y", " ;"])
async def test_parameters_of_the_content_type_are_not_kept(api: Api, parameters: str) -> None:
    """What is served has the bare type."""
    await api.blob("a", b"{}")
    await api.manifest("a", "1", image(CONFIG), OCI_MANIFEST + parameters)
    assert (await api.get("/v2/a/manifests/1")).headers["Content-Type"] == OCI_MANIFEST


async def test_without_a_content_type_the_manifest_speaks_for_itself(api: Api) -> None:
    """The field mediaType stands in for Content-Type; with neither the push is refused."""
    await api.blob("a", b"{}")
    assert (await put(api, "a/manifests/1", image(CONFIG), None)).status_code == 201
    assert (await api.get("/v2/a/manifests/1")).headers["Content-Type"] == OCI_MANIFEST
    silent = json.dumps({"schemaVersion": 2, "config": CONFIG, "layers": []}).encode()
    refused(await put(api, "a/manifests/1", silent, None), 400, "MANIFEST_INVALID")
    assert (await put(api, "a/manifests/1", silent)).status_code == 201


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (image(CONFIG), OCI_INDEX),
        (image(CONFIG), DOCKER_MANIFEST),
        (index([]), OCI_MANIFEST),
        (index([]), DOCKER_LIST),
        (image(CONFIG), "application/json"),
        (image(CONFIG), "text/plain"),
        (image(CONFIG, manifests=[]), OCI_MANIFEST),
        (index([], config=CONFIG), OCI_INDEX),
        (index([], layers=[CONFIG]), OCI_INDEX),
        (json.dumps({"schemaVersion": 2, "layers": []}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 1, "config": CONFIG, "layers": []}).encode(), OCI_MANIFEST),
        (json.dumps({"schemaVersion": 2, "config": {**CONFIG, "digest": "sha256:00"}}).encode(), OCI_MANIFEST),
        (image(CONFIG, subject={**CONFIG, "digest": "nonsense"}), OCI_MANIFEST),
    ],
)
async def test_what_is_not_what_it_is_called_is_refused(
    api: Api, memory: MemoryStore, content: bytes, media_type: str
) -> None:
    """Content-Type, mediaType and shape must agree, and digests be digests."""
    await api.blob("a", b"{}")
    before = await keys(memory)
    refused(await put(api, "a/manifests/1", content, media_type), 400, "MANIFEST_INVALID")
    assert await keys(memory) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe{}",
        b'{"schemaVersion": NaN}',
        b'{"schemaVersion": 2, "x": NaN}',
        b'{"schemaVersion": 2, "x": Infinity}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"schemaVersion": 2, "x":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"schemaVersion": 2, "schemaVersion": 2, "config": {}, "layers": []}',
        image(CONFIG).replace(b'"schemaVersion": 2', b'"schemaVersion": 2, "annotations": {"a": "1", "a": "2"}'),
        image(CONFIG, x="\ud800"),
        image({**CONFIG, "mediaType": "\udfff"}),
        image(CONFIG, annotations={"\ud800": "x"}),
        image(CONFIG).replace(b"2,", b"2" + b"0" * 5000 + b",", 1),
        image(CONFIG).replace(b"2,", b"2e400,", 1),
        image(CONFIG).replace(b"2,", b"2.5,", 1),
        image(CONFIG, x=json.loads("[" * 100 + "]" * 100)),
        image(CONFIG, [{**CONFIG, "size": -1}]),
        image(CONFIG, [{**CONFIG, "size": 2**63}]),
        image({**CONFIG, "size": "2"}),
        image({**CONFIG, "size": None}),
        image(CONFIG, [CONFIG, None]),  # type: ignore[list-item]
        image(CONFIG, annotations={"a": 1}),
        image(CONFIG) + b"trailing",
        image(CONFIG) + b"\0",
        b"\xef\xbb\xbf" + image(CONFIG),
    ],
    ids=range(30),
)
async def test_what_is_no_manifest_is_refused(api: Api, memory: MemoryStore, content: bytes) -> None:
    """Broken, deep or ambiguous JSON is MANIFEST_INVALID, never a server error, and nothing is stored."""
    await api.blob("a", b"{}")
    before = await keys(memory)
    refused(await put(api, "a/manifests/1", content), 400, "MANIFEST_INVALID")
    refused(await put(api, f"a/manifests/{Digest.of(content)}", content), 400, "MANIFEST_INVALID")
    assert await keys(memory) == before


async def test_a_digest_in_the_path_must_be_the_contents(api: Api, memory: MemoryStore) -> None:
    """I4: else DIGEST_INVALID, and nothing is stored."""
    await api.blob("a", b"{}")
    before = await keys(memory)
    for wrong in (Digest.of(b"x"), Digest.of(b"x", "sha512")):
        refused(await put(api, f"a/manifests/{wrong}?tag=t", image(CONFIG)), 400, "DIGEST_INVALID")
    refused(await put(api, "a/manifests/sha256:short", image(CONFIG)), 400, "DIGEST_INVALID")
    assert await keys(memory) == before


async def test_sha512_by_digest(api: Api) -> None:
    """A manifest pushed by its sha512 is served under that digest, and a tag pushed along answers with it."""
    await api.blob("a", b"{}")
    content = image(CONFIG)
    digest = str(Digest.of(content, "sha512"))
    answer = await put(api, f"a/manifests/{digest}?tag=t", content)
    assert (answer.status_code, answer.headers["Location"]) == (201, f"/v2/a/manifests/{digest}")
    for reference in (digest, "t"):
        got = await api.get(f"/v2/a/manifests/{reference}")
        assert (got.content, got.headers["Docker-Content-Digest"]) == (content, digest)
    refused(await api.get(f"/v2/a/manifests/{Digest.of(content)}"), 404, "MANIFEST_UNKNOWN")


async def test_tags_in_the_query(api: Api) -> None:
    """A PUT by digest moves up to 64 tags, and names each in an OCI-Tag header; one named twice counts once."""
    await api.blob("a", b"{}")
    content = image(CONFIG)
    digest = str(Digest.of(content))
    wanted = [f"v{number}" for number in range(64)]
    query = "&".join(f"tag={tag}" for tag in [*wanted, "v0"])
    answer = await put(api, f"a/manifests/{digest}?{query}", content)
    assert answer.status_code == 201
    assert answer.headers.get_list("OCI-Tag") == wanted
    assert len(answer.headers.raw) < 90  # Python's http.client takes 100, of which a proxy may add some
    assert await api.tags("a") == sorted(wanted)
    for tag in ("v0", "v63"):
        assert (await api.get(f"/v2/a/manifests/{tag}")).headers["Docker-Content-Digest"] == digest


async def test_too_many_tags_or_a_bad_one(api: Api, memory: MemoryStore) -> None:
    """65 tags are 414, a bad one 400, and in both cases nothing is stored."""
    await api.blob("a", b"{}")
    before = await keys(memory)
    content = image(CONFIG)
    path = f"a/manifests/{Digest.of(content)}"
    many = "&".join(f"tag=v{number}" for number in range(65))
    refused(await put(api, f"{path}?{many}", content), 414, "MANIFEST_INVALID")
    for bad in ("-x", "", "a/b", "x" * 129, "%C3%A9", "a%00"):
        refused(await put(api, f"{path}?tag=good&tag={bad}", content), 400, "MANIFEST_INVALID")
    assert await keys(memory) == before


async def test_a_tag_in_the_path_excludes_those_in_the_query(api: Api) -> None:
    """`tag` is a parameter of a PUT by digest; beside a tag it means nothing."""
    await api.blob("a", b"{}")
    answer = await put(api, "a/manifests/one?tag=two", image(CONFIG))
    assert "OCI-Tag" not in answer.headers
    assert await api.tags("a") == ["one"]


async def test_an_index_may_list_layers(api: Api) -> None:
    """Entries that are no manifests, as of a build cache, are blobs: taken if they exist, named if not."""
    await api.blob("a", b"cached layer")
    entry = descriptor(b"cached layer", LAYER)
    config = descriptor(b"cache config", "application/vnd.buildkit.cacheconfig.v0")
    answer = await put(api, "a/manifests/cache", index([entry, config]), OCI_INDEX)
    assert [each["detail"]["digest"] for each in answer.json()["errors"]] == [config["digest"]]
    await api.blob("a", b"cache config")
    pushed = await api.manifest("a", "cache", index([entry, config]))
    assert (await api.get("/v2/a/manifests/cache")).content == pushed.content


async def test_layers_that_lie_elsewhere_need_not_be_pushed(api: Api) -> None:
    """Non-distributable layers name where they are in `urls`."""
    await api.blob("a", b"{}")
    foreign = descriptor(
        b"licensed",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        urls=["https://example.com/layer"],
    )
    await api.manifest("a", "1", image(CONFIG, [foreign]))
    refused(await put(api, "a/manifests/2", image(CONFIG, [{**foreign, "urls": []}])), 400, "MANIFEST_BLOB_UNKNOWN")


async def test_nested_and_empty_indexes(api: Api) -> None:
    """An index may list indexes, or nothing."""
    empty = await api.manifest("a", "empty", index([]))
    nested = await api.manifest("a", "nested", index([manifest_descriptor(empty.content)]))
    assert (await api.get("/v2/a/manifests/nested")).content == nested.content


async def test_a_manifest_that_the_client_has_is_not_sent_again(api: Api) -> None:
    """If-None-Match with the ETag is 304 without a body, by tag as by digest; after the tag has moved it is 200."""
    first = await api.image("a", "1", "first")
    etag = (await api.get("/v2/a/manifests/1")).headers["ETag"]
    for reference in ("1", first.digest):
        same = await api.get(f"/v2/a/manifests/{reference}", headers={"If-None-Match": etag})
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
        for held in (f"W/{etag}", f'"other" , {etag}', "*"):
            for method in ("GET", "HEAD"):
                path = f"/v2/a/manifests/{reference}"
                assert (await api.http(method, path, headers={"If-None-Match": held})).status_code == 304
    second = await api.image("a", "1", "second")
    moved = await api.get("/v2/a/manifests/1", headers={"If-None-Match": etag})
    assert (moved.status_code, moved.content) == (200, second.content)


async def test_a_push_moves_the_tag(api: Api) -> None:
    """The tag leads to the new version at once; the old one stays readable by digest, and the tag can move back."""
    old, new = await api.image("a", "1", "old"), await api.image("a", "1", "new")
    assert (await api.get("/v2/a/manifests/1")).content == new.content
    assert (await api.get(f"/v2/a/manifests/{old.digest}")).content == old.content
    await api.manifest("a", "1", old.content)
    assert (await api.get("/v2/a/manifests/1")).content == old.content
    assert await api.tags("a") == ["1"]


async def test_deleting_by_digest_removes_all_its_tags(api: Api) -> None:
    """Every tag on it is 404 at once and in no listing; other manifests, and tags that were moved away, stay."""
    doomed = await api.image("a", "1", "doomed")
    for tag in ("2", "3", "moved"):
        await api.manifest("a", tag, doomed.content)
    kept = await api.image("a", "moved", "kept")
    assert (await api.delete(f"/v2/a/manifests/{doomed.digest}")).status_code == 202
    for reference in ("1", "2", "3", doomed.digest):
        refused(await api.get(f"/v2/a/manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
        assert (await api.head(f"/v2/a/manifests/{reference}")).status_code == 404
    assert await api.tags("a") == ["moved"]
    assert (await api.get("/v2/a/manifests/moved")).content == kept.content


async def test_tags_are_removed_however_long_that_takes(world: World, api: Api) -> None:
    """Of a manifest with so many that they outlast the bound of an operation: here it is over as soon as anything waits."""
    doomed = await api.image("a", "0")
    tags = "&".join(f"tag={number}" for number in range(1, 60))
    await api.manifest("a", None, doomed.content, query=f"?{tags}")
    async with world.gateway(rules=Rules(Periods(bound=0))) as hurried:
        assert (await hurried.delete(f"/v2/a/manifests/{doomed.digest}")).status_code == 202
    assert await api.tags("a") == []


async def test_deleting_a_tag_leaves_the_manifest(api: Api) -> None:
    """Only the tag is gone; its digest and other tags stay."""
    pushed = await api.image("a", "1")
    await api.manifest("a", "2", pushed.content)
    assert (await api.delete("/v2/a/manifests/1")).status_code == 202
    refused(await api.get("/v2/a/manifests/1"), 404, "MANIFEST_UNKNOWN")
    for reference in ("2", pushed.digest):
        assert (await api.get(f"/v2/a/manifests/{reference}")).content == pushed.content
    assert await api.tags("a") == ["2"]


async def test_deleting_twice_is_404(api: Api) -> None:
    """The second DELETE of a tag or digest, and one of what never was, is MANIFEST_UNKNOWN."""
    pushed = await api.image("a", "1")
    for reference in ("1", pushed.digest):
        assert (await api.delete(f"/v2/a/manifests/{reference}")).status_code == 202
        refused(await api.delete(f"/v2/a/manifests/{reference}"), 404, "MANIFEST_UNKNOWN")
    refused(await api.delete("/v2/a/manifests/never"), 404, "MANIFEST_UNKNOWN")
    refused(await api.delete(f"/v2/never/manifests/{pushed.digest}"), 404, "MANIFEST_UNKNOWN")


async def test_what_was_deleted_can_be_pushed_again(api: Api) -> None:
    """With the same tags, over and over; tags that are not pushed again stay away."""
    for _ in range(3):
        pushed = await api.image("a", "1")
        await api.manifest("a", "2", pushed.content)
        assert (await api.get("/v2/a/manifests/1")).content == pushed.content
        assert await api.tags("a") == ["1", "2"]
        await api.delete(f"/v2/a/manifests/{pushed.digest}")
        assert await api.tags("a") == []
        await api.manifest("a", "2", pushed.content)
        refused(await api.get("/v2/a/manifests/1"), 404, "MANIFEST_UNKNOWN")
        assert await api.tags("a") == ["2"]
        await api.delete("/v2/a/manifests/2")
        await api.manifest("a", "2", pushed.content)
        assert await api.tags("a") == ["2"]


async def test_a_push_after_a_blob_was_deleted_is_refused(world: World, api: Api, clock: Clock) -> None:
    """I1: a gateway that remembers the blob must not rely on that once another has deleted it and answered 202."""
    pushed = await api.image("a", "1")
    config = json.loads(pushed.content)["config"]["digest"]
    async with world.gateway() as another:
        assert (await another.delete(f"/v2/a/blobs/{config}")).status_code == 202
    refused(await put(api, "a/manifests/2", pushed.content), 400, "MANIFEST_BLOB_UNKNOWN")
    clock.advance(3600)
    refused(await put(api, "a/manifests/2", pushed.content), 400, "MANIFEST_BLOB_UNKNOWN")


async def test_an_index_after_its_child_was_deleted_is_refused(world: World, api: Api) -> None:
    """I1: the same for child manifests."""
    child = await api.image("a", "1")
    parent = index([manifest_descriptor(child.content)])
    async with world.gateway() as another:
        assert (await another.delete(f"/v2/a/manifests/{child.digest}")).status_code == 202
    refused(await put(api, "a/manifests/2", parent, OCI_INDEX), 400, "MANIFEST_BLOB_UNKNOWN")


async def test_i1_what_was_acknowledged_can_be_pulled_whole(world: World, api: Api) -> None:
    """I1: a gateway that knows nothing serves every manifest, child, config and layer that was acknowledged."""
    children = [await api.image("a", None, f"child {number}", layers=3) for number in range(3)]
    await api.manifest("a", "all", index(map(manifest_descriptor, [child.content for child in children])))
    async with world.gateway() as another:
        parent = (await another.get("/v2/a/manifests/all")).json()
        for entry in parent["manifests"]:
            child = (await another.get(f"/v2/a/manifests/{entry['digest']}")).json()
            for blob in [child["config"], *child["layers"]]:
                content = (await another.get(f"/v2/a/blobs/{blob['digest']}")).content
                assert str(Digest.of(content)) == blob["digest"]


async def test_manifests_belong_to_their_repository(api: Api) -> None:
    """A manifest is not readable through another repository."""
    pushed = await api.image("a", "1")
    for reference in ("1", pushed.digest):
        refused(await api.get(f"/v2/b/manifests/{reference}"), 404, "MANIFEST_UNKNOWN")


@pytest.mark.parametrize("tag", ["-x", ".x", "x" * 129, "a b", "\u00e9"])
async def test_a_bad_tag(api: Api, tag: str) -> None:
    """No manifest exists under what is no tag, and none can be pushed there."""
    refused(await api.get(f"/v2/a/manifests/{tag}"), 404, "MANIFEST_UNKNOWN")
    refused(await api.delete(f"/v2/a/manifests/{tag}"), 404, "MANIFEST_UNKNOWN")
    refused(await put(api, f"a/manifests/{tag}", image(CONFIG)), 400, "MANIFEST_INVALID")


async def test_the_longest_tag(api: Api) -> None:
    """128 characters are a tag."""
    tag = "_" + "x.-_Y" * 25 + "zz"
    assert len(tag) == 128
    pushed = await api.image("a", tag)
    assert (await api.get(f"/v2/a/manifests/{tag}")).content == pushed.content
