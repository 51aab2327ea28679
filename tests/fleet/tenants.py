"""Clients of a registry that is collected all the time, with a grace period of seconds: they leave as much garbage as they can.

They also do what clients do that trust a registry: they ask whether a blob exists and do not push it then, mount blobs from others that
are deleting them, and push a manifest again long after it was deleted, with whatever is left of its blobs.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import ClassVar

import httpx

from storage.periods import Periods
from storage.references import Digest
from tests.fleet.soak import Client, Told, blobs_of
from tests.protocol.documents import descriptor, image, index, manifest_descriptor, media_type_of

_POOL = 24
_LARGE = 9 * 1024 * 1024  # more than one part
_ATTEMPTS = 6
_PAUSE = 0.03  # seconds between two acts, so that servers and collectors have a share of the machine
_BURIED_AT = 1.1  # grace periods after its last manifest was deleted, a link may be
_GATEWAYS = 3
_RESOLUTION = 2.0  # seconds by which the store's times and ours may seem to differ


class Tenant(Client):
    """One client of a registry with these periods."""

    actions: ClassVar[Mapping[str, int]] = {
        "push": 24,
        "push again": 16,
        "push artifact": 8,
        "push blobs alone": 3,
        "pull": 12,
        "look elsewhere": 6,
        "move": 8,
        "untag": 4,
        "delete": 14,
        "delete blob": 5,
        "hand over": 16,
        "abandon upload": 4,
        "cancel upload": 6,
    }
    most_images: ClassVar[int] = 5
    taken: ClassVar[frozenset[int]] = frozenset({201, 400})
    lapsing: ClassVar[bool] = True

    def __init__(
        self, gateways: Sequence[httpx.AsyncClient], told: Told, number: int, count: int, *, periods: Periods
    ) -> None:
        super().__init__(gateways, told, number, count)
        self._periods = periods
        self._ripe_at = max(periods.grace, periods.upload_expiry + periods.skew + periods.last_words) + _RESOLUTION
        self._contents: dict[str, bytes] = {}
        self._deleted: list[tuple[float, bytes]] = []
        self._estate: list[tuple[float, bytes]] = []

    def _acts(self) -> dict[str, Callable[[], Awaitable[object]]]:
        acts = super()._acts() | {
            "push again": self._push_again,
            "push artifact": self._push_artifact,
            "push blobs alone": self._push_blobs_alone,
            "hand over": self._hand_over,
            "abandon upload": self._abandon,
            "cancel upload": self._cancel,
        }
        return {name: self._unhurried(act) for name, act in acts.items()}

    def _unhurried(self, act: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
        async def paused() -> None:
            await act()
            await asyncio.sleep(_PAUSE)

        return paused

    async def _push(self) -> None:
        contents = self._new_contents()
        config, *layers = map(descriptor, contents)
        await self._push_whole(image(config, layers))

    async def _delete_image(self, digest: str) -> None:
        """It MUST have been there whole until now."""
        await self._pull_whole(self._name, self._images[digest])
        await super()._delete_image(digest)

    async def _delete_this(self, blob: str) -> None:
        """All images that have the blob MUST have been there whole until now."""
        for digest in [digest for digest, content in self._images.items() if blob in blobs_of(content)]:
            await self._pull_whole(self._name, self._images[digest])
        await super()._delete_this(blob)

    async def _push_again(self) -> None:
        """A manifest that was deleted, as if its blobs were all there, at an age when collectors bury links if it can be."""
        if self._deleted:
            is_old = time.monotonic() - self._deleted[0][0] > _BURIED_AT * self._periods.grace
            _, content = self._deleted.pop(0 if is_old else -1)
            if not await self._tag(content):
                await self._push_whole(content)

    async def _push_artifact(self) -> None:
        """A manifest that refers to an image, or an index that names a blob, as build caches do."""
        (content,) = self._new_contents()[:1]
        subject = manifest_descriptor(self._any_image()[1])
        if self._chance.random() < 0.5:
            await self._push_whole(image(descriptor(content), subject=subject))
        else:
            await self._push_whole(index([descriptor(content)], subject=subject))

    async def _push_blobs_alone(self) -> None:
        """Blobs that no manifest will name; each MUST be there for a grace period once it was acknowledged."""
        began, contents = time.monotonic(), self._new_contents()
        pushed = [each for each in contents if await self._uploader.upload(self._name, each, self._any_repository())]
        await asyncio.sleep(self._chance.random() * self._periods.grace / 4)
        for content in pushed:
            path = f"/v2/{self._name}/blobs/{Digest.of(content)}"
            answer = await self._uploader.ask("GET", path, {200, 404})
            is_soon = time.monotonic() - began < self._periods.grace - _RESOLUTION
            if is_soon and answer is not None and answer.status_code == httpx.codes.NOT_FOUND:
                self._told.wrong.append(f"{path} is gone {time.monotonic() - began:.1f} s after its push began")

    async def _hand_over(self) -> None:
        """Delete a blob whose bytes may go at once, and while some gateways may not know, mount it in another repository.

        Nobody writes to either of the two repositories but this client, which has another blob ready there each time.
        """
        await self._bequeath()
        if not self._estate or time.monotonic() - self._estate[0][0] < self._ripe_at:
            return
        estate, heir, (_, content) = f"{self._name}/estate", f"{self._name}/heir", self._estate.pop(0)
        blob, whole = str(Digest.of(content)), image(descriptor(content))
        await self._pull_whole(estate, whole)
        del self._told.ledger.manifests[estate, str(Digest.of(whole))]
        for _ in range(_GATEWAYS):
            await self._uploader.ask("HEAD", f"/v2/{estate}/blobs/{blob}", {200})
        await self._uploader.ask("DELETE", f"/v2/{estate}/blobs/{blob}", {202, 404})
        await asyncio.sleep(self._chance.random() * self._periods.view_age)
        mount = {"mount": blob, "from": estate}
        answer = await self._uploader.ask("POST", f"/v2/{heir}/blobs/uploads/", {201, 202}, params=mount)
        if answer is not None and answer.status_code == httpx.codes.CREATED and await self._push_by_digest(heir, whole):
            self._told.counts["handed over"] += 1
        await self._uploader.ask("DELETE", f"/v2/{estate}/manifests/{Digest.of(whole)}", {202, 404})

    async def _bequeath(self) -> None:
        """A blob that nobody else has, and a manifest that keeps it."""
        name, content = f"{self._name}/estate", self._new_contents()[0]
        if await self._uploader.upload(name, content, name) and await self._push_by_digest(
            name, image(descriptor(content))
        ):
            self._estate.append((time.monotonic(), content))

    async def _push_by_digest(self, name: str, content: bytes) -> bool:
        """A manifest without a tag; whether it was taken."""
        digest, headers = str(Digest.of(content)), {"Content-Type": media_type_of(content)}
        path = f"/v2/{name}/manifests/{digest}"
        answer = await self._uploader.ask("PUT", path, set(self.taken), content=content, headers=headers)
        if answer is None or answer.status_code != httpx.codes.CREATED:
            return False
        self._told.ledger.manifests[name, digest] = content
        return True

    async def _pull_whole(self, name: str, content: bytes) -> None:
        digest = str(Digest.of(content))
        answer = await self._uploader.ask("GET", f"/v2/{name}/manifests/{digest}", {200})
        if answer is not None and answer.content != content:
            self._told.wrong.append(f"{name}@{digest} has other bytes")
        for blob in blobs_of(content):
            await self._uploader.download(name, blob)

    async def _abandon(self) -> None:
        """An upload of which nobody hears again."""
        await self._begin_upload(self._new_contents()[0])

    async def _cancel(self) -> None:
        """An upload that is cancelled while another request, which may have been faster, closes it."""
        content = self._new_contents()[0]
        location = await self._begin_upload(content)
        if location is None:
            return
        digest = str(Digest.of(content))
        closing = self._uploader.ask("PUT", location, {201}, params={"digest": digest})
        closed, _ = await asyncio.gather(closing, self._uploader.ask("DELETE", location, {204}))
        if closed is not None:
            await self._uploader.download(self._name, digest)

    async def _begin_upload(self, content: bytes) -> str | None:
        """Begin an upload and send all its bytes; its Location."""
        begun = await self._uploader.ask("POST", f"/v2/{self._name}/blobs/uploads/", {202})
        if begun is None:
            return None
        sent = await self._uploader.ask("PATCH", begun.headers["Location"], {202}, content=content)
        return sent.headers["Location"] if sent is not None else None

    async def _push_whole(self, content: bytes) -> None:
        """A manifest and its blobs; as clients do, all again if the registry says that it lacks some."""
        trusting = self._chance.random() < 0.6
        for number in range(_ATTEMPTS):
            if await self._push_blobs(content, trusting=trusting and number == 0) and await self._tag(content):
                return
            self._told.counts["pushed all again"] += 1
        self._told.counts["image given up"] += 1

    async def _push_blobs(self, content: bytes, *, trusting: bool) -> bool:
        """The blobs of a manifest; a trusting client pushes none of which the registry says that it exists."""
        for digest in blobs_of(content):
            if trusting and await self._exists(digest):
                continue
            if not await self._uploader.upload(self._name, self._contents[digest], self._any_repository()):
                return False
        return True

    async def _exists(self, digest: str) -> bool:
        answer = await self._uploader.ask("HEAD", f"/v2/{self._name}/blobs/{digest}", {200, 404})
        return answer is not None and answer.status_code == httpx.codes.OK

    def _any_repository(self) -> str:
        return self._chance.choice(self._repositories)

    def _new_contents(self) -> list[bytes]:
        """Something that nobody else has, and some layers that others have too."""
        self._pushed += 1
        own = f"{self._name} {self._pushed}".encode() * 100
        shared = [_layer(self._chance.randrange(_POOL)) for _ in range(self._chance.randint(1, 2))]
        self._contents |= {str(Digest.of(each)): each for each in (own, *shared)}
        return [own, *shared]

    def _forget(self, digest: str) -> None:
        self._deleted.append((time.monotonic(), self._images[digest]))
        super()._forget(digest)


@cache
def _layer(seed: int) -> bytes:
    return random.Random(seed).randbytes(_LARGE if seed == 0 else 2_000 + 3_000 * seed)
