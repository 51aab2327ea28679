"""Referrers: which manifests name a subject, in pages, filtered, and joined with the fallback tag's."""

from typing import Any
from urllib.parse import quote

import pytest

from storage.documents import OCI_INDEX, OCI_MANIFEST
from storage.references import Digest
from storage.registry import Rules
from tests.protocol.documents import descriptor, image, index, manifest_descriptor
from tests.protocol.serving import Api, World, refused

DIGEST = str(Digest.of(b"subject"))
SUBJECT: dict[str, Any] = {"mediaType": OCI_MANIFEST, "digest": DIGEST, "size": 7}
EMPTY = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
MANY = 1200


async def put_many(api: Api, count: int, kind: str = "test/kind", padding: int = 0) -> list[str]:
    """Push many small referrers; their digests in the order of the list."""
    await api.blob("a", b"{}")
    found = []
    for number in range(count):
        annotations = {"number": str(number), "padding": "x" * padding}
        content = image(EMPTY, [EMPTY], subject=SUBJECT, artifactType=kind, annotations=annotations)
        found.append((await api.manifest("a", None, content)).digest)
    return sorted(found)


async def digests(api: Api, path: str) -> list[list[str]]:
    """What each page lists."""
    return [[each["digest"] for each in page.json()["manifests"]] async for page in api.pages(path)]


def flat(pages: list[list[str]]) -> list[str]:
    """All of it."""
    return [name for page in pages for name in page]


async def test_pages_hold_every_referrer_once(api: Api) -> None:
    """By Link, 1,200 referrers come in the order of their digests, in pages that a client can hold."""
    expected = await put_many(api, MANY)
    pages = await digests(api, f"/v2/a/referrers/{DIGEST}")
    assert flat(pages) == expected
    assert len(pages) > 1
    assert all(pages)


async def test_a_filter_goes_through_all_pages(api: Api) -> None:
    """The Link of a filtered page keeps the filter, whatever characters it has; each page says that it was applied."""
    wanted = "application/vnd.example+json; a=b&c/\u00e9"
    first, second = await put_many(api, 700, wanted), await put_many(api, 600, "test/other")
    seen = []
    async for page in api.pages(f"/v2/a/referrers/{DIGEST}?artifactType={quote(wanted, safe='')}"):
        assert page.headers["OCI-Filters-Applied"] == "artifactType"
        seen += [each["digest"] for each in page.json()["manifests"]]
    assert seen == first
    assert flat(await digests(api, f"/v2/a/referrers/{DIGEST}")) == sorted(first + second)


@pytest.mark.parametrize("padding", ["x", '"', "\\", "\u0001", "\u00e9", "\U0001f600"])
async def test_a_page_is_bounded_in_bytes(world: World, padding: str) -> None:
    """Large annotations make pages shorter, however JSON writes them: none is larger than a manifest may be."""
    limit = 64 * 1024
    async with world.gateway(rules=Rules(max_manifest_bytes=limit)) as api:
        await api.blob("a", b"{}")
        expected = []
        for number in range(30):
            annotations = {"number": str(number), "padding": padding * (12_000 // len(repr(padding).encode()))}
            fields: dict[str, Any] = {"subject": SUBJECT, "artifactType": "test/x", "annotations": annotations}
            expected.append((await api.manifest("a", None, image(EMPTY, [EMPTY], **fields))).digest)
        seen: list[str] = []
        async for page in api.pages(f"/v2/a/referrers/{DIGEST}"):
            assert len(page.content) <= limit
            seen += [each["digest"] for each in page.json()["manifests"]]
        assert seen == sorted(expected)


async def test_a_long_type_counts_too(world: World) -> None:
    """A page is bounded whatever it is that makes its descriptors long."""
    limit = 64 * 1024
    async with world.gateway(rules=Rules(max_manifest_bytes=limit)) as api:
        await api.blob("a", b"{}")
        for number in range(10):
            kind = f"test/{number}{'x' * 20_000}"
            await api.manifest("a", None, image(EMPTY, [EMPTY], subject=SUBJECT, artifactType=kind))
        pages = [page async for page in api.pages(f"/v2/a/referrers/{DIGEST}")]
        assert sum(len(page.json()["manifests"]) for page in pages) == 10
        assert max(len(page.content) for page in pages) <= limit


async def test_one_referrer_beyond_the_bound_still_shows(world: World) -> None:
    """A descriptor that is larger than a page has one of its own."""
    async with world.gateway(rules=Rules(max_manifest_bytes=8000)) as api:
        await api.blob("a", b"{}")
        expected = []
        for number in range(3):
            fields: dict[str, Any] = {"subject": SUBJECT, "artifactType": "t", "annotations": {str(number): "x" * 7000}}
            expected.append((await api.manifest("a", None, image(EMPTY, [EMPTY], **fields))).digest)
        assert await digests(api, f"/v2/a/referrers/{DIGEST}") == [[digest] for digest in sorted(expected)]


async def test_an_empty_filter(api: Api) -> None:
    """It is one like any other: it MUST be said to be applied where it was."""
    await api.artifact("a", SUBJECT, "test/sbom")
    answer = await api.get(f"/v2/a/referrers/{DIGEST}?artifactType=")
    assert (answer.json()["manifests"], answer.headers["OCI-Filters-Applied"]) == ([], "artifactType")


async def test_what_a_descriptor_says(api: Api) -> None:
    """Type, size and digest of the referrer, its artifactType, and all of its annotations."""
    pushed = await api.artifact("a", SUBJECT, "test/sbom", annotations={"org.example": "x"})
    answer = await api.get(f"/v2/a/referrers/{DIGEST}")
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert "OCI-Filters-Applied" not in answer.headers
    assert answer.json() == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": OCI_MANIFEST,
                "digest": pushed.digest,
                "size": len(pushed.content),
                "artifactType": "test/sbom",
                "annotations": {"seed": "", "org.example": "x"},
            }
        ],
    }


async def test_which_artifact_type_is_shown(api: Api) -> None:
    """The manifest's own; an image without one shows its config's type; an index without one omits it."""
    await api.blob("a", b"{}")
    config = descriptor(b"{}", "test/config")
    shown = {
        (await api.manifest("a", None, image(config, subject=SUBJECT))).digest: "test/config",
        (await api.manifest("a", None, image(config, subject=SUBJECT, artifactType=""))).digest: "test/config",
        (await api.manifest("a", None, image(config, subject=SUBJECT, artifactType="test/own"))).digest: "test/own",
        (await api.manifest("a", None, index([], subject=SUBJECT))).digest: None,
        (await api.manifest("a", None, index([], subject=SUBJECT, artifactType="test/index"))).digest: "test/index",
    }
    found = await api.referrers("a", DIGEST)
    assert {each["digest"]: each.get("artifactType") for each in found} == shown
    assert all("artifactType" in each for each in found if shown[each["digest"]] is not None)
    assert not any("artifactType" in each for each in found if shown[each["digest"]] is None)
    for kind in ("test/config", "test/own", "test/index"):
        wanted = sorted(digest for digest, each in shown.items() if each == kind)
        assert [each["digest"] for each in await api.referrers("a", DIGEST, f"?artifactType={kind}")] == wanted


async def test_a_push_names_its_subject(api: Api) -> None:
    """OCI-Subject tells the client that the referrers API did it; a missing subject is no obstacle."""
    await api.blob("a", b"{}")
    answer = await api.put(
        "/v2/a/manifests/1", content=image(EMPTY, subject=SUBJECT), headers={"Content-Type": OCI_MANIFEST}
    )
    assert (answer.status_code, answer.headers["OCI-Subject"]) == (201, DIGEST)
    plain = await api.put("/v2/a/manifests/2", content=image(EMPTY), headers={"Content-Type": OCI_MANIFEST})
    assert "OCI-Subject" not in plain.headers


async def test_a_deleted_referrer_disappears(api: Api) -> None:
    """At once, and it comes back when it is pushed again; the subject's own DELETE changes nothing."""
    image_pushed = await api.image("a", "1")
    subject = manifest_descriptor(image_pushed.content)
    first, second = await api.artifact("a", subject, "t", "1"), await api.artifact("a", subject, "t", "2")
    assert (await api.delete(f"/v2/a/manifests/{first.digest}")).status_code == 202
    assert [each["digest"] for each in await api.referrers("a", image_pushed.digest)] == [second.digest]
    await api.manifest("a", None, first.content)
    both = sorted([first.digest, second.digest])
    assert [each["digest"] for each in await api.referrers("a", image_pushed.digest)] == both
    await api.delete(f"/v2/a/manifests/{image_pushed.digest}")
    assert [each["digest"] for each in await api.referrers("a", image_pushed.digest)] == both


async def test_a_referrer_pushed_twice_is_listed_once(api: Api) -> None:
    """Also under tags, and through several gateways."""
    pushed = await api.artifact("a", SUBJECT, "t")
    for tag in (None, "x", "y"):
        await api.manifest("a", tag, pushed.content)
    assert [each["digest"] for each in await api.referrers("a", DIGEST)] == [pushed.digest]


async def test_the_fallback_tag_is_included(api: Api) -> None:
    """What clients from before the referrers API listed under `sha256-<hex>` shows too, once, if it still exists."""
    await api.blob("a", b"{}")
    old = [await api.manifest("a", None, image(EMPTY, [EMPTY], annotations={"n": str(n)})) for n in range(3)]
    new = await api.artifact("a", SUBJECT, "test/new")
    listed = [manifest_descriptor(each.content) for each in [*old, new]]
    await api.manifest("a", DIGEST.replace(":", "-"), index(listed))
    expected = sorted([*(each.digest for each in old), new.digest])
    assert [each["digest"] for each in await api.referrers("a", DIGEST)] == expected
    assert [each["digest"] for each in await api.referrers("a", DIGEST, "?artifactType=test/new")] == [new.digest]
    await api.delete(f"/v2/a/manifests/{old[0].digest}")
    expected.remove(old[0].digest)
    assert [each["digest"] for each in await api.referrers("a", DIGEST)] == expected


async def test_a_fallback_tag_in_pages(api: Api) -> None:
    """More than a page of old and new referrers together: each once, in order."""
    new = await put_many(api, 400)
    old = [image(EMPTY, [EMPTY], annotations={"old": str(number)}) for number in range(400)]
    for content in old:
        await api.manifest("a", None, content)
    await api.manifest("a", DIGEST.replace(":", "-"), index(map(manifest_descriptor, old)))
    expected = sorted([*new, *(str(Digest.of(content)) for content in old)])
    assert flat(await digests(api, f"/v2/a/referrers/{DIGEST}")) == expected


async def test_a_fallback_tag_that_is_no_index_is_ignored(api: Api) -> None:
    """Anyone may call an image so."""
    await api.image("a", DIGEST.replace(":", "-"))
    assert await api.referrers("a", DIGEST) == []


@pytest.mark.parametrize("subject", [DIGEST, str(Digest.of(b"x", "sha512"))])
async def test_no_referrers_are_an_empty_list(api: Api, subject: str) -> None:
    """200 with an index, for a subject or a repository that is unknown, filtered or not."""
    await api.image("a", "1")
    for name in ("a", "nowhere"):
        answer = await api.get(f"/v2/{name}/referrers/{subject}")
        assert (answer.status_code, answer.json()["manifests"]) == (200, [])
        filtered = await api.get(f"/v2/{name}/referrers/{subject}?artifactType=x")
        assert (filtered.status_code, filtered.headers["OCI-Filters-Applied"]) == (200, "artifactType")


async def test_a_subject_by_sha512(api: Api) -> None:
    """A subject, or a referrer, may be named by sha512."""
    subject = {**SUBJECT, "digest": str(Digest.of(b"subject", "sha512"))}
    pushed = await api.artifact("a", subject, "t")
    assert [each["digest"] for each in await api.referrers("a", subject["digest"])] == [pushed.digest]
    content = image(EMPTY, [EMPTY], subject=SUBJECT)
    digest = Digest.of(content, "sha512")
    answer = await api.put(f"/v2/a/manifests/{digest}", content=content, headers={"Content-Type": OCI_MANIFEST})
    assert answer.status_code == 201
    assert [each["digest"] for each in await api.referrers("a", DIGEST)] == [str(digest)]


async def test_referrers_belong_to_their_repository(api: Api) -> None:
    """Another repository's do not show."""
    await api.artifact("a", SUBJECT, "t")
    assert await api.referrers("b", DIGEST) == []


@pytest.mark.parametrize("digest", ["sha256:short", "nonsense", "md5:" + "0" * 32, "sha256:" + "Z" * 64])
async def test_a_bad_digest_is_400(api: Api, digest: str) -> None:
    """As the subject, and as the place where a page begins."""
    refused(await api.get(f"/v2/a/referrers/{digest}"), 400, "DIGEST_INVALID")
    refused(await api.get(f"/v2/a/referrers/{DIGEST}?last={digest}"), 400, "DIGEST_INVALID")
