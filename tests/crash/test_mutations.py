"""Deliberate bugs: the crashes of this directory MUST find each of them, or they prove nothing."""

# ruff: noqa: SLF001 - a bug is put where bugs are, inside

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest

from storage import layout
from storage.blobs import Blobs
from storage.catalog import Catalog
from storage.errors import BlobUnknown
from storage.manifests import Manifests, Push
from storage.records import Instance, Link, encode
from storage.references import Digest, RepositoryName
from storage.tags import Tags
from tests.crash.memory import crash_at_every_step
from tests.crash.operations import operations

OPERATIONS = operations()
Method = Callable[..., Awaitable[Any]]

_put, _link, _move = Manifests.put, Blobs._link, Tags.move
_later: set[asyncio.Future[Any]] = set()


async def tag_before_record(manifests: Manifests, push: Push, marker: Any, pointers: Mapping[Any, Any]) -> None:
    """A tag is moved before the record of its manifest is written."""
    wanted = manifests._new(push)
    await manifests._move(push, wanted.header, dict(pointers))
    await manifests._records.write(layout.manifest_key(push.name, push.digest), wanted, None)
    await manifests._catalog.enter(push.name, marker)


async def referrer_after_tags(manifests: Manifests, push: Push, marker: Any, pointers: Mapping[Any, Any]) -> None:
    """The referrer entry is written last."""
    header = await manifests._confirm(push)
    await manifests._catalog.enter(push.name, marker)
    await manifests._move(push, header, dict(pointers))
    await manifests._refer(push, header.generation, await manifests._entry(push))


async def record_before_revival(manifests: Manifests, name: Any, digest: Any, document: Any, tags: Any) -> None:
    """The record is written before what it references is seen, and revived."""
    push = Push(name, digest, document, tags, manifests._context.nonce())
    await manifests._confirm(push)
    await _put(manifests, name, digest, document, tags)


async def tags_before_bury(manifests: Manifests, name: RepositoryName, digest: Digest) -> None:
    """A DELETE removes tags while their generation lives."""
    view = await manifests._records.read(layout.manifest_key(name, digest))
    assert view.value is not None
    await manifests._clean_up(name, digest, view.value.header)
    await manifests._catalog.note_deletion(name)
    await manifests._records.bury(view)


async def link_before_instance(blobs: Blobs, name: Any, digest: Any, written: Any, size: int, check: Any) -> None:
    """The link is written before the instance that it names."""
    key = layout.data_key(written)
    await blobs._link(name, digest, Link(key, size, blobs._context.nonce()))
    record = Instance(key, size, blobs._context.nonce())
    await blobs._context.store.put(layout.instance_key(digest, written), encode(record), if_absent=True)


async def deletion_noted_late(blobs: Blobs, name: RepositoryName, digest: Digest) -> None:
    """A DELETE is noted in the catalog after the link is gone."""
    view = await blobs._links.read(layout.link_key(digest, name))
    if view.value is None:
        raise BlobUnknown(digest)
    await blobs._links.bury(view)
    await blobs._catalog.note_deletion(name)


async def acknowledged_early(blobs: Blobs, *arguments: Any) -> None:
    """The answer does not wait for the link, though it may be there by then."""
    _later.add(asyncio.ensure_future(_link(blobs, *arguments)))
    await asyncio.sleep(0)


async def failure_swallowed(tags: Tags, *arguments: Any) -> None:
    """A tag that could not be moved is not told."""
    with suppress(BaseException):
        await _move(tags, *arguments)


async def marker_skipped(catalog: Catalog, name: RepositoryName, seen: Any) -> Any:
    """The repository never gets into the catalog."""
    return seen


BUGS: list[tuple[str, type, str, Method, str]] = [
    ("a manifest by tag", Manifests, "_write", tag_before_record, "listed but not served"),
    ("a manifest with a subject", Manifests, "_write", referrer_after_tags, "does not list"),
    ("a manifest of condemned blobs", Manifests, "put", record_before_revival, "needs"),
    ("DELETE of a manifest, with tags and a subject", Manifests, "delete", tags_before_bury, "went before"),
    ("POST, PATCH, PUT", Blobs, "publish", link_before_instance, "which is no instance of it"),
    ("DELETE of a blob", Blobs, "delete", deletion_noted_late, "of what is gone"),
    ("POST, PUT with the body", Blobs, "_link", acknowledged_early, "answers 404, not 200"),
    ("a tag moved to a new manifest", Tags, "move", failure_swallowed, "/v2/a/manifests/old is"),
    ("an image to a new repository", Catalog, "enter", marker_skipped, "is not in the catalog"),
]


@pytest.mark.parametrize(("name", "kind", "method", "bug", "told"), BUGS, ids=[bug[3].__name__ for bug in BUGS])
async def test_a_bug_is_found(
    name: str, kind: type, method: str, bug: Method, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some crash MUST show what this bug leaves behind."""
    monkeypatch.setattr(kind, method, bug)
    with pytest.raises(AssertionError, match=told) as failure:
        await crash_at_every_step(OPERATIONS[name])
    print(f"\n{bug.__name__}: {failure.value}")
