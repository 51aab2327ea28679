"""Endpoint, region, credentials and trusted issuers out of boto3's own chain, for boto3 and obstore alike.

The chain: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and its like, AWS_CA_BUNDLE,
profiles, and the roles of instances and containers, whose credentials boto3 refreshes.
"""

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.loaders import Loader, create_loader
from obstore.store import S3Store as ObstoreS3

from storage.errors import Denied, Invalid

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential
    from types_boto3_s3.client import S3Client

THREADS = 16
UNREAD = "Unread"
"""Where `client` leaves what it is answered to ListObjectsV2, as it came."""
_CONNECT_WITHIN = 5
_PATIENCE = 60  # seconds, for a server that copies a gibibyte or joins thousands of parts
# boto3 renews credentials that end within 10 minutes, so what it hands out holds for at least that long.
_CREDENTIALS_HOLD = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket, and where it is looked for."""

    bucket: str
    endpoint: str
    region: str


@dataclass(frozen=True)
class Connection:
    """A bucket as all clients see it.

    `patient` differs from `client` in how long it waits for an answer, `unsigned` from `patient` in that it signs no bodies, `public`
    from `objects` in the host that its presigned URLs name.
    """

    client: "S3Client"
    patient: "S3Client"
    unsigned: "S3Client"
    objects: ObstoreS3
    public: ObstoreS3


def connect(  # noqa: PLR0913 - what is not the bucket has a name
    bucket: str,
    clock: Callable[[], float],
    *,
    session: boto3.Session | None = None,
    endpoint: str | None = None,
    public_endpoint: str | None = None,
    silent_at_most: float = 10,
) -> Connection:
    """All clients for `bucket`; none sends a request yet, and none retries. Raises Denied without any credentials.

    Raises Invalid for a file of issuers that cannot be read. All but the patient ones give up on an answer that says nothing for
    `silent_at_most` seconds.
    """
    session = session or new_session()
    credentials = session.get_credentials()
    if credentials is None:
        raise Denied(f"s3://{bucket}: there are no AWS credentials in the environment, a profile, or a role")

    def client(patience: float, *, signs_bodies: bool = True) -> "S3Client":
        made: S3Client = session.client("s3", endpoint_url=endpoint, config=_config(patience, signs_bodies))
        return made

    quick = client(silent_at_most)
    quick.meta.events.register("before-parse.s3.ListObjectsV2", _leave_unread)

    options = _client_options(silent_at_most)

    def opened(url: str) -> ObstoreS3:
        address, virtual = bucket_address(bucket, url)
        return ObstoreS3(
            bucket,
            config={
                # The first is what obstore would otherwise take from the environment, over the second.
                "aws_endpoint_url_s3": address,
                "endpoint": address,
                "region": session.region_name or "us-east-1",
                "virtual_hosted_style_request": virtual,
            },
            client_options=options,
            retry_config={"max_retries": 0},
            credential_provider=_Provider(credentials, clock),
        )

    objects = opened(quick.meta.endpoint_url)
    public = opened(public_endpoint) if public_endpoint else objects
    return Connection(quick, client(_PATIENCE), client(_PATIENCE, signs_bodies=False), objects, public)


def new_session() -> boto3.Session:
    """A session that follows boto3's chain, and AWS_REGION too, as all newer AWS clients do."""
    core = botocore.session.get_session()
    core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
    return boto3.Session(region_name=os.environ.get("AWS_REGION") or None, botocore_session=core)


@cache
def _loader(data_path: str | None) -> Loader:
    """What reads botocore's description of S3, which takes longer than all else about a client, once for all sessions of a process."""
    return create_loader(data_path)


def issuers() -> str | None:
    """The file of the certificates that boto3 trusts, None for those that come with it."""
    configured: str | None = botocore.session.get_session().get_config_variable("ca_bundle")
    return configured or os.environ.get("REQUESTS_CA_BUNDLE")


def bucket_address(bucket: str, endpoint: str) -> tuple[str, bool]:
    """Where requests for `bucket` go, and whether its name is in the host: on AWS alone, unless a dot in it breaks TLS."""
    url = urlsplit(endpoint)
    on_aws = (url.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
    if on_aws and "." not in bucket:
        return f"{url.scheme}://{bucket}.{url.netloc}", True
    return endpoint.rstrip("/"), False


def _config(silent_at_most: float, signs_bodies: bool) -> Config:  # noqa: FBT001
    # Bodies are signed or come with a checksum of ours, so another guards nothing more, and many stores do not know the newer ones.
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=THREADS,
        connect_timeout=_CONNECT_WITHIN,
        read_timeout=silent_at_most,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"payload_signing_enabled": signs_bodies},
    )


def _client_options(silent_at_most: float) -> "ClientConfig":
    options: ClientConfig = {
        "allow_http": True,
        "connect_timeout": timedelta(seconds=_CONNECT_WITHIN),
        "read_timeout": timedelta(seconds=silent_at_most),
        "timeout": timedelta(days=7),
    }
    if file := issuers():
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
            options["root_certificate"] = Path(file).read_bytes()
        except OSError:
            raise Invalid(f"no certificates of issuers can be read from {file}: check AWS_CA_BUNDLE") from None
    return options


class _Provider:
    """boto3's credentials as obstore asks for them."""

    def __init__(self, credentials: Credentials, clock: Callable[[], float]) -> None:
        self._credentials = credentials
        self._clock = clock

    def __call__(self) -> "S3Credential":
        frozen = self._credentials.get_frozen_credentials()
        expires = datetime.fromtimestamp(self._clock(), UTC) + _CREDENTIALS_HOLD
        return {
            "access_key_id": frozen.access_key or "",
            "secret_access_key": frozen.secret_key or "",
            "token": frozen.token,
            "expires_at": expires if isinstance(self._credentials, RefreshableCredentials) else None,
        }


def _leave_unread(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: object) -> None:
    if response_dict["status_code"] < HTTPStatus.MULTIPLE_CHOICES:
        customized_response_dict[UNREAD] = response_dict["body"]
        response_dict["body"] = b""
