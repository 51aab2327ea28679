"""The names that clients use: Digest, RepositoryName, Tag. Parsed once, at the edge, and never again.

Grammar: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests and
https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Self

from storage.errors import DigestInvalid, NameInvalid, TagInvalid

_HEX_LENGTH = {"sha256": 64, "sha512": 128}
ALGORITHMS = tuple(_HEX_LENGTH)
MAX_NAME_LENGTH = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LOWER_HEX = re.compile(r"[0-9a-f]*")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The name of exact bytes: an algorithm and its result in lowercase hex."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `algorithm:hex`; raises DigestInvalid."""
        algorithm, _, digits = text.partition(":")
        if algorithm not in _HEX_LENGTH:
            raise DigestInvalid(
                f"a digest is one of {', '.join(ALGORITHMS)}, a colon and hex digits, not {text[:200]!r}"
            )
        if len(digits) != _HEX_LENGTH[algorithm] or not _LOWER_HEX.fullmatch(digits):
            raise DigestInvalid(
                f"{algorithm} takes {_HEX_LENGTH[algorithm]} lowercase hex digits, not {digits[:200]!r}"
            )
        return cls(algorithm, digits)

    @classmethod
    def of(cls, content: bytes, algorithm: str = "sha256") -> Self:
        """The digest of `content`."""
        return cls(algorithm, hashlib.new(algorithm, content).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class RepositoryName(str):
    """The name of a repository: lowercase components, joined by slashes."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check the grammar and the length; raises NameInvalid."""
        if len(text) > MAX_NAME_LENGTH or not _NAME.fullmatch(text):
            raise NameInvalid(
                f"a repository name is lowercase letters, digits and single separators, at most {MAX_NAME_LENGTH}"
                f" characters in all, not {text[:200]!r}"
            )
        return cls(text)


class Tag(str):
    """A movable name for one manifest of a repository."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check the grammar; raises TagInvalid."""
        if not _TAG.fullmatch(text):
            raise TagInvalid(
                f"a tag is 1 to 128 letters, digits, '_', '.' and '-', not beginning with '.' or '-': {text[:200]!r}"
            )
        return cls(text)
