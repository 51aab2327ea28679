"""Uploads: push blobs. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs."""

from starlette.requests import Request
from starlette.responses import Response

from gateway.errors import registry_error
from gateway.requests import body_of, name_of, registry_of
from storage.errors import DigestInvalid, NameInvalid, OutOfOrder
from storage.references import Digest, RepositoryName
from storage.sessions import Session


class Uploads:
    """/v2/<name>/blobs/uploads/."""

    async def post(self, request: Request) -> Response:
        """Mount a blob, take one whole, or begin a session."""
        registry, name, query = registry_of(request), name_of(request), request.query_params
        mounted = await _mounted(request, name)
        if mounted is not None:
            return _created(name, mounted)
        session = registry.uploads.begin(query.get("digest-algorithm", "sha256"))
        if "digest" not in query:
            return _progress(request, name, session, 202)
        digest = Digest.parse(query["digest"])
        try:
            await registry.uploads.commit(name, session, digest, body_of(request))
        except OutOfOrder as error:
            return _out_of_order(request, name, session, error)
        return _created(name, digest)


class Upload:
    """/v2/<name>/blobs/uploads/<session>."""

    async def get(self, request: Request) -> Response:
        """Say how much is durable."""
        name, session = await _opened(request)
        return _progress(request, name, await registry_of(request).uploads.status(session), 204)

    async def patch(self, request: Request) -> Response:
        """Take the next chunk, or a stream."""
        name, session = await _opened(request)
        uploads, body = registry_of(request).uploads, body_of(request)
        try:
            return _progress(request, name, await uploads.append(session, body) if body else session, 202)
        except OutOfOrder as error:
            return _out_of_order(request, name, await uploads.status(session), error)

    async def put(self, request: Request) -> Response:
        """Take the last chunk, if there is one, and publish the blob."""
        name, session = await _opened(request)
        uploads, digest = registry_of(request).uploads, Digest.parse(request.query_params.get("digest", ""))
        try:
            await uploads.commit(name, session, digest, body_of(request))
        except OutOfOrder as error:
            return _out_of_order(request, name, await uploads.status(session), error)
        return _created(name, digest)

    async def delete(self, request: Request) -> Response:
        """Cancel the session."""
        _, session = await _opened(request)
        await registry_of(request).uploads.cancel(session)
        return Response(status_code=204)


async def _mounted(request: Request, name: RepositoryName) -> Digest | None:
    """The blob that the client asks to mount, if that was possible; if not, it is told to upload, never an error."""
    query = request.query_params
    try:
        digest = Digest.parse(query.get("mount", ""))
        source = RepositoryName.parse(query["from"]) if query.get("from") else None
    except (DigestInvalid, NameInvalid):
        return None
    return digest if await registry_of(request).blobs.mount(name, digest, source) else None


async def _opened(request: Request) -> tuple[RepositoryName, Session]:
    name = name_of(request)
    return name, await registry_of(request).uploads.open(request.path_params["session"], name)


def _created(name: RepositoryName, digest: Digest) -> Response:
    headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    return Response(status_code=201, headers=headers)


def _progress(request: Request, name: RepositoryName, session: Session, status: int) -> Response:
    return Response(status_code=status, headers=_where(request, name, session))


def _out_of_order(request: Request, name: RepositoryName, session: Session, error: OutOfOrder) -> Response:
    response = registry_error(error)
    response.headers.update(_where(request, name, session))
    return response


def _where(request: Request, name: RepositoryName, session: Session) -> dict[str, str]:
    token = registry_of(request).uploads.seal(session, name)
    return {
        "Location": f"/v2/{name}/blobs/uploads/{token}",
        "Range": f"0-{max(session.offset - 1, 0)}",
        "Docker-Upload-UUID": session.upload,
    }
