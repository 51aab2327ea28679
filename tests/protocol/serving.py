"""A gateway in this process, with a clock and nonces that repeat, and what a client does with it."""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from starlette.types import ASGIApp

from gateway.app import create_app
from storage.objects.contract import ObjectStore
from storage.references import Digest
from storage.registry import Registry, Rules, open_registry
from storage.views import Epoch
from tests.protocol.documents import descriptor, image, media_type_of

BASE = "http://registry.test"
START = 1_700_000_000.0

Open = Callable[..., AbstractAsyncContextManager["Api"]]


class Clock:
    """Seconds since 1970, that pass when a test says so."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        """The time now."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class Nonces:
    """16 hex digits that look random, differ each time, and are the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        """The next one."""
        self._count += 1
        return hashlib.sha256(b"nonce %d" % self._count).hexdigest()[:16]


@dataclass
class World:
    """What all gateways of a test share: store, clock and nonces."""

    store: ObjectStore
    clock: Clock = field(default_factory=Clock)
    nonces: Nonces = field(default_factory=Nonces)

    @asynccontextmanager
    async def gateway(
        self,
        *,
        epoch: Epoch | None = None,
        rules: Rules | None = None,
        redirect: bool = False,
        record_pulls: bool = False,
    ) -> AsyncIterator["Api"]:
        """A gateway that remembers nothing yet, and a client of it."""

        @asynccontextmanager
        async def opened() -> AsyncIterator[Registry]:
            yield await open_registry(
                self.store, clock=self.clock, nonce=self.nonces, epoch=epoch or Epoch(), rules=rules or Rules()
            )

        app = create_app(opened, clock=self.clock, redirect=redirect, record_pulls=record_pulls)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as http:
                yield Api(http, app)


@dataclass(frozen=True)
class Pushed:
    """A manifest that was pushed."""

    digest: str
    content: bytes
    media_type: str


class Api:
    """A client that knows the usual sequences of requests; each asserts that it went well."""

    def __init__(self, http: httpx.AsyncClient, app: ASGIApp) -> None:
        self.app, self.client, self.http = app, http, http.request
        self.get, self.head, self.post = http.get, http.head, http.post
        self.put, self.patch, self.delete = http.put, http.patch, http.delete

    async def begin(self, name: str, query: str = "") -> str:
        """Begin an upload; its Location."""
        answer = await self.post(f"/v2/{name}/blobs/uploads/{query}")
        assert answer.status_code == 202, answer.text
        return answer.headers["Location"]

    async def blob(self, name: str, content: bytes, algorithm: str = "sha256") -> str:
        """Push a blob by POST and PUT; its digest."""
        digest = str(Digest.of(content, algorithm))
        await self.finish(await self.begin(name), digest, content)
        return digest

    async def finish(self, location: str, digest: str, content: bytes | None = None) -> httpx.Response:
        """Close an upload."""
        answer = await self.put(location, params={"digest": digest}, content=content)
        assert answer.status_code == 201, answer.text
        return answer

    async def manifest(
        self, name: str, reference: str | None, content: bytes, media_type: str | None = None, query: str = ""
    ) -> Pushed:
        """Push a manifest under a tag, or under its digest if that is None."""
        digest = str(Digest.of(content))
        kind = media_type or media_type_of(content)
        answer = await self.put(
            f"/v2/{name}/manifests/{reference or digest}{query}", content=content, headers={"Content-Type": kind}
        )
        assert answer.status_code == 201, answer.text
        return Pushed(answer.headers["Docker-Content-Digest"], content, kind)

    async def image(self, name: str, tag: str | None, seed: str = "", layers: int = 1, **fields: Any) -> Pushed:
        """Push an image whose content depends on `seed`, its blobs first."""
        config, *rest = (f"{seed} {number}".encode() for number in range(layers + 1))
        for content in (config, *rest):
            await self.blob(name, content)
        return await self.manifest(name, tag, image(descriptor(config), map(descriptor, rest), **fields))

    async def artifact(self, name: str, subject: Mapping[str, Any], kind: str, seed: str = "", **fields: Any) -> Pushed:
        """Push an artifact of a kind that refers to `subject`."""
        await self.blob(name, b"{}")
        annotations = {"seed": seed, **fields.pop("annotations", {})}
        empty = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
        content = image(empty, [empty], subject=subject, artifactType=kind, annotations=annotations, **fields)
        return await self.manifest(name, None, content)

    async def pages(self, path: str) -> AsyncGenerator[httpx.Response]:
        """A listing, page by page, as its Links lead."""
        following: str | None = path
        while following is not None:
            answer = await self.get(following)
            assert answer.status_code == 200, answer.text
            yield answer
            following = answer.links["next"]["url"] if "next" in answer.links else None

    async def tags(self, name: str) -> list[str]:
        """All tags of a repository."""
        answer = await self.get(f"/v2/{name}/tags/list")
        assert answer.status_code == 200, answer.text
        found: list[str] = answer.json()["tags"]
        return found

    async def referrers(self, name: str, subject: str, query: str = "") -> list[dict[str, Any]]:
        """The descriptors of one page of referrers."""
        answer = await self.get(f"/v2/{name}/referrers/{subject}{query}")
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["manifests"]
        return found


def codes(answer: httpx.Response) -> list[str]:
    """The codes of an error document, which MUST be one."""
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert set(document) == {"errors"}
    for entry in document["errors"]:
        assert set(entry) == {"code", "message", "detail"}
        assert isinstance(entry["message"], str)
        assert entry["message"]
    found = [entry["code"] for entry in document["errors"]]
    assert found
    return found


def refused(answer: httpx.Response, status: int, code: str) -> None:
    """Assert that a request was refused with this status, and an error document of this one code."""
    assert (answer.status_code, set(codes(answer))) == (status, {code}), answer.text


def chunks_of(content: bytes, size: int = 1000) -> AsyncGenerator[bytes]:
    """A body without a Content-Length."""

    async def generate() -> AsyncGenerator[bytes]:
        for at in range(0, len(content), size):
            yield content[at : at + size]

    return generate()
