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


async def regroup(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytearray]:
    """Join `chunks` into parts of growing size; the last is what remains, and there is always at least one."""
    index, size, part = 0, part_size(0), bytearray()
    async for chunk in chunks:
        rest = memoryview(chunk)
        while len(part) + len(rest) >= size:
            taken = size - len(part)
            part += rest[:taken]
            rest = rest[taken:]
            yield part
            index += 1
            size, part = part_size(index), bytearray()
        part += rest
    if part or index == 0:
        yield part
