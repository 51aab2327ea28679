"""The application: routes, errors, and what wraps every request."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway.admission import Admission
from gateway.blobs import Blob
from gateway.errors import HANDLERS
from gateway.health import Readiness, livez
from gateway.listings import Catalog, ReferrersList, TagList
from gateway.manifests import Manifest
from gateway.pulls import recording
from gateway.uploads import Upload, Uploads
from gateway.wrapping import Wrapping
from storage.registry import Registry

OpenRegistry = Callable[[], AbstractAsyncContextManager[Registry]]


def create_app(
    open_registry: OpenRegistry,
    *,
    clock: Callable[[], float],
    redirect: bool,
    admission: Admission | None = None,
    record_pulls: bool = False,
) -> Starlette:
    """The gateway over the registry that `open_registry` opens at start-up and closes at the end.

    With `redirect`, large blobs are fetched from the store itself, by presigned URL. Without `admission` every request is let in. With
    `record_pulls`, what is pulled is written down once an hour.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_registry() as registry:
            app.state.registry = registry
            app.state.redirect = redirect and registry.store.capabilities.presigning
            app.state.pull_log = registry.pull_log if record_pulls else None
            async with recording(app.state.pull_log):
                yield

    app = Starlette(
        routes=_routes(Readiness(clock)),
        middleware=[Middleware(Wrapping, clock=clock, admission=admission or Admission())],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


def _routes(readiness: Readiness) -> list[Route]:
    """Paths are read from the right: components of a name may themselves be `blobs`, `manifests` or `tags`."""
    return [
        Route("/livez", livez),
        Route("/readyz", readiness.readyz),
        Route("/v2/", version),
        Route("/v2", version),
        Route("/v2/_catalog", Catalog),
        Route("/v2/{name:path}/tags/list", TagList),
        Route("/v2/{name:path}/referrers/{digest}", ReferrersList),
        Route("/v2/{name:path}/manifests/{reference}", Manifest),
        Route("/v2/{name:path}/blobs/uploads/{session}", Upload),
        Route("/v2/{name:path}/blobs/uploads/", Uploads),
        Route("/v2/{name:path}/blobs/{digest}", Blob),
    ]


async def version(_: Request) -> Response:
    """The registry speaks the distribution protocol."""
    return JSONResponse({})
