"""Reading Range, Content-Range, Content-Length and n out of a request."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from gateway.requests import MAX_PAGE, Unsatisfiable, body_of, byte_range, next_link, page_size
from storage.errors import PageInvalid, SizeInvalid, UploadInvalid

numbers = st.integers(0, 10**15)


def request(query: str = "", **headers: str) -> Request:
    """A request with these headers, '_' for '-'."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "headers": raw, "query_string": query.encode()})


@given(numbers, numbers | st.none(), numbers)
def test_a_range_lies_within_the_content(first: int, last: int | None, size: int) -> None:
    """What is returned begins where asked and ends there or at the content's end; all else is unsatisfiable."""
    wanted = request(range=f"bytes={first}-{'' if last is None else last}")
    if first >= size or (last is not None and last < first):
        with pytest.raises(Unsatisfiable):
            byte_range(wanted, size)
    else:
        assert byte_range(wanted, size) == (first, min(size, size if last is None else last + 1) - first)


@given(numbers, numbers)
def test_a_suffix_is_the_end_of_the_content(length: int, size: int) -> None:
    """As many bytes as asked for, or all."""
    wanted = request(range=f"bytes=-{length}")
    if min(length, size) == 0:
        with pytest.raises(Unsatisfiable):
            byte_range(wanted, size)
    else:
        assert byte_range(wanted, size) == (max(size - length, 0), min(length, size))


@given(st.text(st.characters(max_codepoint=255), max_size=20))
def test_any_text_is_a_range_or_is_ignored(text: str) -> None:
    """Never another error; None stands for the whole content."""
    try:
        found = byte_range(request(range=text), 100)
    except Unsatisfiable:
        return
    assert found is None or (0 <= found[0] < 100 and 0 < found[1] <= 100 - found[0])


@given(numbers, numbers, st.booleans())
def test_a_content_range_says_offset_and_length(first: int, last: int, is_chunked: bool) -> None:
    """Both ends count; a last byte before the first is nonsense."""
    length = {"transfer_encoding": "chunked"} if is_chunked else {"content_length": str(last - first + 1)}
    if last < first:
        with pytest.raises(UploadInvalid):
            body_of(request(content_range=f"{first}-{last}", transfer_encoding="chunked"))
    else:
        body = body_of(request(content_range=f"{first}-{last}", **length))
        assert body is not None
        assert (body.start, body.length) == (first, last - first + 1)


def test_lengths_that_disagree() -> None:
    """Content-Range and Content-Length must say the same."""
    with pytest.raises(SizeInvalid):
        body_of(request(content_range="0-9", content_length="9"))


@pytest.mark.parametrize(
    ("headers", "start", "length"),
    [
        ({"content_length": "5"}, None, 5),
        ({"content_length": " 5\t"}, None, 5),
        ({"content_length": "0" * 5_000 + "5"}, None, 5),
        ({"content_length": "5", "content_range": "0-4 "}, 0, 5),
        ({"transfer_encoding": "chunked"}, None, None),
        ({"transfer_encoding": "chunked", "content_range": "5-5"}, 5, 1),
    ],
)
def test_a_body(headers: dict[str, str], start: int | None, length: int | None) -> None:
    """What a request says of its body."""
    body = body_of(request(**headers))
    assert body is not None
    assert (body.start, body.length) == (start, length)


@pytest.mark.parametrize("headers", [{}, {"content_length": "0"}, {"content_length": "0", "content_range": "0-5"}])
def test_no_body(headers: dict[str, str]) -> None:
    """Neither length nor chunks, or a length of nothing."""
    assert body_of(request(**headers)) is None


def test_page_sizes() -> None:
    """None stands for the most there is, more than that is as much."""
    for many in ("", "n=99999999", f"n={2**63 - 1}", f"n={'9' * 5_000}"):
        assert page_size(request(many)) == MAX_PAGE
    assert page_size(request("n=" + "0" * 17)) == 0
    assert [page_size(request(f"n={number}")) for number in ("0", "1", "007", "500")] == [0, 1, 7, 500]
    for bad in ("", "-1", "x", "1.0", "%2B1", "1%00", "%D9%A1"):
        with pytest.raises(PageInvalid):
            page_size(request(f"n={bad}"))


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_link_can_be_followed(text: str) -> None:
    """Whatever a value holds, the address in the Link gives it back."""
    link = next_link("/v2/a/tags/list", n=5, last=text, none=None)["Link"]
    address, _, relation = link.removeprefix("<").partition(">")
    assert relation == '; rel="next"'
    assert address.isascii()
    following = request(address.partition("?")[2])
    assert dict(following.query_params) == {"n": "5", "last": text}
