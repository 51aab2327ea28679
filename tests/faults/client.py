"""A client that asks for one thing after the other, notes what it is told, and tries again once the store is well."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from storage.documents import read
from storage.errors import MoorageError
from storage.references import Digest
from tests.invariants import Ledger
from tests.protocol.serving import BASE, Api, chunks_of, codes, refused

ANSWER_WITHIN = 30.0
Check = Callable[[httpx.Response], bool]


def right(_: httpx.Response) -> bool:
    """An answer whose status says it all."""
    return True


@dataclass
class Client:
    """Holds every answer to what it may be while the store fails.

    That is the status that is wanted, and what `check` demands of it, or 503 with Retry-After and an OCI error document. Bytes that the
    store did not deliver right may also be a cut connection. If the store lies (`misled`), 400 and 404 are not the gateway's lies; if
    all that it holds looks damaged (`damaged`), 500 says so, or 400 if it is content that nobody has vouched for yet. What
    was refused is asked for again through the gateway that `recover` gives, and then MUST be granted.
    """

    api: Api
    recover: Callable[[], Awaitable[Api]]
    ledger: Ledger = field(default_factory=Ledger)
    misled: bool = False
    damaged: bool = False
    refusals: int = 0
    again: bool = False

    async def begin(self, name: str, query: str = "") -> str:
        """Begin an upload; its Location."""
        answer = await self.ask("POST", f"/v2/{name}/blobs/uploads/{query}", 202)
        return str(answer.headers["Location"])

    async def chunk(self, location: str, content: bytes, start: int | None = None, *, stream: bool = False) -> str:
        """Send a chunk; the next Location."""
        headers = {} if start is None else {"Content-Range": f"{start}-{start + len(content) - 1}"}
        answer = await self.ask("PATCH", location, 202, content=content, stream=stream, headers=headers)
        return str(answer.headers["Location"])

    async def finish(
        self, name: str, location: str, whole: bytes, last: bytes = b"", algorithm: str = "sha256"
    ) -> None:
        """Close an upload of `whole`, by its `last` bytes maybe."""
        digest = str(Digest.of(whole, algorithm))
        await self.ask("PUT", location, 201, content=last, params={"digest": digest}, check=named(digest))
        self.ledger.blobs.add((name, digest))

    async def post(self, name: str, content: bytes) -> None:
        """Push a blob by one POST."""
        digest = str(Digest.of(content))
        path = f"/v2/{name}/blobs/uploads/?digest={digest}"
        await self.ask("POST", path, 201, content=content, check=named(digest))
        self.ledger.blobs.add((name, digest))

    async def blob(self, name: str, content: bytes) -> None:
        """Push a blob by POST and PUT."""
        await self.finish(name, await self.begin(name), content, content)

    async def mount(self, name: str, content: bytes, source: str | None) -> None:
        """Mount a blob, or be told to upload it if the source may not have it."""
        digest = str(Digest.of(content))
        given = f"?mount={digest}" + (f"&from={source}" if source else "")
        # Of all repositories a damaged link is passed over.
        known = (source, digest) in self.ledger.blobs or (
            source is None and not self.damaged and digest in {each for _, each in self.ledger.blobs}
        )
        wanted = (201,) if known else (201, 202)
        answer = await self.ask("POST", f"/v2/{name}/blobs/uploads/{given}", *wanted)
        if answer.status_code == 201:
            self.ledger.blobs.add((name, digest))

    async def manifest(self, name: str, content: bytes, *tags: str, by_digest: bool = False) -> None:
        """Push a manifest by its digest with tags in the query, or by its one tag; refused only if what it names may be missing."""
        digest, ledger = str(Digest.of(content)), self.ledger
        reference = digest if by_digest or not tags else tags[0]
        query = "?" + "&".join(f"tag={tag}" for tag in tags) if by_digest and tags else ""
        for tag in tags:
            ledger.tags.setdefault((name, tag), {None}).add(digest)
        document = read(content, None)
        known = all((name, str(each)) in ledger.blobs for each in document.blobs) and all(
            (name, str(each)) in ledger.manifests for each in document.manifests
        )
        answer = await self.ask(
            "PUT",
            f"/v2/{name}/manifests/{reference}{query}",
            *((201,) if known else (201, 400)),
            content=content,
            headers={"Content-Type": document.media_type},
            check=named(digest),
        )
        if answer.status_code == 201:
            ledger.manifests[name, digest] = content
            ledger.tags |= {(name, tag): {digest} for tag in tags}

    async def delete_blob(self, name: str, content: bytes) -> None:
        """Delete a blob; what names it may be pulled no more."""
        digest, ledger = str(Digest.of(content)), self.ledger
        wanted = (202,) if (name, digest) in ledger.blobs else (202, 404)
        ledger.blobs.discard((name, digest))
        for key, manifest in list(ledger.manifests.items()):
            if key[0] == name and digest in map(str, read(manifest, None).blobs):
                del ledger.manifests[key]
        await self.ask("DELETE", f"/v2/{name}/blobs/{digest}", *wanted, or_gone=True)

    async def delete_manifest(self, name: str, content: bytes) -> None:
        """Delete a manifest, and with it all tags on it."""
        digest, ledger = str(Digest.of(content)), self.ledger
        wanted = (202,) if (name, digest) in ledger.manifests else (202, 404)
        ledger.manifests.pop((name, digest), None)
        pointing = [allowed for key, allowed in ledger.tags.items() if key[0] == name and digest in allowed]
        for allowed in pointing:
            allowed.add(None)
        await self.ask("DELETE", f"/v2/{name}/manifests/{digest}", *wanted, or_gone=True)
        for allowed in pointing:
            allowed.discard(digest)

    async def delete_tag(self, name: str, tag: str) -> None:
        """Delete a tag."""
        allowed = self.ledger.tags.setdefault((name, tag), {None})
        wanted = (202, 404) if None in allowed else (202,)
        allowed.add(None)
        await self.ask("DELETE", f"/v2/{name}/manifests/{tag}", *wanted, or_gone=True)
        self.ledger.tags[name, tag] = {None}

    async def pull_tag(self, name: str, tag: str) -> None:
        """GET a tag: it is where it may be, and stays there."""
        allowed = self.ledger.tags.setdefault((name, tag), {None})
        answer = await self.ask("GET", f"/v2/{name}/manifests/{tag}", 200, 404)
        seen = answer.headers.get("Docker-Content-Digest") if answer.status_code == 200 else None
        assert seen in allowed, f"I2: {name}:{tag} is {seen}, not one of {allowed}"
        assert seen is None or str(Digest.of(answer.content)) == seen, f"I4: {name}:{tag} has other bytes than {seen}"
        self.ledger.tags[name, tag] = {seen}

    async def pull(self, name: str, kind: str, content: bytes) -> None:
        """GET a blob or manifest by digest: it is there unless it may have been deleted."""
        digest = str(Digest.of(content))
        known = (name, digest) in self.ledger.blobs or (name, digest) in self.ledger.manifests
        wanted = (200,) if known else (200, 404)
        await self.ask("GET", f"/v2/{name}/{kind}/{digest}", *wanted, check=serves(content))

    async def ask(
        self,
        method: str,
        path: str,
        *wanted: int,
        check: Check = right,
        or_gone: bool = False,
        stream: bool = False,
        content: bytes = b"",
        **request: Any,
    ) -> httpx.Response:
        """The answer; a retry of what may have been applied may also find it gone, if `or_gone`."""

        def is_right(answer: httpx.Response | None) -> bool:
            if answer is None or not _is_whole(method, answer):
                return False
            if answer.status_code >= 400:
                return answer.status_code in wanted or (self.again and or_gone and answer.status_code == 404)
            return answer.status_code in wanted and check(answer)

        async def send() -> httpx.Response | None:
            body = (chunks_of(content) if stream else content) if content else None
            return await _answer(self.api.http(method, path, content=body, **request))

        answer = await send()
        if not is_right(answer):
            self._judge(answer, method, path)
            self.refusals, self.again = self.refusals + 1, True
            self.api = await self.recover()
            answer = await send()
        assert is_right(answer), f"{method} {path}: {answer} {answer and answer.text}, not {wanted}"
        assert answer is not None
        return answer

    def _judge(self, answer: httpx.Response | None, method: str, path: str) -> None:
        """Assert that a refusal is one that a client can live with."""
        if answer is None or not _is_whole(method, answer):
            assert method == "GET", f"{method} {path} was cut"
            assert "/blobs/" in path, f"{method} {path} was cut"
            return
        if answer.status_code == 503:
            if method != "HEAD":
                refused(answer, 503, "UNAVAILABLE")
            assert int(answer.headers["Retry-After"]) > 0
            return
        if self.damaged and answer.status_code in {400, 500}:
            assert method == "HEAD" or codes(answer)[0] in {"UNKNOWN", "DIGEST_INVALID"}, answer.text
            return
        assert self.misled, f"{method} {path}: {answer.status_code} {answer.text}"
        assert answer.status_code in {200, 400, 404}, f"{method} {path}: {answer.status_code} {answer.text}"
        if answer.status_code == 200 and "Docker-Content-Digest" in answer.headers and method == "GET":
            assert str(Digest.of(answer.content)) == answer.headers["Docker-Content-Digest"], f"{path}: wrong bytes"


def known_before(before: Ledger, after: Ledger) -> Ledger:
    """What is still certain of `after` if all that was acknowledged since `before` may rest on a lie of the store."""
    tags = {key: allowed | after.tags.get(key, set()) for key, allowed in before.tags.items()}
    manifests = {key: content for key, content in before.manifests.items() if key in after.manifests}
    return Ledger(manifests, before.blobs & after.blobs, tags)


def named(digest: str) -> Check:
    """An answer that names the content."""
    return lambda answer: answer.headers["Docker-Content-Digest"] == digest


def serves(content: bytes, algorithm: str = "sha256") -> Check:
    """An answer with exactly this content, and its digest."""
    digest = str(Digest.of(content, algorithm))
    return lambda answer: answer.content == content and answer.headers["Docker-Content-Digest"] == digest


def lists(field_name: str, names: Sequence[str]) -> Check:
    """A listing of exactly these."""
    return lambda answer: answer.json()[field_name] == list(names)


def refers(*contents: bytes) -> Check:
    """A list of referrers of exactly these manifests."""
    digests = sorted(str(Digest.of(content)) for content in contents)
    return lambda answer: [entry["digest"] for entry in answer.json()["manifests"]] == digests


@asynccontextmanager
async def puller(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client of the same gateway."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api.app), base_url=BASE) as http:
        yield http


def _is_whole(method: str, answer: httpx.Response) -> bool:
    """Whether the body is as long as its Content-Length says: a server cuts the connection if not."""
    said = answer.headers.get("Content-Length")
    return method == "HEAD" or said is None or int(said) == len(answer.content)


async def _answer(request: Coroutine[Any, Any, httpx.Response]) -> httpx.Response | None:
    """The answer, in time, or None if it broke off after it had begun, which a server shows by cutting the connection."""
    try:
        return await asyncio.wait_for(request, ANSWER_WITHIN)
    except (ExceptionGroup, MoorageError):
        return None
