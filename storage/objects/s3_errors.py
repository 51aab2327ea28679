"""What S3 and its two clients raise, in the terms of the store contract.

obstore tells some failures apart by class and the rest by text alone; the text holds the status and S3's error code, so both
clients come down to one table over these two (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)
from obstore.exceptions import BaseError, InvalidPathError, NotModifiedError, NotSupportedError

from storage.errors import Denied, Invalid, NotFound, PreconditionFailed, StoreError, Unavailable
from storage.objects.retrying import Busy, Transient


class UploadGone(Unavailable):
    """The multipart upload was completed or aborted before."""


class Damaged(Transient):
    """What the server received is not what was sent: it was damaged or cut on the way."""


class Unranged(Unavailable):
    """The server did not answer a range as such, with status 206."""


_BY_CODE: dict[str, type[StoreError]] = {
    "AccessDenied": Denied,
    "NoSuchBucket": Unavailable,
    "NoSuchUpload": UploadGone,
    "SlowDown": Busy,
    "BadDigest": Damaged,
    "IncompleteBody": Damaged,
    "RequestTimeout": Transient,
    "XAmzContentChecksumMismatch": Damaged,
    "XAmzContentSHA256Mismatch": Damaged,
    "ExpiredToken": Denied,
    "InvalidToken": Denied,
    "TokenRefreshRequired": Denied,
    "XAdminUserNotFound": Denied,
}
# Only with these codes, or none as for HEAD, is a 404 about the key; any other says that something else is missing.
_OF_THE_KEY = ("", "404", "NoSuchKey", "NotFound")
# A 409 to a PUT says that another writer was at it at the same time (ConditionalRequestConflict, OperationAborted).
_BY_STATUS: dict[int, type[StoreError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    408: Transient,
    409: Transient,
    412: PreconditionFailed,
    425: Transient,
    429: Busy,
    501: Invalid,
    503: Busy,
}
_OURS = (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError)
_NUMBER = re.compile(r"\d{1,6}", re.ASCII)
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]*)</Message>")
_REGION = re.compile(r"<Region>([^<]*)</Region>|expecting '([^']*)'")
_REQUEST = re.compile(r"performing ([A-Z]+ \S+)")
# An answer of 200 to the removal of many may say that one of them failed.
_NOT_DELETED = re.compile(r"DeleteObjects request failed for key .*: (.*) \(code: (\w+)\)", re.DOTALL)
_USER = re.compile(r"(?<=://)[^/?#\s\"']+@")
_DEBUG = "\n\nDebug source"
# obstore answers so for S3's 301, which names the bucket's region and no address.
_REDIRECTED = "redirect without LOCATION"
_UNRANGED = "non-partial response when range requested"


@dataclass(frozen=True, slots=True)
class Said:
    """What a store answered to a request: what is empty or 0 was not said. `request` is the method and URL, or boto3's name of it.

    `unread` is what the client said of an answer that never came, or that was none of S3.
    """

    status: int = 0
    code: str = ""
    message: str = ""
    region: str = ""
    request: str = ""
    unread: str = ""


@contextmanager
def translated(subject: str) -> Iterator[None]:
    """Raise what the block raises as a StoreError about `subject`, a key mostly; NotModifiedError and other exceptions pass."""
    try:
        yield
    except NotModifiedError:
        raise
    except (BaseError, BotoCoreError, ClientError, FileNotFoundError, ValueError) as error:
        raise store_error(error, subject) from error


def store_error(error: Exception, subject: str) -> StoreError:
    """The StoreError for what boto3 or obstore has raised: the one mapping of errors."""
    said = what_was_said(error)
    if not said.status:
        return _unanswered(error)(without_user(f"{subject}: {str(error).split(_DEBUG)[0]}"))
    failure = _answered(said.status, said.code)(without_user(f"{subject}: {said.status} {said.code}: {said.message}"))
    if isinstance(failure, Busy) and isinstance(error, ClientError):
        failure.retry_after = _seconds(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
    return failure


def without_user(text: str) -> str:
    """The text without user and password in its URLs: those of an endpoint, which no message is to tell."""
    return _USER.sub("***@", text)


def what_was_said(error: BaseException | None) -> Said:
    """The answer behind an exception of boto3 or obstore; an empty one behind any other."""
    if isinstance(error, ClientError):
        return _said_to_boto3(error)
    text = str(error or "")
    told, _, debug = text.partition(_DEBUG)
    request = _first(_REQUEST, told)
    if found := _STATUS.search(told):
        region = _first(_REGION, told)
        return Said(int(found[1]), _first(_CODE, told), _first(_MESSAGE, told), region, request)
    if found := _NOT_DELETED.search(told):
        return Said(200, found[2], found[1], request="POST")
    if _REDIRECTED in told:
        return Said(301, "PermanentRedirect", request=request)
    return Said(request=request, unread=debug or told)


def _said_to_boto3(error: ClientError) -> Said:
    said = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    message = said.get("Message", "")
    region = str(said.get("Region", "")) or _first(_REGION, message)
    return Said(status, said.get("Code", ""), message, region, error.operation_name)


def _answered(status: int, code: str) -> type[StoreError]:
    """By the status and the code of an answer. A success whose body is an error may succeed in full the next time."""
    by_range = Invalid if 300 <= status < 500 else Transient  # noqa: PLR2004
    if status == 404 and code not in _OF_THE_KEY:  # noqa: PLR2004
        return _BY_CODE.get(code, Unavailable)
    return _BY_CODE.get(code) or _BY_STATUS.get(status, by_range)


def _unanswered(error: Exception) -> type[StoreError]:
    """For what was never answered: what we ask for is wrong, we have no credentials, or the connection failed."""
    if isinstance(error, ParamValidationError | ValueError | InvalidPathError | NotSupportedError):
        return Invalid
    if _UNRANGED in str(error):
        return Unranged
    return Denied if isinstance(error, _OURS) else Transient


def _seconds(headers: Mapping[str, str]) -> float:
    """What Retry-After says, in seconds; a date, which no object store sends, and nonsense count as nothing."""
    text = headers.get("retry-after", "")
    return float(text) if _NUMBER.fullmatch(text) else 0.0


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return next(filter(None, found.groups()), "") if found else ""
