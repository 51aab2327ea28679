"""The real stores that moorage is held to, and what tests must know of each. A new one costs one entry in STORES.

From an entry follow its fixture, NAME_server, in tests.parts.fixtures; the whole of tests/contract, over it too; its runs of the
conformance suite; and its row in docs/compatibility.md.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from storage.objects.contract import Capabilities
from tests.parts import servers


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """How stores differ, as tests MUST find them. Tests exempt a store by these alone, and never by its name.

    `one_winner`: of conditional writes that race exactly one succeeds; an imitation of a store may let more. The same holds of
    conditional deletes that race with writes, if `one_winner_of_deletes`.
    `checks_credentials`, `checks_urls`: wrong credentials, and presigned URLs that were forged or have expired, are refused.
    `keeps_buckets`: what is written to a bucket that does not exist is refused; otherwise the bucket is made.
    `shows_uploads`: a stream of several parts is listed while it is under way; `dates_uploads`: with the time it was begun.
    A store that keeps `files` takes no U+FFFD in a key and does not delete what is a directory, and a read is torn once the file is
    replaced; moorage has no such keys, and replaces nothing that is read in pieces.
    `rounds` is how often each race is run, all rounds at once where the store makes losers wait: `abreast` of them.
    """

    capabilities: Capabilities
    one_winner: bool = True
    one_winner_of_deletes: bool = True
    checks_credentials: bool = True
    checks_urls: bool = True
    keeps_buckets: bool = True
    shows_uploads: bool = True
    dates_uploads: bool = True
    files: bool = False
    rounds: int = 30
    abreast: int = 3


@dataclass(frozen=True, slots=True)
class RealStore:
    """A store that tests start: what people call it, the tool it is, how to start it, its traits, and what its users should know."""

    title: str
    tool: str
    start: Callable[[Path], AbstractContextManager[servers.S3Server]]
    traits: Traits
    notes: str


ALL = Capabilities(
    conditional_create=True,
    conditional_replace=True,
    conditional_delete=True,
    ordered_listing=True,
    presigning=True,
    part_copy=True,
    checksums=True,
)

STORES = {
    "minio": RealStore(
        "MinIO",
        "minio",
        servers.minio,
        Traits(capabilities=replace(ALL, conditional_delete=False)),
        "DELETE with If-Match is taken, and the condition ignored",
    ),
    "seaweedfs": RealStore(
        "SeaweedFS",
        "weed",
        servers.seaweedfs,
        Traits(capabilities=replace(ALL, ordered_listing=False), keeps_buckets=False, abreast=30),
        "writers that lose a race wait for up to 5 s; a missing bucket is made by the first write",
    ),
    "localstack": RealStore(
        "LocalStack",
        "localstack",
        servers.localstack,
        Traits(capabilities=replace(ALL, conditional_delete=False), checks_credentials=False),
        "for development: takes any credentials, and keeps nothing when it ends",
    ),
    "moto": RealStore(
        "moto",
        "moto_server",
        servers.moto,
        Traits(
            capabilities=replace(ALL, checksums=False),
            one_winner=False,
            one_winner_of_deletes=False,
            checks_credentials=False,
            checks_urls=False,
            dates_uploads=False,
        ),
        "for tests: takes any credentials and URLs; its conditional writes are not atomic, so that two writers may win",
    ),
    "versitygw": RealStore(
        "versitygw",
        "versitygw",
        servers.versitygw,
        Traits(capabilities=replace(ALL, conditional_delete=False)),
        "on its posix backend; DELETE with If-Match may win beside a write of the same state, so it counts as none",
    ),
}


def marks(name: str) -> list[pytest.MarkDecorator]:
    """The marks of a test on the store `name`: all of them go to one worker, so that its server is started there once."""
    return [pytest.mark.parts, pytest.mark.xdist_group(name)]


def real_stores() -> list[ParameterSet]:
    """The names in STORES, as parameters."""
    return [pytest.param(name, marks=marks(name)) for name in STORES]
