"""Where the S3 store sends its requests; nothing here is sent."""

import time

import boto3
import pytest

from storage.errors import Invalid
from storage.objects.s3 import S3Store
from storage.objects.s3_connection import bucket_address, connect, new_session


@pytest.mark.parametrize(
    ("bucket", "endpoint", "expected"),
    [
        ("b", "https://s3.eu-central-1.amazonaws.com", ("https://b.s3.eu-central-1.amazonaws.com", True)),
        ("b", "https://s3.amazonaws.com", ("https://b.s3.amazonaws.com", True)),
        ("b", "https://s3.cn-north-1.amazonaws.com.cn", ("https://b.s3.cn-north-1.amazonaws.com.cn", True)),
        ("b.c", "https://s3.eu-central-1.amazonaws.com", ("https://s3.eu-central-1.amazonaws.com", False)),
        ("b", "http://127.0.0.1:9000/", ("http://127.0.0.1:9000", False)),
        ("b", "https://amazonaws.com.example", ("https://amazonaws.com.example", False)),
    ],
)
def test_bucket_address(bucket: str, endpoint: str, expected: tuple[str, bool]) -> None:
    """The bucket's name is in the host on AWS, where its certificate allows that, and in the path elsewhere."""
    assert bucket_address(bucket, endpoint) == expected


def test_the_region_names_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_REGION wins over AWS_DEFAULT_REGION, as in AWS's own tools, and leads to that region's host."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test12345")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    connection = connect("b", time.time)
    assert connection.client.meta.endpoint_url == "https://s3.eu-central-1.amazonaws.com"
    assert connection.objects.config.get("region") == "eu-central-1"
    connection.client.close()


async def test_presigned_urls_on_aws() -> None:
    """A presigned URL names the bucket's own host, and lasts a week at most."""
    session = boto3.Session("test", "test12345", region_name="eu-central-1")
    store = S3Store("b", "p", clock=time.time, session=session, endpoint="https://s3.eu-central-1.amazonaws.com")
    url = await store.presign_get("k", 60)
    assert url.startswith("https://b.s3.eu-central-1.amazonaws.com/p/k?")
    for expires in (0, 7 * 24 * 3600 + 1):
        with pytest.raises(Invalid):
            await store.presign_get("k", expires)
    await store.close()
    await store.close()


def test_what_describes_s3_is_read_once() -> None:
    """Sessions share what botocore has read, and nothing else."""
    one, other = new_session(), new_session()
    assert one.client("s3").meta.service_model is not other.client("s3").meta.service_model
    assert one._session.get_component("data_loader") is other._session.get_component("data_loader")  # noqa: SLF001
