"""Manifests for tests."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from storage.documents import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from storage.references import Digest

OCTETS = "application/octet-stream"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"

Json = Mapping[str, Any]


def descriptor(content: bytes, media_type: str = LAYER, **fields: Any) -> dict[str, Any]:
    """What names `content`."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **fields}


def image(config: Json, layers: Iterable[Json] = (), media_type: str = OCI_MANIFEST, **fields: Any) -> bytes:
    """An image manifest; written with an indent, so that bytes that were read and written again show."""
    document = {"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": list(layers), **fields}
    return json.dumps(document, indent=3).encode()


def index(manifests: Iterable[Json], media_type: str = OCI_INDEX, **fields: Any) -> bytes:
    """An index, or Docker's manifest list."""
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(manifests), **fields}
    return json.dumps(document, indent=3).encode()


def media_type_of(content: bytes) -> str:
    """What a manifest says that it is."""
    said: str = json.loads(content)["mediaType"]
    assert said in {OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST}
    return said


def manifest_descriptor(content: bytes, **fields: Any) -> dict[str, Any]:
    """What names a manifest."""
    return descriptor(content, media_type_of(content), **fields)
