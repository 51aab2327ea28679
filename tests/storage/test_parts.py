"""How streams are cut into parts."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.objects import parts
from storage.objects.parts import FIRST_PART, MAX_PART, MAX_PARTS, MIB, MIN_PART, part_size, regroup

GIB = 1024 * MIB


async def cut(chunks: list[bytes]) -> list[bytes]:
    """What `regroup` makes of some chunks."""

    async def stream() -> AsyncGenerator[bytes]:
        for chunk in chunks:
            yield chunk

    return [bytes(part) async for part in regroup(stream())]


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
)
def test_regroup_keeps_every_byte(chunks: list[bytes], first: int, every: int) -> None:
    """Joined again the parts are the chunks; each but the last has the size of its place, and the last is not empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "FIRST_PART", first)
        patch.setattr(parts, "_DOUBLE_EVERY", every)
        found = asyncio.run(cut(chunks))
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
