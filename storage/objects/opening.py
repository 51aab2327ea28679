"""Stores by URL: file:PATH, s3://BUCKET[/PREFIX], memory:."""

import re
from collections.abc import Callable
from pathlib import Path

from storage.errors import Invalid
from storage.objects.contract import Capabilities, ObjectStore
from storage.objects.embedded import EmbeddedStore
from storage.objects.memory import MemoryStore

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, and what older buckets were allowed
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_PREFIX = re.compile(r"(?:(?!\.{1,2}(?:/|$))[A-Za-z0-9!_.*'()-]+(?:/|$))*")


async def open_store(
    url: str, *, clock: Callable[[], float], nonce: Callable[[], str], public_endpoint: str | None = None
) -> ObjectStore:
    """The store that `url` names, able to do all that moorage needs.

    Raises Invalid for a URL that names none or a store that ignores conditional writes, Unavailable or Denied if it does not answer,
    ForeignFormat if something else wrote it.
    """
    scheme, _, rest = url.partition(":")
    if url == "memory:":
        return MemoryStore(clock)
    if scheme == "file" and rest:
        return await EmbeddedStore.open(_directory(url), clock, nonce)
    bucket, _, prefix = rest.removeprefix("//").partition("/")
    if scheme == "s3" and rest.startswith("//") and _BUCKET.fullmatch(bucket) and _PREFIX.fullmatch(prefix):
        return await _open_s3(bucket, prefix, url, clock, nonce, public_endpoint)
    raise Invalid(f"a store is file:PATH, s3://BUCKET[/PREFIX] or memory:, not {url!r}")


def shared_file(url: str) -> Path | None:
    """A file that all processes which serve this store on this host can share, if the store has a place for one."""
    return _directory(url) / "epoch" if url.startswith("file:") else None


def _directory(url: str) -> Path:
    """The directory of a `file:` URL; `file:///srv/x` is `file:/srv/x`."""
    rest = url.removeprefix("file:")
    return Path(rest.removeprefix("//") if rest.startswith("///") else rest)


async def _open_s3(  # noqa: PLR0913, PLR0917 - what open_store was given, and what it read from the URL
    bucket: str,
    prefix: str,
    url: str,
    clock: Callable[[], float],
    nonce: Callable[[], str],
    public_endpoint: str | None,
) -> ObjectStore:
    from storage.objects.probe import probe  # noqa: PLC0415 - boto3 takes longer to import than all the rest
    from storage.objects.s3 import S3Store  # noqa: PLC0415
    from storage.objects.s3_errors import translated  # noqa: PLC0415

    with translated(url):
        store = S3Store(bucket, prefix, clock=clock, public_endpoint=public_endpoint)
    try:
        _require_conditions(url, await probe(store, nonce()))
    except BaseException:
        await store.close()
        raise
    return store


def _require_conditions(url: str, found: Capabilities) -> None:
    honoured = {"If-None-Match": found.conditional_create, "If-Match": found.conditional_replace}
    ignored = [header for header, is_honoured in honoured.items() if not is_honoured]
    if ignored:
        raise Invalid(
            f"{url}: the store ignores {' and '.join(ignored)} on PutObject, so that two gateways could overwrite each"
            " other's records; use one that honours conditional writes"
        )
