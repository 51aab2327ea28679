"""One gateway in memory, asked in plain ASGI: no client stands between a test and what it wants to send."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import unquote_to_bytes

import msgspec
import structlog
from starlette.types import Message

from gateway.app import create_app
from storage.objects.memory import MemoryStore
from storage.registry import Registry, Rules, open_registry
from storage.views import Epoch
from tests.protocol.serving import Clock, Nonces

CODES = frozenset(
    [
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    ]
)

Headers = Sequence[tuple[bytes, bytes]]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    code: str
    message: str
    detail: dict[str, str] | None


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    errors: list[_Entry]


@dataclass(frozen=True)
class Answer:
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class FuzzedGateway:
    """A gateway of its own event loop, for tests that are no coroutines. Every answer is held to what any answer MUST be."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.clock = Clock()
        self.store = MemoryStore(self.clock)
        self._rules = rules or Rules(max_manifest_bytes=64 * 1024)
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        nonces = Nonces()

        @asynccontextmanager
        async def opened() -> AsyncIterator[Registry]:
            yield await open_registry(self.store, clock=self.clock, nonce=nonces, epoch=Epoch(), rules=self._rules)

        self._app = create_app(opened, clock=self.clock, redirect=False)

    def __enter__(self) -> Self:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self._runner.run(self._stack.enter_async_context(self._app.router.lifespan_context(self._app)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()
        structlog.reset_defaults()

    def ask(
        self,
        method: str,
        raw_path: bytes,
        query: bytes = b"",
        headers: Headers = (),
        chunks: Sequence[bytes] = (),
        *,
        hang_up: bool = False,
    ) -> Answer:
        """Send a request, `hang_up` before its body ends if wanted, and check the answer's form."""
        answer = self._runner.run(self._ask(method, raw_path, query, headers, chunks, hang_up=hang_up))
        check(method, answer)
        return answer

    async def _ask(
        self, method: str, raw_path: bytes, query: bytes, headers: Headers, chunks: Sequence[bytes], *, hang_up: bool
    ) -> Answer:
        messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        if not hang_up:
            messages.append({"type": "http.request", "body": b"", "more_body": False})
        messages.reverse()
        sent: list[Message] = []

        async def receive() -> Message:
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote_to_bytes(raw_path).decode("utf-8", "replace"),
            "raw_path": raw_path,
            "root_path": "",
            "query_string": query,
            "headers": [(name.lower(), value) for name, value in headers],
            "client": ("127.0.0.1", 1),
            "server": ("registry.test", 80),
        }
        await self._app(scope, receive, send)
        start, *rest = sent
        pairs = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]]
        return Answer(start["status"], dict(pairs), b"".join(message.get("body", b"") for message in rest))


def check(method: str, answer: Answer) -> None:
    """Never a server error; every error a document with a known code; lengths that are true."""
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/json", answer
        document = msgspec.json.decode(answer.body, type=_Document)
        assert document.errors
        assert all(entry.code in CODES and entry.message for entry in document.errors), answer
    if "content-length" in answer.headers and method != "HEAD" and answer.status not in {204, 304}:
        assert int(answer.headers["content-length"]) == len(answer.body), answer
    if answer.status in {204, 304}:
        assert answer.body == b"", answer
