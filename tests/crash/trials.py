"""One operation, one crash, and all that must hold then."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from storage.documents import OCI_INDEX, OCI_MANIFEST
from storage.objects.contract import ObjectStore
from storage.objects.memory import MemoryStore
from tests.crash.acts import Notes
from tests.crash.dying import Died, DyingStore, Point
from tests.crash.operations import Operation
from tests.crash.picture import (
    NAME,
    Picture,
    comparable,
    incoherent,
    ledger_of,
    picture,
    published_twice,
    too_early,
    unfinished,
    unsupported,
)
from tests.invariants import unserved
from tests.protocol.documents import descriptor, image, index
from tests.protocol.serving import Api, Clock, World


@dataclass(frozen=True)
class Expected:
    """What is served before an operation and after one without a crash, and the requests that it makes, which are its steps."""

    before: Picture
    after: Picture
    requests: Sequence[str]


async def prepare(operation: Operation, api: Api, store: ObjectStore) -> Notes:
    """Something to be kept, and what the operation needs."""
    notes = Notes()
    await api.image("kept", "kept", "kept")
    await operation.prepare(api, store, notes)
    return notes


async def attempt(api: Api, store: DyingStore, operation: Operation, notes: Notes, point: Point | None) -> bool:
    """Do the operation, and die at `point`; whether it was acknowledged. Work that it left behind gets to its end, or dies too."""
    store.arm(point)
    acknowledged = False
    try:
        await operation.act(api, notes)
        acknowledged = True
    except* Died:
        pass
    notes["tried"] = "yes"
    for _ in range(10):
        await asyncio.sleep(0)
    return acknowledged


async def look(store: ObjectStore, clock: Clock) -> dict[str, Any]:
    """What a fresh gateway serves from a copy of the store: to look may change records, as to GET what is condemned does."""
    copied = await copy(store, clock)
    async with World(copied, clock).gateway() as api:
        return await picture(api, copied)


async def copy(store: ObjectStore, clock: Clock) -> MemoryStore:
    """A store in memory with the same objects."""
    copied = MemoryStore(clock)
    for info in [info async for info in store.list("")]:
        await copied.put(info.key, (await store.get(info.key)).body)
    return copied


async def check_crashed(
    operation: Operation, store: ObjectStore, clock: Clock, expected: Expected, crashes: int
) -> dict[str, Any]:
    """A crash leaves no step half-done: all invariants hold, and each thing is as it was before or as it will be."""
    copied = await copy(store, clock)
    wrong = await published_twice(copied, operation.spare + crashes - 1)
    async with World(copied, clock).gateway() as api:
        now = await picture(api, copied)
        wrong += await unserved(api.client, ledger_of(now, expected.after))
    wrong += astray(expected, now)
    wrong += incoherent(now, names=operation.leaves_names or operation.finds_names)
    wrong += unfinished(now, tagged=True)
    wrong += unsupported(expected.before, now)
    wrong += too_early(expected.before, now, expected.after)
    assert wrong == [], told(operation, wrong)
    return now


async def check_finished(
    operation: Operation, store: ObjectStore, clock: Clock, expected: Expected | None, crashes: int
) -> dict[str, Any]:
    """What was acknowledged is all there, as if there had been no crash; but for names that lead nowhere, and unlinked bytes."""
    copied = await copy(store, clock)
    wrong = await published_twice(copied, operation.spare + crashes)
    async with World(copied, clock).gateway() as api:
        now = await picture(api, copied)
        wrong += await unserved(api.client, ledger_of(now, now))
        wrong += await unexpected(operation, api)
    names = operation.finds_names or (operation.leaves_names and crashes > 0)
    wrong += incoherent(now, names=names)
    wrong += unfinished(now)
    if expected is not None:
        wrong += differences(comparable(now, names=not names), comparable(expected.after, names=not names))
    assert wrong == [], told(operation, wrong)
    return now


def told(operation: Operation, wrong: Sequence[str]) -> str:
    """All that is wrong, a line each."""
    return "\n".join([operation.name, *(each[:500] for each in wrong)])


def astray(expected: Expected, now: Picture) -> list[str]:
    """What is neither as before the operation nor as after it."""
    before, after, there = (comparable(each, names=False) for each in (expected.before, expected.after, now))
    ways = [differences(there, each) for each in (before, after)]
    return sorted(set(ways[0]) & set(ways[1]))


def differences(now: Picture, then: Picture) -> list[str]:
    """What is not the same."""
    return [f"{path} is {now.get(path)!r}" for path in sorted({*now, *then}) if now.get(path) != then.get(path)]


async def unexpected(operation: Operation, api: Api) -> list[str]:
    """What is not served, or not gone, though the operation was acknowledged."""
    answers = [(path, status) for status, paths in ((200, operation.served), (404, operation.gone)) for path in paths]
    found = [(path, status, (await api.get(path)).status_code) for path, status in answers]
    return [f"GET {path} answers {answer}, not {status}" for path, status, answer in found if answer != status]


async def check_names_left(now: Picture, api: Api) -> int:
    """A name in tags/list that leads nowhere can be deleted like any tag; tells how many there were."""
    left = [path.removeprefix(NAME) for path in now if path.startswith(NAME) and path.removeprefix(NAME) not in now]
    for path in left:
        assert (await api.delete(path)).status_code == 202, path
        listed = await api.get(f"{path.partition('/manifests/')[0]}/tags/list")
        assert path.rpartition("/")[2] not in listed.json()["tags"]
    return len(left)


async def check_relied_on(operation: Operation, witness: Api) -> None:
    """Another gateway, which saw it a moment ago, takes no manifest that names what a DELETE has removed, crashed or not."""
    assert operation.relied_on is not None
    name, kind, digest = operation.relied_on.removeprefix("/v2/").split("/")
    entry = {**descriptor(b""), "digest": digest, "mediaType": OCI_MANIFEST}
    content = index([entry]) if kind == "manifests" else image(entry)
    media_type = OCI_INDEX if kind == "manifests" else OCI_MANIFEST
    answer = await witness.put(f"/v2/{name}/manifests/witness", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == 400, f"{operation.name}: another gateway took a manifest of what is gone: {answer}"
