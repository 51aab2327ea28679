"""Clients that move, read and delete a few tags at once, and note what they are told."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.fleet.histories import History, Operation, end
from tests.protocol.documents import descriptor, image, media_type_of

REPOSITORY = "movers/app"
CONFIG = b"{}"
Ask = Callable[..., Awaitable[httpx.Response]]
"""The `request` of a client of one gateway."""

_KINDS = ("write", "read", "head", "delete")
_WEIGHTS = (35, 38, 12, 15)


@dataclass
class Movers:
    """`clients` tasks that each make `rounds` operations on `tags`, every one on a gateway drawn by lot.

    A request that is cut off or answered 503 has an unknown outcome; every answer that no client should get is in `wrong`.
    """

    gateways: Sequence[Ask]
    seed: int
    clients: int = 10
    rounds: int = 60
    tags: Sequence[str] = ("latest", "stable", "edge")
    history: History = field(default_factory=History)
    wrong: list[str] = field(default_factory=list)

    async def run(self) -> History:
        """Let all of them go at once, to their end."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.clients):
                group.create_task(self._client(number))
        return self.history

    async def _client(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        pushed: list[bytes] = []
        for round_ in range(self.rounds):
            kind = chance.choices(_KINDS, _WEIGHTS)[0]
            tag, gateway = chance.choice(self.tags), chance.choice(self.gateways)
            if kind == "write":
                # Now and then what was pushed before, which may be what the tag points to already.
                again = pushed and chance.random() < 0.2
                content = chance.choice(pushed) if again else manifest(f"{self.seed} {number} {round_}")
                pushed.append(content)
                await self._write(gateway, number, tag, content)
            elif kind == "delete":
                await self._delete(gateway, number, tag)
            else:
                await self._read(gateway, number, tag, "HEAD" if kind == "head" else "GET")

    async def _write(self, gateway: Ask, number: int, tag: str, content: bytes) -> None:
        digest = descriptor(content)["digest"]
        operation = self.history.begin(number, tag, "write", digest)
        headers = {"Content-Type": media_type_of(content)}
        answer = await self._ask(gateway, "PUT", tag, content=content, headers=headers)
        self._note(operation, answer, {201})

    async def _read(self, gateway: Ask, number: int, tag: str, method: str) -> None:
        operation = self.history.begin(number, tag, "read")
        answer = await self._ask(gateway, method, tag)
        if answer is not None and answer.status_code == httpx.codes.OK:
            operation.value = answer.headers["Docker-Content-Digest"]
            if method == "GET" and descriptor(answer.content)["digest"] != operation.value:
                self.wrong.append(f"GET {tag} sends other bytes than those of {operation.value}")
        self._note(operation, answer, {200, 404})

    async def _delete(self, gateway: Ask, number: int, tag: str) -> None:
        operation = self.history.begin(number, tag, "delete")
        answer = await self._ask(gateway, "DELETE", tag)
        operation.found = answer is not None and answer.status_code == httpx.codes.ACCEPTED
        self._note(operation, answer, {202, 404})

    async def _ask(self, gateway: Ask, method: str, tag: str, **request: Any) -> httpx.Response | None:
        try:
            return await gateway(method, f"/v2/{REPOSITORY}/manifests/{tag}", **request)
        except httpx.TransportError:
            return None

    def _note(self, operation: Operation, answer: httpx.Response | None, expected: set[int]) -> None:
        """The outcome, unless the answer leaves it open."""
        if answer is None or answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return
        if answer.status_code in expected:
            end(operation)
        else:
            self.wrong.append(f"{operation.kind} {operation.tag} answers {answer.status_code}: {answer.text}")


def manifest(seed: str) -> bytes:
    """A manifest whose digest depends on `seed`."""
    return image(descriptor(CONFIG), annotations={"seed": seed})
