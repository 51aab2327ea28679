"""Which error an answer of S3 becomes: the difference between 'it is not there' and 'I cannot tell'."""

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from obstore.exceptions import BaseError

from storage.errors import Denied, NotFound, StoreError, Unavailable
from storage.objects.s3_errors import UploadGone, store_error

NOT_FOUND = 404


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("NoSuchKey", NotFound),
        ("404", NotFound),
        ("", NotFound),
        ("NoSuchBucket", Unavailable),
        ("NoSuchUpload", UploadGone),
        ("XAdminUserNotFound", Denied),
        ("NoSuchTenant", Unavailable),
    ],
)
def test_only_a_missing_key_is_not_found(code: str, kind: type[StoreError]) -> None:
    """A 404 MUST be NotFound only if it is about the key, as for HEAD, which has no code; else clients would be told that nothing exists."""
    answer = {"Error": {"Code": code, "Message": "of the test"}, "ResponseMetadata": {"HTTPStatusCode": NOT_FOUND}}
    text = f"Generic S3 error: Server returned non-2xx status code: 404 Not Found: <Error><Code>{code}</Code></Error>"
    assert type(store_error(ClientError(answer, "GetObject"), "k")) is kind  # type: ignore[arg-type]
    assert type(store_error(FileNotFoundError(text), "k")) is kind


def test_an_error_names_no_password() -> None:
    """User and password of an endpoint's URL MUST be in no message, whichever client it comes from."""
    url = "http://user:pa@ss@store:9000/bucket"
    errors = [
        store_error(EndpointConnectionError(endpoint_url=url), "k"),
        store_error(BaseError(f"error sending request for url ({url})"), "k"),
        store_error(BaseError(f"Server returned non-2xx status code: 400 Bad: <Message>see {url}</Message>"), "k"),
    ]
    for error in errors:
        assert "http://***@store:9000/bucket" in str(error)
        assert "user" not in str(error)
