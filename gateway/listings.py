"""Listings: tags, repositories and referrers, page by page.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#content-discovery
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gateway.requests import digest_of, last_of, name_of, next_link, page_size, registry_of
from storage.documents import OCI_INDEX
from storage.errors import NameUnknown
from storage.references import Digest, RepositoryName, Tag


class TagList:
    """/v2/<name>/tags/list."""

    async def get(self, request: Request) -> Response:
        """The repository's tags after `last`, in byte order, at most `n`."""
        registry, name, size = registry_of(request), name_of(request), page_size(request)
        found = await registry.tags.list(name, last_of(request, Tag.parse), size + 1)
        if not found and not await registry.catalog.exists(name):
            raise NameUnknown(f"no repository {name}")
        tags = found[:size]
        more = next_link(f"/v2/{name}/tags/list", n=size, last=tags[-1]) if tags and len(found) > size else None
        return _json({"name": name, "tags": tags}, headers=more)


class Catalog:
    """/v2/_catalog."""

    async def get(self, request: Request) -> Response:
        """The repositories after `last`, at most `n`."""
        size = page_size(request)
        found = await registry_of(request).catalog.list(last_of(request, RepositoryName.parse), size + 1)
        names = found[:size]
        more = next_link("/v2/_catalog", n=size, last=names[-1]) if names and len(found) > size else None
        return _json({"repositories": names}, headers=more)


class ReferrersList:
    """/v2/<name>/referrers/<digest>."""

    async def get(self, request: Request) -> Response:
        """An index of the manifests that name this one as their subject; empty if there are none."""
        name, subject, query = name_of(request), digest_of(request), request.query_params
        artifact_type = query.get("artifactType")
        last = Digest.parse(query["last"]) if "last" in query else None
        page = await registry_of(request).referrers.list(name, subject, artifact_type, last)
        headers = {"OCI-Filters-Applied": "artifactType"} if artifact_type is not None else {}
        if page.next:
            headers |= next_link(f"/v2/{name}/referrers/{subject}", artifactType=artifact_type, last=page.next)
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.descriptors}
        return _json(index, OCI_INDEX, headers)


def _json(content: Any, media_type: str = "application/json", headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content, enc_hook=str), headers={"Content-Type": media_type, **(headers or {})})
