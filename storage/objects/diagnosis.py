"""What is wrong with a store, in one sentence that says what to do: for whoever starts a gateway."""

import re
from collections.abc import Sequence

from storage.errors import StoreError, Unavailable
from storage.objects.s3_connection import Place
from storage.objects.s3_errors import Said, what_was_said

# By S3's error code (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), and what other stores call the same.
_WRONG_REGION = (
    "the bucket {bucket} is not in the region {region} that requests are signed for{instead}: set AWS_REGION to its own"
)
_EXPIRED = (
    "the store at {endpoint} takes the session token for expired or invalid ({code}): renew the temporary credentials,"
    " or unset AWS_SESSION_TOKEN if they are not temporary"
)
_BY_CODE = {
    "NoSuchBucket": "there is no bucket {bucket} at {endpoint}: create it, for moorage creates none",
    "InvalidAccessKeyId": "the store at {endpoint} does not know the access key id: check AWS_ACCESS_KEY_ID or the profile",
    "SignatureDoesNotMatch": (
        "the secret access key does not belong to the access key id: check AWS_SECRET_ACCESS_KEY or the profile"
        " (or else a proxy in front of {endpoint} changes requests)"
    ),
    "ExpiredToken": _EXPIRED,
    "InvalidToken": _EXPIRED,
    "InvalidTokenId": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    "RequestTimeTooSkewed": (
        "the clocks of this host and of the store at {endpoint} are too far apart (S3 allows 15 minutes): set this host's clock"
    ),
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "PermanentRedirect": _WRONG_REGION,
    "AllAccessDisabled": "the store at {endpoint} has locked the bucket {bucket}: all access is disabled",
    "AccountProblem": "the account that the credentials belong to is blocked at {endpoint}: ask the store's operator",
}
_DENIED = "the policy of the credentials lacks {permission} on the bucket {bucket}: add what is missing"
_BUSY = "the store at {endpoint} is overloaded or not ready ({status} {code}): try again later"
_NOT_S3 = "what answers at {endpoint} is not an S3 server{status_seen}: check AWS_ENDPOINT_URL_S3"
_SILENT = "the store at {endpoint} did not answer in time: check the endpoint, the network between, and the store"
# What the clients say of an answer that did not come or could not be read; the first that is found counts.
_UNREAD = {
    "dns error": "the host name of {endpoint} cannot be resolved: check AWS_ENDPOINT_URL_S3, and this host's DNS",
    "ConnectionRefused": "nothing listens at {endpoint}: check AWS_ENDPOINT_URL_S3, and whether the store runs",
    "tcp connect error": "{endpoint} cannot be reached: check AWS_ENDPOINT_URL_S3, and the network between",
    "InvalidCertificate": "the certificate of {endpoint} is not trusted here, or is for another name: check it, and AWS_CA_BUNDLE if its issuer is your own",
    "InvalidMessage": "what answers at {endpoint} does not speak TLS: check whether the endpoint is http:// rather than https://",
    "HandshakeFailure": "what answers at {endpoint} refuses the TLS connection",
    "Timeout": _SILENT,
    "TimedOut": _SILENT,
    "InvalidListResponse": _NOT_S3,
    "MissingEtag": _NOT_S3,
    "IncompleteMessage": "what answers at {endpoint} closes the connection without an answer: check AWS_ENDPOINT_URL_S3",
    "Parse(": _NOT_S3,
}
_ACTIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CompleteMultipartUpload": "s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "DeleteObject": "s3:DeleteObject",
    "HeadBucket": "s3:ListBucket",
    "HeadObject": "s3:GetObject",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
    "PutObject": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "UploadPartCopy": "s3:PutObject",
}
"""The permission that each request of boto3 needs."""
_BY_METHOD = {
    "DELETE": "s3:DeleteObject",
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "POST": "s3:DeleteObject",
    "PUT": "s3:PutObject",
}
"""The permission that each request of obstore needs, but for listings."""
_LISTING = re.compile(r"GET \S+[?&]list-type=")
# AWS says it itself: https://docs.aws.amazon.com/AmazonS3/latest/userguide/troubleshoot-403-errors.html
_NAMED = re.compile(r"is not authorized to perform: ([\w-]+:\w+)")
_FORBIDDEN = {401, 403}
_SERVER_ERRORS = 500


def explain(error: StoreError, place: Place) -> str:
    """The sentence for an error that the bucket at `place` has caused; what nobody foresaw is told as it was said."""
    said = what_was_said(error.__cause__)
    unanswered = isinstance(error, Unavailable) and error.__cause__ is None
    sentence = _sentence(said) or (_SILENT if unanswered else "{error}")
    return sentence.format(
        bucket=place.bucket,
        code=said.code,
        endpoint=place.endpoint,
        error=error,
        instead=f" but in {said.region}" if said.region else "",
        permission=permission_of(said),
        region=place.region,
        status=said.status,
        status_seen=f" (it answers {said.status} without an S3 error)" if said.status else "",
    )


def missing(permissions: Sequence[str], place: Place) -> str:
    """The sentence for permissions that are all missing."""
    return _DENIED.format(permission=" and ".join(permissions), bucket=place.bucket)


def lacking_permission(error: StoreError) -> str | None:
    """The permission that is lacking if that is what `error` says, and the credentials themselves are good."""
    said = what_was_said(error.__cause__)
    return permission_of(said) if _sentence(said) == _DENIED else None


def permission_of(said: Said) -> str:
    """The permission that the request needs, in the terms of AWS policies; empty for a request that nobody made.

    It may be one for the key that the bucket is encrypted with, which nothing but the answer tells.
    """
    if named := _NAMED.search(said.message):
        return named[1]
    if _LISTING.match(said.request):
        return "s3:ListBucket"
    return _ACTIONS.get(said.request) or _BY_METHOD.get(said.request.partition(" ")[0], "")


def _sentence(said: Said) -> str | None:
    if said.code in _BY_CODE:
        return _BY_CODE[said.code]
    if said.status >= _SERVER_ERRORS:
        return _BUSY
    # The answer to a HEAD has no body that could hold a code.
    is_head = said.request.upper().startswith("HEAD")
    if said.code == "AccessDenied" or (is_head and said.status in _FORBIDDEN):
        return _DENIED
    if said.status and not said.code and not is_head:
        return _NOT_S3
    return next((sentence for mark, sentence in _UNREAD.items() if mark in said.unread), None)
