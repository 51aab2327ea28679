"""How a stream of unknown length is cut into multipart parts.

S3 takes at most 10,000 parts, each of 5 MiB to 5 GiB but the last, and objects of up to 5 TiB
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html). Parts begin small, so that a push takes little memory, and double
every thousand parts: 8 GiB are reached with parts of 8 MiB, and 5 TiB before part 10,000.
"""

from collections.abc import AsyncGenerator, AsyncIterable

MIB = 1024 * 1024
FIRST_PART = 8 * MIB
MAX_PARTS = 10_000
MIN_PART = 5 * MIB
MAX_PART = 5 * 1024 * MIB
_DOUBLE_EVERY = 1_000


def part_size(index: int) -> int:
    """The size in bytes of part `index`, counted from 0."""
    return min(int(FIRST_PART * 2 ** (index // _DOUBLE_EVERY)), MAX_PART)


async def regroup(chunks: AsyncIterable[bytes], spent: list[bytearray]) -> AsyncGenerator[bytearray]:
    """Join `chunks` into parts of growing size; the last is what remains, and there is always at least one.

    Who is done with a part may add it to `spent`, to be filled again: the kernel hands out new memory by pages of 4 KiB.
    """
    index, at, part = 0, 0, bytearray()
    async for chunk in chunks:
        rest = memoryview(chunk)
        while at + len(rest) >= (size := part_size(index)):
            _write(part, at, rest[: size - at])
            rest = rest[size - at :]
            yield part
            index += 1
            at, part = 0, _buffer(spent, part_size(index))
        _write(part, at, rest)
        at += len(rest)
    del part[at:]
    if part or index == 0:
        yield part


def _buffer(spent: list[bytearray], size: int) -> bytearray:
    """One that is spent and has this size, or else a new one, which grows."""
    part = spent.pop() if spent else bytearray()
    return part if len(part) == size else bytearray()


def _write(part: bytearray, at: int, data: memoryview) -> None:
    if at == len(part):
        part += data
    else:
        memoryview(part)[at : at + len(data)] = data
