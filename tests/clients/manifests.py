"""Reads a manifest as the registry serves it, past any client."""

import httpx

from tests.clients.images import MANIFEST
from tests.parts.gateway import Gateway

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def fetch_manifest(registry: Gateway, repository: str, reference: str) -> bytes:
    """The exact bytes of the manifest that a tag or digest names."""
    url = f"{registry.url}/v2/{repository}/manifests/{reference}"
    answer = httpx.get(url, headers={"Accept": f"{MANIFEST}, {DOCKER_MANIFEST}"}, trust_env=False)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.content
