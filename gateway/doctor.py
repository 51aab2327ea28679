"""`moorage doctor`: what a store can do, what is wrong with it, and whether a gateway starts on it."""

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway.composing import epoch_of, opening
from gateway.listening import require_addresses
from gateway.options import SettingsCommand, config_option, given, setting_options, settings_of
from gateway.settings import SettingError, Settings
from gateway.starting import require_sense, require_urls
from storage.objects.checkup import COSTS, Checkup, examine
from storage.objects.contract import ObjectStore
from storage.objects.opening import Opening
from storage.registry import inspect

NAMES = {
    "conditional_create": "conditional create",
    "conditional_replace": "conditional replace",
    "conditional_delete": "conditional delete",
    "ordered_listing": "byte-order listing",
    "presigning": "presigned URLs",
    "checking_urls": "forged URLs refused",
    "part_copy": "part copy",
    "checksums": "checksums",
    "finding_uploads": "incomplete uploads found",
    "freeing_uploads": "incomplete uploads freed",
}
"""What people call each thing that is looked for."""


@click.command(cls=SettingsCommand)
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document rather than a table.")
@setting_options
def doctor(config: Path | None, *, as_json: bool, **flags: Any) -> None:
    """Examine the store within seconds; exit with 1 if `serve` would not start.

    It takes all that `serve` takes, writes a few small objects below probe/, and removes them.
    """
    settings = settings_of(given(config, flags))
    checkup = asyncio.run(examined(settings, opening(settings)))
    click.echo(in_json(checkup) if as_json else in_text(checkup))
    sys.exit(not checkup.starts)


async def examined(settings: Settings, opening: Opening) -> Checkup:
    """The checkup of the settings' store, with what else would keep `serve` from starting among its problems."""

    async def look(store: ObjectStore) -> None:
        await inspect(store)
        epoch_of(settings)

    checkup = await examine(settings.store, opening, look)
    try:
        require_sense(settings)
        require_addresses(settings)
        if "presigning" in checkup.found:
            require_urls(settings, presigns=checkup.found["presigning"])
    except SettingError as error:
        checkup.problems.append(str(error))
        checkup.starts = checkup.starts_with_single_writer = False
    return checkup


def in_json(checkup: Checkup) -> str:
    """One JSON document."""
    document = asdict(checkup) | {"found": [_finding(checkup, name) for name in COSTS]}
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode()


def in_text(checkup: Checkup) -> str:
    """A table, and sentences below it."""
    return "\n".join([f"store: {checkup.store}", "", *_table(checkup), "", *_sentences(checkup)])


def _finding(checkup: Checkup, name: str) -> dict[str, object]:
    found = checkup.found.get(name)
    return {"name": name, "found": found, "without": COSTS[name] if found is False else ""}


def _table(checkup: Checkup) -> Iterator[str]:
    width = max(map(len, NAMES.values()))
    yield f"{'capability':{width}}  found  what its absence costs"
    for name, label in NAMES.items():
        found = checkup.found.get(name)
        answer = {True: "yes", False: "no", None: "-"}[found]
        yield f"{label:{width}}  {answer:5}  {COSTS[name] if found is False else ''}".rstrip()


def _sentences(checkup: Checkup) -> Iterator[str]:
    if checkup.clock_skew is not None:
        yield f"clock: {_skew(checkup.clock_skew)}"
    if checkup.get_time is not None and checkup.put_time is not None:
        yield f"round trip: GET {checkup.get_time * 1000:.1f} ms, PUT {checkup.put_time * 1000:.1f} ms"
    yield from (f"note: {note}" for note in checkup.notes)
    yield from (f"problem: {problem}" for problem in checkup.problems)
    yield f"moorage serve {_verdict(checkup)}"


def _skew(seconds: float) -> str:
    if abs(seconds) <= 1:
        return "the store's agrees with this host's to a second"
    return f"the store's is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this host's"


def _verdict(checkup: Checkup) -> str:
    if checkup.starts:
        return "starts here"
    return "starts here with --single-writer only" if checkup.starts_with_single_writer else "does not start here"
