"""Settings: what they are, and where they come from. `moorage.toml` < `MOORAGE_*` in the environment < flags.

Every setting has one name in three forms: `blob_delivery` in the file, MOORAGE_BLOB_DELIVERY in the environment, `--blob-delivery` as a
flag. docs/settings.md is generated from here by `moorage settings`.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from gateway.values import NOWHERE, Address, Duration, Size, Url
from storage.periods import MIN_GRACE, Periods

ENVIRONMENT_PREFIX = "MOORAGE_"
DEFAULT_FILE = Path("moorage.toml")
# What Kubernetes tells each container of services that are called moorage, moorage-metrics and the like:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_OF_KUBERNETES = re.compile(r"MOORAGE_(?:\w+_)?(?:SERVICE_(?:HOST|PORT\w*)=|PORT=\w+://|PORT_\d+_\w+=)")

_DAY = 24 * 3600
_LONGEST = 3650 * _DAY  # beyond which no clock and no calendar is sure to follow
_SHORTEST_EXPIRY = 60


class SettingError(ValueError):
    """A setting that is unknown or bad; the message names it."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of `moorage serve`."""

    store: Annotated[str, Meta(description="Where everything is kept: file:PATH, s3://BUCKET[/PREFIX] or memory:")] = (
        "file:./moorage-data"
    )
    listen: Annotated[
        Address, Meta(description="The address to listen on, HOST:PORT; [::]:PORT is every address, of IPv4 too")
    ] = Address("127.0.0.1", 5000)
    workers: Annotated[int, Meta(ge=1, le=256, description="How many processes serve")] = 1
    single_writer: Annotated[
        bool,
        Meta(
            description="Serve on a store that ignores conditional writes, as its one writer: no other gateway may use the bucket"
        ),
    ] = False
    blob_delivery: Annotated[
        Literal["auto", "redirect", "proxy"],
        Meta(
            description="Large blobs by redirect to the store, or through the gateway; auto: redirect where the store can"
        ),
    ] = "auto"
    public_s3_endpoint: Annotated[
        Url,
        Meta(description="The URL by which clients reach the store, if it is another one than the gateway's"),
    ] = Url("")
    allow_sparse: Annotated[bool, Meta(description="Take manifests whose blobs or child manifests are missing")] = False
    max_manifest_bytes: Annotated[
        Size, Meta(ge=4 * 1024, le=128 * 1024**2, description="The largest manifest taken")
    ] = Size(4 * 1024**2)
    upload_expiry: Annotated[
        Duration, Meta(ge=1, le=_LONGEST, description="How long an upload session lasts from its start")
    ] = Duration(48 * 3600)
    grace: Annotated[
        Duration,
        Meta(
            ge=1,
            le=_LONGEST,
            description="How long what nothing references any more is kept, and once more before it goes",
        ),
    ] = Duration(24 * 3600)
    testing_short_grace: Annotated[
        bool,
        Meta(description="Allow a grace below 1h, and shorten all that it rests on: for tests, never for production"),
    ] = False
    gc_every: Annotated[
        Duration,
        Meta(
            le=_LONGEST, description="Collect garbage beside serving when the last collection is so long ago. 0s: never"
        ),
    ] = Duration(0)
    record_pulls: Annotated[
        bool,
        Meta(description="Remember what is pulled, to the hour, for retention policies that keep what is in use"),
    ] = True
    cache_bytes: Annotated[Size, Meta(description="Memory for what was lately seen in the store, for each worker")] = (
        Size(32 * 1024**2)
    )
    max_blob_bytes: Annotated[Size, Meta(ge=4 * 1024, description="The largest blob taken")] = Size(5 * 1024**4)
    max_requests: Annotated[
        int, Meta(ge=0, description="How many requests each worker serves at once; more get 503. 0: any number")
    ] = 512
    max_requests_per_client: Annotated[
        int, Meta(ge=0, description="How many of them may come from one address; more get 429. 0: any number")
    ] = 0
    max_connections: Annotated[int, Meta(ge=1, description="How many connections each worker keeps; more get 503")] = (
        4096
    )
    header_timeout: Annotated[
        Duration, Meta(ge=1, le=_DAY, description="How long the head of a request may take to arrive")
    ] = Duration(15)
    body_timeout: Annotated[
        Duration,
        Meta(
            ge=1,
            le=_DAY,
            description="How long a client may neither send its body nor take its answer while it is its turn",
        ),
    ] = Duration(30)
    min_rate: Annotated[
        Size,
        Meta(
            le=16 * 1024**2, description="Bytes a second that a client must send or take, on average over body_timeout"
        ),
    ] = Size(1024)
    keep_alive: Annotated[
        Duration,
        Meta(
            ge=1,
            le=_DAY,
            description="How long a connection is kept between two requests: longer than a proxy in front keeps it",
        ),
    ] = Duration(75)
    drain_delay: Annotated[
        Duration,
        Meta(le=_DAY, description="How long connections are taken after SIGTERM, while /readyz says 503 already"),
    ] = Duration(2)
    shutdown_grace: Annotated[
        Duration, Meta(le=_DAY, description="How long open requests have to finish after that, before they are cut")
    ] = Duration(30)
    metrics_listen: Annotated[
        Address,
        Meta(
            description="The address on which /metrics is served, HOST:PORT; not set: that of listen if it is loopback, else none"
        ),
    ] = NOWHERE
    access_log: Annotated[
        bool, Meta(description="Write a line for each request, but not for health checks and scrapes")
    ] = True
    log_format: Annotated[
        Literal["auto", "text", "json"],
        Meta(description="Log lines for people or for machines; auto: text on a terminal"),
    ] = "auto"

    def periods(self) -> Periods:
        """The times that these settings stand for."""
        if self.testing_short_grace:
            return Periods.shortened(self.grace, self.upload_expiry)
        return Periods(grace=self.grace, upload_expiry=self.upload_expiry)


@dataclass(frozen=True, slots=True)
class SettingInfo:
    """One setting, for help and documentation."""

    name: str
    kind: str
    default: str
    description: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return "--" + self.name.replace("_", "-")


def describe() -> Iterator[SettingInfo]:
    """Every setting, in order."""
    hints = get_type_hints(Settings, include_extras=True)
    for field in msgspec.structs.fields(Settings):
        hint = hints[field.name]
        yield SettingInfo(field.name, _kind(hint.__origin__), _written(field.default), hint.__metadata__[0].description)


def load(flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None) -> Settings:
    """Put the settings together; raises SettingError. `file` None stands for moorage.toml, if there is one here."""
    given = {**_from_file(file), **_from_environment(environment), **_from_flags(flags)}
    hints = get_type_hints(Settings, include_extras=True)
    settings = Settings(**{name: _converted(origin, value, hints[name]) for name, (origin, value) in given.items()})
    if settings.grace < MIN_GRACE and not settings.testing_short_grace:
        raise SettingError(f"{given['grace'][0]}: a grace period is at least 1h")
    if settings.upload_expiry < _SHORTEST_EXPIRY and not settings.testing_short_grace:
        raise SettingError(f"{given['upload_expiry'][0]}: an upload session lasts for at least 1m")
    return settings


def overridden(flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None) -> Iterator[str]:
    """A sentence for each setting of the file that the environment or a flag overrides with another value. All are as `load` takes them."""
    hints = get_type_hints(Settings, include_extras=True)
    in_environment = {
        name: (f"{variable} in the environment", value)
        for name, (variable, value) in _from_environment(environment).items()
    }
    over = in_environment | _from_flags(flags)
    for name, (origin, value) in _from_file(file).items():
        if name in over and not _is_same(value, over[name][1], hints[name]):
            yield f"{over[name][0]} overrides {origin}"


def _is_same(value: Any, other: Any, kind: Any) -> bool:
    try:
        return bool(_converted("", value, kind) == _converted("", other, kind))
    except SettingError:
        return False


def _from_file(file: Path | None) -> dict[str, tuple[str, Any]]:
    path = file or DEFAULT_FILE
    if file is None and not path.exists():
        return {}
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise SettingError(f"{path} cannot be read: {error}") from None
    return _known((name, f"{name} in {path}", value) for name, value in content.items())


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, Any]]:
    ours = {
        name: value
        for name, value in environment.items()
        if name.startswith(ENVIRONMENT_PREFIX) and not _OF_KUBERNETES.match(f"{name}={value}")
    }
    return _known((name.removeprefix(ENVIRONMENT_PREFIX).lower(), name, value) for name, value in ours.items())


def _from_flags(flags: Mapping[str, Any]) -> dict[str, tuple[str, Any]]:
    return {name: ("--" + name.replace("_", "-"), value) for name, value in flags.items() if value is not None}


def _known(given: Iterator[tuple[str, str, Any]]) -> dict[str, tuple[str, Any]]:
    known = {}
    for name, origin, value in given:
        if name not in Settings.__struct_fields__:
            raise SettingError(f"{origin}: there is no such setting")
        known[name] = (origin, value)
    return known


def _converted(origin: str, value: Any, kind: Any) -> Any:
    bare, bounds = kind.__origin__, kind.__metadata__[0]
    try:
        read = bare.parse(str(value)) if hasattr(bare, "parse") else msgspec.convert(value, bare, strict=False)
        return _bounded(read, bounds)
    except msgspec.ValidationError:
        raise SettingError(f"{origin}: it is {_spoken(bare)}, not {value!r}") from None
    except ValueError as error:
        raise SettingError(f"{origin}: {error}") from None


def _bounded(value: Any, bounds: Meta) -> Any:
    """The value, if it lies within the bounds; else raises ValueError."""
    if bounds.ge is not None and value < bounds.ge:
        raise ValueError(f"it is at least {_written(type(value)(bounds.ge))}")
    if bounds.le is not None and value > bounds.le:
        raise ValueError(f"it is at most {_written(type(value)(bounds.le))}")
    return value


def _spoken(kind: Any) -> str:
    """What a value is, in the middle of a sentence."""
    *others, last = _kind(kind).split(", ")
    choices = f"{', '.join(others)} or {last}" if others else last
    return {"number": "a whole number"}.get(choices, choices)


def _kind(kind: Any) -> str:
    choices = getattr(kind, "__args__", ())
    if choices and all(isinstance(choice, str) for choice in choices):
        return ", ".join(choices)
    names = {
        str: "text",
        int: "number",
        bool: "true or false",
        Duration: "duration",
        Size: "size",
        Address: "address",
        Url: "URL",
    }
    return names.get(kind, "text")


def _written(default: Any) -> str:
    if default is None:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return default.written() if isinstance(default, Duration | Size) else str(default)
