"""The kinds of values that settings have: durations, sizes, addresses and URLs, as people write them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Self
from urllib.parse import urlsplit

_DURATION = re.compile(r"(\d{1,9})(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d{1,18})(|KiB|MiB|GiB|TiB)", re.ASCII)
_BYTES = {"": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
_URL = re.compile(r"https?://[^\s/?#]+(?:/[^\s?#]*)?")
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens there for this
_HOST = re.compile(r"[\w.-]+|[0-9a-f:.]*:[0-9a-f:.]*")


class Duration(float):
    """Seconds, written as a number and s, m, h or d."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `48h` and the like; raises ValueError."""
        match = _DURATION.fullmatch(text)
        if match is None:
            raise ValueError(f"a duration is a number and s, m, h or d, like 48h, not {text!r}")
        return cls(int(match[1]) * _SECONDS[match[2]])

    def written(self) -> str:
        """As `parse` reads it."""
        return _in_largest(int(self), _SECONDS)


class Size(int):
    """Bytes, written as a number, and KiB, MiB, GiB or TiB if wanted."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `4MiB` and the like; raises ValueError."""
        match = _SIZE.fullmatch(text)
        if match is None:
            raise ValueError(f"a size is a number of bytes, or of KiB, MiB, GiB or TiB, like 4MiB, not {text!r}")
        return cls(int(match[1]) * _BYTES[match[2]])

    def written(self) -> str:
        """As `parse` reads it."""
        return _in_largest(self, _BYTES)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST:PORT` or `[IPV6]:PORT`; raises ValueError."""
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - a port's bound
            raise ValueError(f"an address is HOST:PORT, like 127.0.0.1:5000, not {text!r}")
        return cls(host, int(port))

    def from_here(self) -> "Address":
        """Where what listens there is reached on this host: to listen on all addresses is not to be reached by that name."""
        return Address(_EVERYWHERE.get(self.host, self.host), self.port)

    def __bool__(self) -> bool:
        return self.host != ""

    def __str__(self) -> str:
        if not self:
            return ""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


NOWHERE = Address("", 0)


class Url(str):
    """Where an HTTP server is reached."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `https://HOST` and the like; raises ValueError."""
        if not _URL.fullmatch(text):
            raise ValueError(f"a URL begins with http:// or https:// and a host, not {text!r}")
        if "@" in urlsplit(text).netloc:
            raise ValueError("a URL has no user and password here: all clients would be told them")
        if not _has_host(text):
            raise ValueError(
                f"a URL has a host, and a port from 0 to 65535 if wanted, which cannot be said of {text!r}"
            )
        return cls(text)


def _has_host(url: str) -> bool:
    """Whether host and port can be what they look like."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        if host.rpartition(".")[2].isdigit():
            IPv4Address(host)
    except ValueError:
        return False
    return _HOST.fullmatch(host) is not None


def _in_largest(number: int, units: Mapping[str, int]) -> str:
    """A number in the largest unit that leaves it whole, hours rather than days."""
    unit = max((unit for unit in units if number % units[unit] == 0 and unit != "d"), key=lambda unit: units[unit])
    return f"{number // units[unit]}{unit if number else min(units, key=lambda unit: units[unit])}"
