"""Stores by URL: file:PATH, s3://BUCKET[/PREFIX], memory:."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import Denied, Invalid, StoreError, Unavailable
from storage.objects.contract import Capabilities, ObjectStore
from storage.objects.embedded import EmbeddedStore
from storage.objects.memory import MemoryStore
from storage.objects.observed import ObservedStore, current_operation
from storage.objects.single_writer import SingleWriterStore
from storage.observing import UNOBSERVED, Observer

if TYPE_CHECKING:
    import boto3

    from storage.objects.s3 import S3Store

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and what older buckets were allowed
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_PREFIX = re.compile(r"(?:(?!\.{1,2}(?:/|$))[A-Za-z0-9!_.*'()-]+(?:/|$))*")
# What is wrong with a store is told after this many seconds, whereas a gateway that serves waits longer for it to come back.
PATIENCE = 3


@dataclass(frozen=True, slots=True)
class Opening:
    """What all stores are opened with.

    `nonce` gives random hex digits; `timer` seconds that only grow, for what `observer` is told. `known` is what the store can do, as
    `found_out` has it, so that it is not probed again.
    """

    clock: Callable[[], float]
    nonce: Callable[[], str]
    public_endpoint: str | None = None
    single_writer: bool = False
    observer: Observer = UNOBSERVED
    timer: Callable[[], float] = time.perf_counter
    known: Capabilities | None = None


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """What an s3: URL names."""

    url: str
    bucket: str
    prefix: str


async def open_store(url: str, opening: Opening) -> ObjectStore:
    """The store that `url` names, able to do all that moorage needs.

    Raises Invalid for a URL that names none, or for a store that ignores conditional writes unless it has a single writer;
    Unavailable or Denied, with a sentence that says what is wrong, if it does not answer or lets us do too little.
    """
    where = parse(url)
    if isinstance(where, BucketUrl):
        return await _open_s3(where, opening)
    store: ObjectStore = (
        MemoryStore(opening.clock) if where is None else await EmbeddedStore.open(where, opening.clock, opening.nonce)
    )
    return _observed(store, opening)


async def found_out(url: str, opening: Opening) -> Capabilities | None:
    """What the bucket that `url` names really can do, None for a store of our own, which is what it says; raises as `open_store`."""
    where = parse(url)
    return await _found_out(where, opening, _session(where)) if isinstance(where, BucketUrl) else None


def parse(url: str) -> BucketUrl | Path | None:
    """The bucket or the directory that `url` names, None for memory; raises Invalid if it names none of them."""
    scheme, _, rest = url.partition(":")
    if url == "memory:":
        return None
    if scheme == "file" and rest:
        return _directory(url)
    if scheme == "s3" and rest.startswith("//"):
        return _bucket(url)
    raise Invalid(f"a store is file:PATH, s3://BUCKET[/PREFIX] or memory:, not {url!r}")


def shared_file(url: str) -> Path | None:
    """A file that all processes which serve this store on this host can share, if the store has a place for one; raises Invalid as `parse`."""
    return _directory(url) / "epoch" if url.startswith("file:") else None


def s3_store(
    where: BucketUrl, opening: Opening, *, session: "boto3.Session | None" = None, deadline: float = 20
) -> "S3Store":
    """The store in a bucket, which sends nothing yet; raises Invalid or Denied if it cannot be reached by what is configured."""
    from storage.objects.s3 import S3Store  # noqa: PLC0415 - boto3 takes longer to import than all the rest
    from storage.objects.s3_errors import translated  # noqa: PLC0415

    with translated(where.url):
        return S3Store(
            where.bucket,
            where.prefix,
            clock=opening.clock,
            session=session,
            public_endpoint=opening.public_endpoint,
            deadline=deadline,
            repeating=lambda: opening.observer.repeated(current_operation()),
        )


def ignored_conditions(found: Capabilities) -> list[str]:
    """The headers that a store ignores though moorage cannot do without."""
    honoured = {"If-None-Match": found.conditional_create, "If-Match": found.conditional_replace}
    return [header for header, is_honoured in honoured.items() if not is_honoured]


def refusal(found: Capabilities) -> str:
    """Why no gateway starts on a store that ignores conditions."""
    return (
        f"the store ignores {' and '.join(ignored_conditions(found))} on PutObject, so that two writers could overwrite"
        " each other's records; use one that honours conditional writes, or run one gateway alone with --single-writer"
    )


def _bucket(url: str) -> BucketUrl:
    """The bucket and the prefix of an `s3:` URL; raises Invalid."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise Invalid(
            "the name of a bucket is 3 to 63 letters, digits, dots, hyphens and underscores, the first and the last a letter or digit,"
            f" not {bucket!r}"
        )
    if not _PREFIX.fullmatch(prefix):
        raise Invalid(
            f"a prefix is names of letters, digits and !_.*'()- with a slash between two, none of them . or .., not {prefix!r}"
        )
    return BucketUrl(url, bucket, prefix)


def _directory(url: str) -> Path:
    """The directory of a `file:` URL; `file:///srv/x` is `file:/srv/x`. Raises Invalid for `file://srv/x`, where `srv` is a host."""
    rest = url.removeprefix("file:")
    path = rest.removeprefix("//")
    if path != rest and not path.startswith("/"):
        raise Invalid(
            f"what follows file:// begins with /, unlike {url!r}: write file:{path or 'PATH'} or file:///{path or 'PATH'}"
        )
    return Path(path)


async def _open_s3(where: BucketUrl, opening: Opening) -> ObjectStore:
    """A patient store that knows what an impatient one has found."""
    session = _session(where)
    found = opening.known or await _found_out(where, opening, session)
    if ignored_conditions(found) and not opening.single_writer:
        raise Invalid(refusal(found))
    store = s3_store(where, opening, session=session)
    store.capabilities = found
    observed = _observed(store, opening)
    return SingleWriterStore(observed) if ignored_conditions(found) else observed


def _session(where: BucketUrl) -> "boto3.Session":
    from storage.objects.s3_connection import new_session  # noqa: PLC0415 - as in s3_store
    from storage.objects.s3_errors import translated  # noqa: PLC0415

    with translated(where.url):
        return new_session()


async def _found_out(where: BucketUrl, opening: Opening, session: "boto3.Session") -> Capabilities:
    """What a store can do that soon gives up, and writes to nobody's metrics."""
    asked = replace(opening, public_endpoint=None, observer=UNOBSERVED)
    return await _probed(s3_store(where, asked, session=session, deadline=PATIENCE), opening)


def _observed(store: ObjectStore, opening: Opening) -> ObjectStore:
    """The store, of which the observer is told, if there is one."""
    return store if opening.observer is UNOBSERVED else ObservedStore(store, opening.observer, opening.timer)


async def _probed(store: "S3Store", opening: Opening) -> Capabilities:
    """What a new store can do, which is closed then."""
    from storage.objects.diagnosis import explain, missing  # noqa: PLC0415 - as in s3_store
    from storage.objects.probe import access, probe  # noqa: PLC0415

    try:
        lacking = (await access(store, opening.nonce())).lacking
        found = None if lacking else await probe(store, opening.nonce())
    except StoreError as error:
        kind = Denied if isinstance(error, Denied) else Unavailable
        raise kind(explain(error, store.place)) from error
    finally:
        await store.close()
    if found is None:
        raise Denied(missing(lacking, store.place))
    return found
