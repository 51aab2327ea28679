"""What a request says, parsed once: names and references in its path, ranges, lengths, pages."""

import re
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import Request

from storage.errors import ManifestUnknown, NameInvalid, PageInvalid, SizeInvalid, TagInvalid, UploadInvalid
from storage.references import Digest, RepositoryName, Tag
from storage.registry import Registry
from storage.uploads import Body

MAX_PAGE = 10_000
_CONTENT_RANGE = re.compile(r"(\d+)-(\d+)", re.ASCII)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)
_MOST_DIGITS = 20  # of any length of HTTP
_ANNOUNCING = ("content-length", "transfer-encoding")  # a body
_SPACE = " \t"  # which may surround the value of a header (RFC 9110, section 5.5)


def registry_of(request: Request) -> Registry:
    """The registry that the application serves."""
    registry: Registry = request.app.state.registry
    return registry


def name_of(request: Request) -> RepositoryName:
    """The repository in the path; raises NameInvalid."""
    return RepositoryName.parse(request.path_params["name"])


def digest_of(request: Request) -> Digest:
    """The digest in the path; raises DigestInvalid."""
    return Digest.parse(request.path_params["digest"])


def reference_of(request: Request) -> Digest | Tag:
    """The digest or tag in the path; raises DigestInvalid or TagInvalid."""
    text: str = request.path_params["reference"]
    return Digest.parse(text) if ":" in text else Tag.parse(text)


def existing_reference_of(request: Request) -> Digest | Tag:
    """As `reference_of`, for a manifest that should exist: none does under what is no tag. Raises ManifestUnknown."""
    try:
        return reference_of(request)
    except TagInvalid as error:
        raise ManifestUnknown(str(error)) from None


def body_of(request: Request) -> Body | None:
    """The request's body and what its headers say of it, None if it has none; raises UploadInvalid or SizeInvalid."""
    length = content_length(request)
    if length == 0 or not any(name in request.headers for name in _ANNOUNCING):
        return None
    start, said = _content_range(request)
    if said is not None and length is not None and said != length:
        raise SizeInvalid(f"Content-Range says {said} bytes, Content-Length {length}")
    return Body(request.stream(), start, said if said is not None else length)


def content_length(request: Request) -> int | None:
    """The Content-Length, if the client sent one."""
    text = request.headers.get("content-length", "").strip(_SPACE)
    return _number(text) if _NUMBER.fullmatch(text) else None


def _content_range(request: Request) -> tuple[int | None, int | None]:
    """Where the body begins and how long it is, by a header `first-last`; no unit, unlike RFC 9110's."""
    text = request.headers.get("content-range")
    if text is None:
        return None, None
    match = _CONTENT_RANGE.fullmatch(text.strip(_SPACE))
    first, last = (_number(match[1]), _number(match[2])) if match else (1, 0)
    if last < first:
        raise UploadInvalid(f"Content-Range is first-last, two byte offsets, not {text[:200]!r}")
    return first, last - first + 1


class Unsatisfiable(Exception):
    """A Range that lies outside of the content (RFC 9110, section 15.5.17)."""


def byte_range(request: Request, size: int) -> tuple[int, int] | None:
    """Start and length of the single range asked for, None for the whole content; raises Unsatisfiable.

    Several ranges, other units and what cannot be read are ignored, as RFC 9110, section 14.2, allows.
    """
    match = _RANGE.fullmatch(request.headers.get("range", "").strip(_SPACE))
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        start, end = max(size - _number(match[2]), 0), size
    else:
        start, end = _number(match[1]), min(_number(match[2]) + 1, size) if match[2] else size
    if start >= end:
        raise Unsatisfiable
    return start, end - start


def page_size(request: Request) -> int:
    """How many names the client wants at most; raises PageInvalid."""
    text = request.query_params.get("n")
    if text is None:
        return MAX_PAGE
    if not _NUMBER.fullmatch(text):
        raise PageInvalid(f"n is a whole number, not {text[:200]!r}")
    return min(_number(text), MAX_PAGE)


def last_of(request: Request, parse: Callable[[str], str]) -> str:
    """The name after which the page begins, which need not exist, "" for the first page; raises PageInvalid if it is none."""
    text = request.query_params.get("last", "")
    try:
        return parse(text) if text else ""
    except (TagInvalid, NameInvalid) as error:
        raise PageInvalid(f"last: {error}") from None


def next_link(path: str, **query: str | int | None) -> dict[str, str]:
    """The header that leads to the next page (RFC 8288)."""
    pairs = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items() if value is not None)
    return {"Link": f'<{path}?{pairs}>; rel="next"'}


def _number(digits: str) -> int:
    """A number however many zeros lead it; one of more digits than any length of HTTP has is very large, and no more is known of it."""
    return int(digits.lstrip("0")[:_MOST_DIGITS] or "0")
