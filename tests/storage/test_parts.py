"""How streams, and what the server copies, are cut into parts."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.objects import parts
from storage.objects.parts import FIRST_PART, MAX_PART, MAX_PARTS, MIB, MIN_PART, part_size, regroup
from storage.objects.s3_multipart import copies

GIB = 1024 * MIB


async def cut(chunks: list[bytes], given_back: Callable[[], bool] = lambda: True) -> list[bytes]:
    """What `regroup` makes of some chunks, where those parts are filled again that `given_back` lets pass."""
    spent: list[bytearray] = []
    found = []

    async def stream() -> AsyncGenerator[bytes]:
        for chunk in chunks:
            yield chunk

    async for part in regroup(stream(), spent):
        found.append(bytes(part))
        if given_back():
            spent.append(part)
    return found


def test_five_tebibytes_fit() -> None:
    """The largest object that S3 takes fits in the parts that S3 takes."""
    assert sum(part_size(index) for index in range(MAX_PARTS)) >= 5 * 1024 * GIB


def test_every_part_is_allowed() -> None:
    """No part is smaller than 5 MiB or larger than 5 GiB, and parts never shrink."""
    sizes = [part_size(index) for index in range(MAX_PARTS)]
    assert MIN_PART == 5 * MIB
    assert MAX_PART == 5 * GIB
    assert all(MIN_PART <= size <= MAX_PART for size in sizes)
    assert sizes == sorted(sizes)


def test_layers_take_little_memory() -> None:
    """A layer of 4 GiB is cut into parts of 8 MiB, all of them."""
    count = 4 * GIB // (8 * MIB)
    assert FIRST_PART == 8 * MIB
    assert {part_size(index) for index in range(count)} == {8 * MIB}


@given(
    chunks=st.lists(st.binary(max_size=40), max_size=30),
    first=st.integers(min_value=1, max_value=9),
    every=st.integers(min_value=1, max_value=4),
    choice=st.randoms(use_true_random=False),
)
def test_regroup_keeps_every_byte(chunks: list[bytes], first: int, every: int, choice: random.Random) -> None:
    """Joined again the parts are the chunks; each but the last has the size of its place, and the last is not empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FIRST_PART", first)
        patch.setattr(parts, "_DOUBLE_EVERY", every)
        found = asyncio.run(cut(chunks, lambda: choice.random() < 0.5))
        sizes = [part_size(index) for index in range(len(found))]
    assert b"".join(found) == b"".join(chunks)
    assert [len(part) for part in found[:-1]] == sizes[:-1]
    assert len(found[-1]) <= sizes[-1]
    assert found[-1] or len(found) == 1


@pytest.mark.parametrize("size", [0, 1, FIRST_PART - 1, FIRST_PART, FIRST_PART + 1, 2 * FIRST_PART])
def test_regroup_at_the_real_size(size: int) -> None:
    """Around a whole part there is neither an empty part too many nor a byte too few; no bytes are one empty part."""
    found = asyncio.run(cut([bytes(size)]))
    assert [len(part) for part in found] == (
        [FIRST_PART] * (size // FIRST_PART) + [size % FIRST_PART] * (size % FIRST_PART > 0) or [0]
    )


def test_a_part_that_was_given_back_is_filled_again() -> None:
    """Three parts of a stream, the second in the memory of the first; the third is another, for the second is still in use."""

    async def places() -> list[int]:
        async def stream() -> AsyncGenerator[bytes]:
            for _ in range(3):
                yield bytes(FIRST_PART)

        spent: list[bytearray] = []
        kept = []
        async for part in regroup(stream(), spent):
            kept.append(part)
            if len(kept) == 1:
                spent.append(part)
        return [id(part) for part in kept]

    first, second, third = asyncio.run(places())
    assert first == second
    assert third != second


@pytest.mark.parametrize("size", [MIN_PART, GIB, GIB + 1, 5 * GIB + 7])
def test_the_server_copies_every_byte_once_in_parts_that_it_takes(size: int) -> None:
    """S3 takes no part below 5 MiB but the last: a large object is cut evenly, so that another one may follow."""
    *cuts, last = copies([("a", size), ("b", 1)])
    assert last == ("b", 0, 1)
    lengths = [cut.length for cut in cuts]
    assert cuts == [("a", sum(lengths[:at]), length) for at, length in enumerate(lengths)]
    assert sum(lengths) == size
    assert max(lengths) <= GIB


def test_what_the_server_does_not_copy() -> None:
    """Nothing at all, a small part that is not the last, and more parts than S3 takes."""
    assert copies([("a", 0)]) == []
    assert copies([("a", MIN_PART - 1), ("b", MIN_PART)]) == []
    assert len(copies([("a", MIN_PART)] * MAX_PARTS)) == MAX_PARTS
    assert copies([("a", MIN_PART)] * (MAX_PARTS + 1)) == []
