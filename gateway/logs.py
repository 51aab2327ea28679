"""Log lines: for people on a terminal, JSON elsewhere; one line an event, on standard error.

What a client or a store has said may be in a line, so no control character of theirs reaches it as such, and what looks like a credential
is left out.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from gateway.settings import Settings

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
LEFT_OUT = "***"
_SHORTEST_SECRET = 8
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_FIRST = ("timestamp", "level", "event")
# Local variables stay out of the log: headers and bodies are among them.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
# User and password of a URL, what makes a URL presigned, and what stands in a header Authorization.
_CREDENTIALS = re.compile(
    r"(?P<before>://)[^/?#\s\"'\\]+@"
    r"|(?P<name>\b(?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId)=)[^&\s\"'\\]+"
    r"|(?P<scheme>\b(?:Basic|Bearer)\s+)[\w.~+/=-]{8,}",
    re.IGNORECASE,
)
# What a text with any of them has in it: to look for these first takes a thirtieth of the time.
_SIGNS = ("://", "=", "asic ", "earer ", "ASIC ", "EARER ")


def is_text(style: str) -> bool:
    """Whether lines are for people; `style` is auto, text or json."""
    return style == "text" or (style == "auto" and sys.stderr.isatty())


def configure_by(settings: Settings) -> None:
    """Set up logging for this process, which never tells the credentials of the environment."""
    configure(settings.log_format, [os.environ.get(name, "") for name in _SECRETS])


def configure(style: str, secrets: Iterable[str] = ()) -> None:
    """Set up logging for this process; `style` is auto, text or json. What of `secrets` is long enough to be one is never written."""
    as_text = is_text(style)
    hide = partial(_hidden, tuple(secret for secret in secrets if len(secret) >= _SHORTEST_SECRET))
    common: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        _add_request_id,
    ]
    structlog.configure(
        processors=[*common, *(_text(hide) if as_text else _json(hide))],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward(logging.WARNING)], level=logging.WARNING, force=True)


def write_line(line: bytes) -> None:
    """Write a line of printable ASCII in one piece: other processes write to the same place.

    One that cannot be written, for nobody reads any more or a disk is full, is lost: a request MUST be answered all the same.
    """
    with suppress(OSError):
        sys.stderr.buffer.write(line + b"\n")
        sys.stderr.buffer.flush()


def without_credentials(text: str) -> str:
    """The text, with nothing in it that looks like a credential."""
    for sign in _SIGNS:
        if sign in text:
            return _CREDENTIALS.sub(_left_out, text)
    return text


def escaped(text: str) -> str:
    """The text on one line, in characters that no terminal acts upon: all ASCII, if it has others."""
    return text if text.isascii() and text.isprintable() else text.encode("unicode_escape").decode()


class _Lines:
    """What structlog writes to, by the name of a line's level; all levels go the same way."""

    def __init__(self, *_: object) -> None: ...

    def info(self, line: str) -> None:
        """Write a line."""
        write_line(line.encode())

    debug = warning = error = critical = info


class _Forward(logging.Handler):
    """What libraries log becomes lines like our own."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        log.log(record.levelno, record.getMessage().strip(), logger=record.name, exc_info=record.exc_info)


def _json(hide: "_Hide") -> list[Processor]:
    return [
        structlog.processors.ExceptionRenderer(_TRACEBACKS),
        lambda _, __, event: hide(_as_json({**{name: event.pop(name) for name in _FIRST}, **event})),
    ]


def _text(hide: "_Hide") -> list[Processor]:
    def write_traceback(out: TextIO, raised: ExcInfo) -> None:
        lines = "".join(traceback.format_exception(*raised)).splitlines()
        out.writelines(f"\n  | {hide(escaped(line))}" for line in lines)

    def escape(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {name: hide(escaped(value)) if isinstance(value, str) else value for name, value in event.items()}

    return [
        escape,
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=write_traceback),
    ]


_Hide = partial[str]


def _hidden(secrets: tuple[str, ...], line: str) -> str:
    """The line without these secrets, and without anything else that looks like a credential."""
    for secret in secrets:
        line = line.replace(secret, LEFT_OUT)
    return without_credentials(line)


def _left_out(found: re.Match[str]) -> str:
    if found["before"]:
        return f"{found['before']}{LEFT_OUT}@"
    return f"{found['name'] or found['scheme']}{LEFT_OUT}"


def _add_request_id(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Say which request a line is about, if it is about one."""
    request = REQUEST_ID.get()
    if request is not None:
        event["request_id"] = request
    return event


def _as_json(event: dict[str, Any]) -> str:
    """JSON of nothing but printable ASCII; msgspec takes a tenth of json's time, but escapes less."""
    line = msgspec.json.encode(event, enc_hook=repr).decode()
    return line if line.isascii() and line.isprintable() else json.dumps(event, default=repr)
