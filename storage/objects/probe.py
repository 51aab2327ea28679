"""Finds out what an S3 store really does: some take conditional requests and ignore the conditions."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from storage.errors import Denied, Invalid, NotFound, PreconditionFailed, Unavailable
from storage.objects.contract import Capabilities
from storage.objects.diagnosis import lacking_permission
from storage.objects.s3 import S3Store
from storage.objects.s3_connection import issuers

_NO_ETAG = f'"{"0" * 32}"'
# In byte order. The last but one lies in a directory, which stores that keep a file tree may list elsewhere.
_NEIGHBOURS = ("a!b", "a-b", "a.b", "a/b", "a0")
_PRESIGNED = b"presigned"
_URL_SECONDS = 60
_FETCH_WITHIN = 5
_DIGITS = "0123456789abcdef"


async def probe(store: S3Store, nonce: str) -> Capabilities:
    """What `store` can do, which becomes its `capabilities` too; some forty small requests below probe/<nonce>/, several at once.

    A condition counts as honoured if it holds back the write it should hold back and lets pass the other. Presigning counts
    if a URL can be fetched, whole and in part; `store` MUST have no public endpoint, since whether clients reach one cannot be
    seen from here. Raises Unavailable or Denied if the store does not answer; what was written is removed
    in any case.
    """
    root = f"probe/{nonce}/"
    declared = store.capabilities
    store.capabilities = replace(declared, conditional_delete=True, presigning=True, part_copy=True)
    try:
        found = await _found(
            conditional_create=_creates(store, f"{root}create"),
            conditional_replace=_replaces(store, f"{root}replace"),
            conditional_delete=_deletes(store, f"{root}delete"),
            ordered_listing=_lists_in_order(store, f"{root}order/"),
            presigning=_presigns(store, f"{root}presigned"),
            part_copy=_copies(store, f"{root}source", f"{root}copy"),
            checksums=store.checks_checksums(f"{root}checked"),
        )
    except BaseException:
        store.capabilities = declared
        raise
    finally:
        await store.delete_many([info.key async for info in store.list(root)])
    store.capabilities = found
    return found


@dataclass(frozen=True, slots=True)
class Access:
    """What the credentials may do. No gateway can be without the permissions in `lacking`, but without those in `wanting`."""

    lacking: tuple[str, ...]
    wanting: tuple[str, ...] = ()
    finds_uploads: bool = False
    frees_uploads: bool = False


async def access(store: S3Store, nonce: str) -> Access:
    """Try each permission once, with some ten requests below probe/<nonce>/; raises what is wrong beyond permissions."""
    key = f"probe/{nonce}/access"
    lacking = await _lacking(
        lambda: _first_page(store),
        lambda: store.put(key, b"1"),
        lambda: _get(store, key),
        lambda: store.delete_many([key]),
        lambda: store.delete(key),
    )
    return Access(lacking) if "s3:PutObject" in lacking else await _access_to_uploads(store, key, lacking)


async def checks_urls(store: S3Store, nonce: str) -> bool:
    """Whether the store refuses presigned URLs that were forged or whose time is over; takes two seconds."""
    key = f"probe/{nonce}/url"
    await store.put(key, _PRESIGNED)
    try:
        url = await store.presign_get(key, 1)
        if await _fetched(_forged(url)) is not None:
            return False
        await asyncio.sleep(2.1)  # what was signed at the end of a second holds until the end of the next
        return await _fetched(url) is None
    finally:
        await store.delete(key)


async def _found(**looks: Coroutine[Any, Any, bool]) -> Capabilities:
    """The capabilities by name, all looked for at once; raises what one of them has raised, once all have ended."""
    results = await asyncio.gather(*looks.values(), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return Capabilities(**dict(zip(looks, cast("list[bool]", results), strict=True)))


async def _creates(store: S3Store, key: str) -> bool:
    try:
        await store.put(key, b"first", if_absent=True)
    except Invalid:
        return False
    return await _refused(store.put(key, b"second", if_absent=True))


async def _replaces(store: S3Store, key: str) -> bool:
    etag = await store.put(key, b"first")
    if not await _refused(store.put(key, b"second", if_match=_NO_ETAG)):
        return False
    try:
        await store.put(key, b"third", if_match=etag)
    except (PreconditionFailed, Invalid):
        return False
    return (await store.get(key)).body == b"third" and await _refused(store.put(f"{key}-missing", b"", if_match=etag))


async def _deletes(store: S3Store, key: str) -> bool:
    etag = await store.put(key, b"first")
    if not await _refused(store.delete(key, if_match=_NO_ETAG)) or not await _exists(store, key):
        return False
    try:
        await store.delete(key, if_match=etag)
    except (PreconditionFailed, Invalid):
        return False
    # A store that takes a missing object for an unchanged one looks first and deletes then: a write between the two is lost.
    return not await _exists(store, key) and await _refused(store.delete(key, if_match=etag))


async def _lists_in_order(store: S3Store, prefix: str) -> bool:
    await asyncio.gather(*(store.put(prefix + name, b"1") for name in _NEIGHBOURS))
    return [info.key async for info in store.list(prefix)] == [prefix + name for name in _NEIGHBOURS]


async def _presigns(store: S3Store, key: str) -> bool:
    await store.put(key, _PRESIGNED)
    url = await store.presign_get(key, _URL_SECONDS)
    whole, part = await _fetched(url), await _fetched(url, {"Range": "bytes=2-4"})
    return whole == (200, _PRESIGNED) and part == (206, _PRESIGNED[2:5])


async def _copies(store: S3Store, source: str, target: str) -> bool:
    await store.put(source, b"copied")
    try:
        await store.compose(target, [(source, len(b"copied"))])
    except (Invalid, NotFound, Unavailable):
        return False
    return await _exists(store, target) and (await store.get(target)).body == b"copied"


async def _access_to_uploads(store: S3Store, key: str, lacking: tuple[str, ...]) -> Access:
    """Whether a stream that was left incomplete is listed, and whether it can be aborted so that it is listed no more."""
    upload = await store.begin_upload(key)
    listed = []

    async def look() -> None:
        with suppress(Invalid):
            listed.append(key in [upload.key async for upload in store.list_incomplete_uploads()])

    wanting = await _lacking(look, lambda: store.abort_incomplete_upload(upload), look)
    frees = "s3:AbortMultipartUpload" not in wanting and listed[1:] != [True]
    return Access(lacking, wanting, finds_uploads=listed[:1] == [True], frees_uploads=frees)


async def _first_page(store: S3Store) -> None:
    """List without a limit, so that the first request is obstore's, which tells more exactly than boto3 why a store does not answer."""
    async with aclosing(store.list("")) as listing:
        await anext(listing, None)


async def _get(store: S3Store, key: str) -> None:
    """Read `key`, which is missing if it could not be written."""
    with suppress(NotFound):
        await store.get(key)


async def _lacking(*requests: Callable[[], Awaitable[object]]) -> tuple[str, ...]:
    """The permissions that the requests lack, each once; raises what else is wrong with one."""
    permissions = []
    for request in requests:
        try:
            await request()
        except Denied as error:
            permission = lacking_permission(error)
            if permission is None:
                raise
            permissions.append(permission)
    return tuple(dict.fromkeys(permissions))


async def _refused(write: Awaitable[object]) -> bool:
    """Whether `write` meets PreconditionFailed; a store that does not know the condition at all raises Invalid."""
    try:
        await write
    except PreconditionFailed:
        return True
    except Invalid:
        pass
    return False


async def _exists(store: S3Store, key: str) -> bool:
    try:
        await store.head(key)
    except NotFound:
        return False
    return True


async def _fetched(url: str, headers: dict[str, str] | None = None) -> tuple[int, bytes] | None:
    """Status and body that a GET of `url` brings anyone; None if it brings none."""

    def fetch() -> tuple[int, bytes] | None:
        verify: Any = issuers() or True  # its type knows no file
        session = URLLib3Session(verify=verify, proxies=get_environ_proxies(url), timeout=_FETCH_WITHIN)
        try:
            answer = session.send(AWSRequest("GET", url, headers).prepare())
        except BotoCoreError:
            return None
        finally:
            session.close()
        return (answer.status_code, answer.content) if answer.status_code in {200, 206} else None

    return await asyncio.to_thread(fetch)


def _forged(url: str) -> str:
    """The URL with another first digit in its signature."""
    head, name, signature = url.partition("X-Amz-Signature=")
    return f"{head}{name}{_DIGITS[_DIGITS.index(signature[0]) - 1]}{signature[1:]}"
