"""A store examined: what it can do, what the rest costs, whether a gateway starts on it, and how far away it is."""

import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field, replace

from storage.errors import MoorageError, StoreError
from storage.objects.contract import ObjectStore
from storage.objects.opening import (
    PATIENCE,
    BucketUrl,
    Opening,
    open_store,
    parse,
    s3_store,
)

LARGEST_SKEW = 15 * 60
_ROUNDS = 5
_ALONE = "two gateways could overwrite each other's records: a gateway starts with --single-writer only, as the one writer of the bucket"
COSTS = {
    "conditional_create": _ALONE,
    "conditional_replace": _ALONE,
    "conditional_delete": "the records of 16 bytes that deletions leave cannot be purged while gateways serve",
    "ordered_listing": "nothing: what moorage lists lies side by side, where such stores keep the order too",
    "presigning": "large blobs pass through the gateway instead of coming straight from the store",
    "checking_urls": "whoever knows the key of a blob, or once had its URL, can fetch it from the store",
    "part_copy": "an upload in chunks is read and written once more when it is joined",
    "checksums": "what is pushed is hashed once more, here and in the store, to guard it on its way there",
    "finding_uploads": "what a crash leaves of a large push is not found: let a lifecycle rule of the bucket end such uploads",
    "freeing_uploads": "what a failed large push leaves takes space: let a lifecycle rule of the bucket end such uploads",
}
"""Everything that is looked for, and what it costs if it is not there."""


@dataclass(slots=True)
class Checkup:
    """What was found. `problems` say why no gateway starts, each in a sentence; times are in seconds.

    `found` has an entry for each of COSTS that could be looked for. `clock_skew` is how far the store's clock is ahead of this
    host's, to a second.
    """

    store: str
    problems: list[str] = field(default_factory=list)
    starts: bool = False
    starts_with_single_writer: bool = False
    found: dict[str, bool] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    clock_skew: float | None = None
    get_time: float | None = None
    put_time: float | None = None


async def examine(url: str, opening: Opening, look: Callable[[ObjectStore], Awaitable[None]]) -> Checkup:
    """Examine the store that `url` names, within seconds, and leave nothing behind; `look` raises what else is wrong with it."""
    checkup = Checkup(url)
    try:
        where = parse(url)
        if isinstance(where, BucketUrl):
            await _examine_s3(where, opening, look, checkup)
        else:
            await _examine_local(url, opening, look, checkup)
    except MoorageError as error:
        checkup.problems.append(str(error))
    _conclude(checkup, opening)
    return checkup


def _conclude(checkup: Checkup, opening: Opening) -> None:
    """Say whether a gateway starts, once it is known what there is."""
    alone = not (checkup.found.get("conditional_create") and checkup.found.get("conditional_replace"))
    checkup.starts_with_single_writer = not checkup.problems
    checkup.starts = not checkup.problems and (opening.single_writer or not alone)
    if not checkup.problems and alone:
        checkup.notes.append(
            "with --single-writer nothing else may write to the bucket: a second gateway there loses acknowledged pushes"
        )
    elif not checkup.problems and opening.single_writer:
        checkup.notes.append("--single-writer is not needed here: the store honours conditional writes")
    if checkup.clock_skew is not None and abs(checkup.clock_skew) > LARGEST_SKEW:
        checkup.notes.append(
            f"the store's clock is {checkup.clock_skew:+.0f} s off this host's, and moorage allows {LARGEST_SKEW}: set the clocks"
        )


async def _examine_local(
    url: str, opening: Opening, look: Callable[[ObjectStore], Awaitable[None]], checkup: Checkup
) -> None:
    """A store of our own, which is what it says."""
    store = await open_store(url, opening)
    try:
        checkup.found = {**asdict(store.capabilities), "finding_uploads": True, "freeing_uploads": True}
        await _measure(store, opening, checkup)
        await look(store)
    finally:
        await store.close()


async def _examine_s3(
    where: BucketUrl, opening: Opening, look: Callable[[ObjectStore], Awaitable[None]], checkup: Checkup
) -> None:
    from storage.objects import probe  # noqa: PLC0415 - boto3 takes longer to import than all the rest
    from storage.objects.diagnosis import explain, missing  # noqa: PLC0415

    store = s3_store(where, replace(opening, public_endpoint=None), deadline=PATIENCE)
    try:
        access = await probe.access(store, opening.nonce())
        checkup.found = {"finding_uploads": access.finds_uploads, "freeing_uploads": access.frees_uploads}
        if access.wanting:
            checkup.notes.append(missing(access.wanting, store.place))
        if access.lacking:
            checkup.problems.append(missing(access.lacking, store.place))
            return
        checkup.found |= asdict(await probe.probe(store, opening.nonce()))
        if checkup.found["presigning"]:
            checkup.found["checking_urls"] = await probe.checks_urls(store, opening.nonce())
        await _measure(store, opening, checkup)
        await look(store)
    except StoreError as error:
        checkup.problems.append(explain(error, store.place))
    finally:
        await store.close()


async def _measure(store: ObjectStore, opening: Opening, checkup: Checkup) -> None:
    """Times of small requests, the middle ones of a few, and the store's clock by what it says of an object just written."""
    key, gets, puts = f"probe/{opening.nonce()}/time", [], []
    try:
        for _ in range(_ROUNDS):
            puts.append(await _timed(lambda: store.put(key, b"a small object")))
            gets.append(await _timed(lambda: store.get(key)))
        before = opening.clock()
        await store.put(key, b"a small object")
        written = (before + opening.clock()) / 2
        # Stores tell whole seconds: in the mean half a second has passed.
        checkup.clock_skew = round((await store.head(key)).modified + 0.5 - written)
    finally:
        await store.delete(key)
    checkup.get_time, checkup.put_time = statistics.median(gets), statistics.median(puts)


async def _timed(request: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await request()
    return time.perf_counter() - began
