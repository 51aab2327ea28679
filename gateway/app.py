"""The application: routes, errors, and what wraps every request."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from gateway.admission import Admission
from gateway.blobs import Blob
from gateway.exposure import PATH
from gateway.health import Liveness, Readiness
from gateway.listings import Catalog, ReferrersList, TagList
from gateway.manifests import Manifest
from gateway.protocol import REFUSED
from gateway.pulls import recording
from gateway.routing import Route, Routing
from gateway.scraping import Scraping
from gateway.uploads import Upload, Uploads
from gateway.wrapping import Watch, Wrapping
from storage.registry import Registry

OpenRegistry = Callable[[], AbstractAsyncContextManager[Registry]]


def create_app(  # noqa: PLR0913 - all but the registry have names
    open_registry: OpenRegistry,
    *,
    clock: Callable[[], float],
    redirect: bool,
    admission: Admission | None = None,
    record_pulls: bool = False,
    watch: Watch | None = None,
    read_metrics: Callable[[], bytes] = bytes,
) -> Starlette:
    """The gateway over the registry that `open_registry` opens at start-up and closes at the end.

    With `redirect`, large blobs are fetched from the store itself, by presigned URL. Without `admission` every request is let in. With
    `record_pulls`, what is pulled is written down once an hour. `watch` says what is measured and logged, and where `read_metrics` is
    served, which is called in a thread.
    """
    watch = watch or Watch()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with open_registry() as registry:
            app.state.registry = registry
            app.state.redirect = redirect and registry.store.capabilities.presigning
            app.state.pull_log = registry.pull_log if record_pulls else None
            async with recording(app.state.pull_log):
                yield {REFUSED: watch.refused}

    routing = Routing(_routes(Readiness(clock), Scraping(read_metrics)))
    return _Application(Wrapping(routing, admission or Admission(), watch), lifespan)


class _Application(Starlette):
    """Starlette's lifespan and state, with `http` for requests in the place of its own stack."""

    def __init__(self, http: ASGIApp, lifespan: Lifespan[Starlette]) -> None:
        super().__init__(lifespan=lifespan)
        self._http = http

    def build_middleware_stack(self) -> ASGIApp:
        """What every message passes through."""
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._http if scope["type"] == "http" else self.router)(scope, receive, send)


class Version:
    """/v2/."""

    async def get(self, _: Request) -> Response:
        """The registry speaks the distribution protocol."""
        return JSONResponse({})


def _routes(readiness: Readiness, scraping: Scraping) -> list[Route]:
    """Paths are read from the right: components of a name may themselves be `blobs`, `manifests` or `tags`.

    No path fits two of them, so that what is asked for most can come first.
    """
    return [
        Route("/v2/{name:path}/blobs/{digest}", Blob()),
        Route("/v2/{name:path}/manifests/{reference}", Manifest()),
        Route("/v2/{name:path}/blobs/uploads/{session}", Upload()),
        Route("/v2/{name:path}/blobs/uploads/", Uploads()),
        Route("/v2/{name:path}/tags/list", TagList()),
        Route("/v2/{name:path}/referrers/{digest}", ReferrersList()),
        Route("/v2/_catalog", Catalog()),
        Route("/v2/", Version()),
        Route("/v2", Version()),
        Route("/livez", Liveness()),
        Route("/readyz", readiness),
        Route(PATH, scraping),
    ]
