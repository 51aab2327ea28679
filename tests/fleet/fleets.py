"""Several gateways on one bucket, each a process of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from storage.objects.s3 import S3Store
from tests.invariants import violations
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.protocol.serving import Clock


@contextmanager
def fleet(directory: Path, bucket: str, settings: Sequence[Mapping[str, str]]) -> Iterator[list[Gateway]]:
    """A gateway on `bucket` for each of `settings`, started at the same time and ended with the block."""
    gateways = [
        Gateway(directory / f"gateway{number}", f"s3://{bucket}", settings=each) for number, each in enumerate(settings)
    ]
    with ExitStack() as stack:
        for gateway in gateways:
            stack.callback(gateway.kill)
        with ThreadPoolExecutor(len(gateways)) as pool:
            list(pool.map(Gateway.start, gateways))
        yield gateways


class Rota:
    """A client that sends each request to the next gateway."""

    def __init__(self, clients: Sequence[httpx.Client]) -> None:
        self.clients = clients
        self._next = cycle(clients)

    def __call__(self, method: str, path: str, status: int, **request: Any) -> httpx.Response:
        """The answer, which MUST have this status, and a Location that names no host."""
        answer = next(self._next).request(method, path, **request)
        assert answer.status_code == status, (method, path, answer.status_code, answer.text)
        location = answer.headers.get("Location", "/v2/")
        assert location.startswith("/v2/")
        return answer

    def begin(self, repository: str, query: str = "") -> str:
        """Begin an upload; its Location."""
        return self("POST", f"/v2/{repository}/blobs/uploads/{query}", 202).headers["Location"]


@contextmanager
def clients(gateways: Sequence[Gateway]) -> Iterator[list[httpx.Client]]:
    """A client of each gateway."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(httpx.Client(base_url=each.url, trust_env=False, timeout=60, follow_redirects=True))
            for each in gateways
        ]


@asynccontextmanager
async def opened(gateways: Sequence[Gateway]) -> AsyncIterator[list[httpx.AsyncClient]]:
    """A client of each gateway that follows redirects."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=each.url, trust_env=False, timeout=120, follow_redirects=True)
            )
            for each in gateways
        ]


def wrong_in(server: S3Server, bucket: str, *, raced: bool = False) -> list[str]:
    """What does not fit together in a bucket."""

    async def look() -> list[str]:
        store = S3Store(bucket, clock=Clock(), session=server.session, endpoint=server.endpoint)
        try:
            return await violations(store, raced=raced)
        finally:
            await store.close()

    return asyncio.run(look())
