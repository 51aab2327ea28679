"""Clients that push, pull, move and delete for as long as they are let, and know at any time what must be there.

Each has a repository of its own, in which nobody else writes, so that it can hold every answer to what it was told before. What it
pushes, others push and mount too.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx

from storage.documents import read
from storage.references import Digest
from tests.fleet.uploader import Uploader
from tests.invariants import Ledger
from tests.protocol.documents import descriptor, image, media_type_of

MIB = 1024 * 1024
TAGS = ("latest", "stable", "edge", "old")
_LARGE = 12 * MIB
_POOL = 40


@dataclass
class Told:
    """What all clients were told together, and what was wrong about it."""

    ledger: Ledger = field(default_factory=Ledger)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Client:
    """One client, number `number` of `count`, of all the gateways.

    `actions` says how often it does what, `most_images` from how many on it deletes, `taken` what may answer a manifest, and
    `lapsing` whether uploads may expire.
    """

    actions: ClassVar[Mapping[str, int]] = {
        "push": 30,
        "pull": 40,
        "look elsewhere": 10,
        "move": 12,
        "untag": 4,
        "delete": 6,
        "delete blob": 2,
    }
    most_images: ClassVar[int] = 12
    taken: ClassVar[frozenset[int]] = frozenset({201})
    lapsing: ClassVar[bool] = False

    def __init__(self, gateways: Sequence[httpx.AsyncClient], told: Told, number: int, count: int) -> None:
        self._chance = random.Random(number)
        self._told = told
        self._repositories = [f"soak/{each}" for each in range(count)]
        self._name = self._repositories[number]
        self._uploader = Uploader(gateways, self._chance, told.counts, told.wrong, lapsing=self.lapsing)
        self._images: dict[str, bytes] = {}
        self._pushed = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until told to stop."""
        acts = self._acts()
        while not stop.is_set():
            action = self._chance.choices(list(self.actions), list(self.actions.values()))[0]
            action = "delete" if len(self._images) > self.most_images else action
            self._told.counts[action] += 1
            await acts[action if self._images or action == "look elsewhere" else "push"]()

    def _acts(self) -> dict[str, Callable[[], Awaitable[object]]]:
        return {
            "push": self._push,
            "pull": self._pull,
            "look elsewhere": self._look_elsewhere,
            "move": self._move,
            "untag": self._untag,
            "delete": self._delete,
            "delete blob": self._delete_blob,
        }

    async def _push(self) -> None:
        """An image of a few layers, some of which others have too, and some of which take many parts."""
        self._pushed += 1
        contents = [f"{self._name} {self._pushed}".encode() * 100, *self._layers()]
        for content in contents:
            if not await self._uploader.upload(self._name, content, self._chance.choice(self._repositories)):
                return
        config, *layers = map(descriptor, contents)
        await self._tag(image(config, layers))

    def _layers(self) -> list[bytes]:
        seeds = [self._chance.randrange(_POOL) for _ in range(self._chance.randint(1, 3))]
        return [
            random.Random(seed).randbytes(_LARGE + seed if seed % 13 == 0 else 2_000 + 7_000 * seed) for seed in seeds
        ]

    async def _tag(self, content: bytes) -> bool:
        """Push a manifest under a tag, and tell whether it was taken; until that is acknowledged, the tag may point to either."""
        tag, digest = self._chance.choice(TAGS), str(Digest.of(content))
        allowed = self._told.ledger.tags.setdefault((self._name, tag), {None})
        allowed.add(digest)
        headers = {"Content-Type": media_type_of(content)}
        answer = await self._ask("PUT", tag, set(self.taken), content=content, headers=headers)
        if answer is None or answer.status_code != httpx.codes.CREATED:
            return False
        self._told.ledger.tags[self._name, tag] = {digest}
        self._told.ledger.manifests[self._name, digest] = content
        self._images[digest] = content
        return True

    async def _move(self) -> None:
        """A tag to an image that is there."""
        await self._tag(self._any_image()[1])

    async def _pull(self) -> None:
        """An image by digest or by one of the tags, whole."""
        tag = self._chance.choice((None, *TAGS))
        if tag is None:
            digest, content = self._any_image()
            answer = await self._ask("GET", digest, {200})
            if answer is not None and answer.content != content:
                self._told.wrong.append(f"{self._name}@{digest} has other bytes")
            await self._pull_layers(content)
            return
        answer = await self._ask("GET", tag, {200, 404})
        if answer is None:
            return
        found = answer.headers.get("Docker-Content-Digest") if answer.status_code == httpx.codes.OK else None
        allowed = self._told.ledger.tags.get((self._name, tag), {None})
        if found not in allowed:
            self._told.wrong.append(f"{self._name}:{tag} is {found}, not one of {allowed}")
        if found in self._images:
            await self._pull_layers(self._images[found])

    async def _pull_layers(self, content: bytes) -> None:
        for blob in blobs_of(content):
            await self._uploader.download(self._name, blob)

    async def _look_elsewhere(self) -> None:
        """At a tag of another client, which is moving it: the bytes MUST be those of the digest all the same."""
        name = self._chance.choice(self._repositories)
        answer = await self._uploader.ask("GET", f"/v2/{name}/manifests/{self._chance.choice(TAGS)}", {200, 404})
        if answer is not None and answer.status_code == httpx.codes.OK:
            digest = answer.headers["Docker-Content-Digest"]
            if str(Digest.of(answer.content)) != digest:
                self._told.wrong.append(f"{name}: {digest} has other bytes")

    async def _untag(self) -> None:
        tag = self._chance.choice(TAGS)
        self._told.ledger.tags.setdefault((self._name, tag), {None}).add(None)
        if await self._ask("DELETE", tag, {202, 404}) is not None:
            self._told.ledger.tags[self._name, tag] = {None}

    async def _delete(self) -> None:
        """A manifest, and with it all tags on it."""
        await self._delete_image(self._any_image()[0])

    async def _delete_image(self, digest: str) -> None:
        self._forget(digest)
        pointing = [at for at, allowed in self._told.ledger.tags.items() if at[0] == self._name and digest in allowed]
        for at in pointing:
            self._told.ledger.tags[at].add(None)
        # A second attempt finds nothing left of what the first one did.
        if await self._ask("DELETE", digest, {202, 404}) is not None:
            for at in pointing:
                self._told.ledger.tags[at].discard(digest)

    async def _delete_blob(self) -> None:
        """A blob, and with it the claim to all images that have it."""
        await self._delete_this(self._chance.choice(blobs_of(self._any_image()[1])))

    async def _delete_this(self, blob: str) -> None:
        for digest in [digest for digest, content in self._images.items() if blob in blobs_of(content)]:
            self._forget(digest)
        await self._uploader.ask("DELETE", f"/v2/{self._name}/blobs/{blob}", {202, 404})

    def _forget(self, digest: str) -> None:
        del self._images[digest]
        del self._told.ledger.manifests[self._name, digest]

    def _any_image(self) -> tuple[str, bytes]:
        return self._chance.choice(list(self._images.items()))

    async def _ask(self, method: str, reference: str, expected: set[int], **request: Any) -> httpx.Response | None:
        return await self._uploader.ask(method, f"/v2/{self._name}/manifests/{reference}", expected, **request)


def blobs_of(content: bytes) -> list[str]:
    """The digests of the blobs that a manifest names."""
    return [str(digest) for digest in read(content, None).blobs]
