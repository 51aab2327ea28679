"""How a large layer reaches the client."""

import httpx

from tests.clients.commands import Commands
from tests.clients.images import Image, digest_of
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.parts.tools import tool


def test_the_bucket_serves_large_layers(
    registry: Gateway, image: Image, commands: Commands, minio_server: S3Server
) -> None:
    """A large layer is served by the bucket, which the gateway redirects to, or by the gateway where there is no bucket."""
    commands.run(tool("crane"), "push", "--insecure", image.directory, f"{registry.host}/team/delivery:1")
    digest = max(image.blobs, key=lambda digest: len(image.blobs[digest]))
    url = f"{registry.url}/v2/team/delivery/blobs/{digest}"
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        answer = client.get(url)
    assert digest_of(answer.content) == digest
    served_by = minio_server.endpoint if registry.store.startswith("s3:") else registry.url
    assert str(answer.url).startswith(served_by)
    assert [step.headers["Docker-Content-Digest"] for step in answer.history] == [digest] * registry.store.startswith(
        "s3:"
    )
