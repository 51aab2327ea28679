"""Manifests: pull, push and delete. https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.conditions import unchanged
from gateway.pulls import note_pull
from gateway.requests import content_length, existing_reference_of, name_of, reference_of, registry_of
from storage.documents import Document, read
from storage.errors import DigestInvalid, TooLarge
from storage.manifests import Manifest as StoredManifest
from storage.references import Digest, RepositoryName, Tag

MAX_TAGS = 64  # each has a header in the answer, and clients such as Python's http.client take 100 headers at most
_INLINE = 32 * 1024  # bytes; a larger manifest is parsed in a thread


class Manifest:
    """/v2/<name>/manifests/<reference>."""

    async def head(self, request: Request) -> Response:
        """Say what `get` would."""
        digest, manifest = await _find(request, name_of(request))
        headers = _headers(digest, manifest)
        return unchanged(request, headers) or Response(headers=headers)

    async def get(self, request: Request) -> Response:
        """Send the exact bytes as they were pushed, whatever the client accepts."""
        name = name_of(request)
        digest, manifest = await _find(request, name)
        note_pull(request, name, digest)
        headers = _headers(digest, manifest)
        if same := unchanged(request, headers):
            return same
        return Response(manifest.content, headers=headers)

    async def put(self, request: Request) -> Response:
        """Store the manifest, and move the tags of path and query to it."""
        registry, name, reference = registry_of(request), name_of(request), reference_of(request)
        tags = _tags(request, reference)
        content = await _body(request, registry.rules.max_manifest_bytes)
        content_type = request.headers.get("content-type")
        if len(content) > _INLINE:
            digest, document = await asyncio.to_thread(_examined, content, content_type, reference)
        else:
            digest, document = _examined(content, content_type, reference)
        await registry.manifests.put(name, digest, document, tags)
        response = Response(status_code=201, headers={"Location": f"/v2/{name}/manifests/{digest}"})
        response.headers["Docker-Content-Digest"] = str(digest)
        if document.subject:
            response.headers["OCI-Subject"] = str(document.subject)
        if isinstance(reference, Digest):
            for tag in tags:
                response.headers.append("OCI-Tag", tag)
        return response

    async def delete(self, request: Request) -> Response:
        """Remove a tag, or a manifest with all tags on it."""
        registry, name, reference = registry_of(request), name_of(request), existing_reference_of(request)
        if isinstance(reference, Digest):
            await registry.manifests.delete(name, reference)
        else:
            await registry.tags.remove(name, reference)
        return Response(status_code=202)


async def _find(request: Request, name: RepositoryName) -> tuple[Digest, StoredManifest]:
    manifests, reference = registry_of(request).manifests, existing_reference_of(request)
    if isinstance(reference, Digest):
        return reference, await manifests.get(name, reference)
    return await manifests.resolve(name, reference)


def _headers(digest: Digest, manifest: StoredManifest) -> dict[str, str]:
    return {
        "Content-Type": manifest.header.media_type,
        "Content-Length": str(manifest.header.size),
        "Docker-Content-Digest": str(digest),
        "ETag": f'"{digest}"',
    }


def _tags(request: Request, reference: Digest | Tag) -> list[Tag]:
    """The tags to move: the one in the path, or those in the query beside a digest."""
    if isinstance(reference, Tag):
        return [reference]
    tags = list(dict.fromkeys(Tag.parse(tag) for tag in request.query_params.getlist("tag")))
    if len(tags) > MAX_TAGS:
        raise HTTPException(414, f"at most {MAX_TAGS} tags at once")
    return tags


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    if (content_length(request) or 0) <= limit:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                break
        else:
            return bytes(body)
    raise TooLarge(f"a manifest has at most {limit} bytes here")


def _examined(content: bytes, content_type: str | None, reference: Digest | Tag) -> tuple[Digest, Document]:
    """The manifest's digest, by the algorithm of the reference if that is one, and what it says."""
    digest = Digest.of(content, reference.algorithm) if isinstance(reference, Digest) else Digest.of(content)
    if isinstance(reference, Digest) and digest != reference:
        raise DigestInvalid(f"the manifest's digest is {digest}, not {reference}")
    return digest, read(content, content_type)
