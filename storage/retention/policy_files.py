"""Retention policies as people write them, in TOML or YAML: what cannot be is refused with its line.

A file has one policy, or `policies`, a list of them. Fields are those of Policy and Rule, periods are a number and s, m, h or d.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, NoReturn, cast

from storage.errors import PolicyError, TagInvalid
from storage.references import Tag
from storage.retention.located import Document, Path, read_toml, read_yaml
from storage.retention.patterns import MAX_LENGTH, glob, regexp
from storage.retention.policies import Policy, Rule, Status, require_no_conflict
from storage.retention.pulls import LONGEST

MAX_BYTES = 256 * 1024
_DAY = 24 * 3600
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": _DAY}
_PERIOD = re.compile(r"(\d{1,9})(s|m|h|d)", re.ASCII)
_GLOB = re.compile(r"[a-z0-9._/*?-]{1,255}")
_HALF = re.compile("[\ud800-\udfff]")  # of a pair in UTF-16: YAML's escapes can name one, and UTF-8 cannot write it
_MOST = 10**6
_READERS = {".toml": read_toml, ".yaml": read_yaml, ".yml": read_yaml}


def parse(text: str, file: str) -> Sequence[Policy]:
    """The policies in the text of `file`, whose suffix tells the language; raises PolicyError, with the line."""
    reader = _READERS.get(PurePath(file).suffix.lower())
    if reader is None:
        raise PolicyError(f"{file}: policies are in TOML or YAML, in a file that ends with .toml, .yaml or .yml")
    if len(text) > MAX_BYTES:
        raise PolicyError(f"{file}: a file of policies has at most {MAX_BYTES // 1024} KiB")
    return _Reading(file, reader(text, file)).policies()


class _Reading:
    """A file that is being read."""

    def __init__(self, file: str, document: Document) -> None:
        self._file = file
        self._document = document

    def policies(self) -> Sequence[Policy]:
        content = self._document.content
        if isinstance(content, dict) and "policies" in content:
            self._known((), content, ("policies",))
            listed = self._list(("policies",), content["policies"], "policies")
            policies = [self._policy(("policies", number), each) for number, each in enumerate(listed)]
        else:
            policies = [self._policy((), content)]
        names = [policy.name for policy in policies]
        for number, name in enumerate(names):
            if name in names[:number]:
                self._refuse(("policies", number), f"there are two policies {name}")
        require_no_conflict(policies)
        return policies

    def _policy(self, at: Path, content: Any) -> Policy:
        fields = self._table(at, content, "a policy")
        self._known(at, fields, Policy.__struct_fields__)
        rules = self._list((*at, "rules"), self._needed(at, fields, "rules"), "rules")
        globs = self._list((*at, "repositories"), self._needed(at, fields, "repositories"), "repositories")
        protect = self._list((*at, "protect"), fields["protect"], "protect") if "protect" in fields else []
        return Policy(
            name=self._name((*at, "name"), self._needed(at, fields, "name")),
            repositories=tuple(self._glob((*at, "repositories", n), each) for n, each in enumerate(globs)),
            rules=tuple(self._rule((*at, "rules", n), each) for n, each in enumerate(rules)),
            status=self._status((*at, "status"), fields.get("status", "DISABLED")),
            description=self._text((*at, "description"), fields.get("description", "")),
            protect=tuple(self._regexp((*at, "protect", n), each) for n, each in enumerate(protect)),
        )

    def _rule(self, at: Path, content: Any) -> Rule:
        fields = self._table(at, content, "a rule")
        self._known(at, fields, Rule.__struct_fields__)
        rule = Rule(
            tag_regexp=self._optional(at, fields, "tag_regexp", self._regexp),
            untagged=bool(self._optional(at, fields, "untagged", self._flag)),
            expire_period=self._optional(at, fields, "expire_period", self._period),
            retained_top=self._optional(at, fields, "retained_top", self._number) or 0,
            retained_semver=self._optional(at, fields, "retained_semver", self._number) or 0,
            retained_pulled=self._optional(at, fields, "retained_pulled", self._pulled),
            description=self._optional(at, fields, "description", self._text) or "",
        )
        if rule.tag_regexp is None and not rule.untagged:
            self._refuse(at, "a rule needs tag_regexp, or untagged = true: it says which images it is about")
        if not (rule.expire_period or rule.retained_top or rule.retained_semver or rule.retained_pulled):
            self._refuse(
                at, "a rule needs expire_period, retained_top, retained_semver or retained_pulled: it says what goes"
            )
        return rule

    def _optional(self, at: Path, fields: Mapping[str, Any], name: str, read: Any) -> Any:
        return read((*at, name), fields[name]) if name in fields else None

    def _needed(self, at: Path, fields: Mapping[str, Any], name: str) -> Any:
        if name not in fields:
            self._refuse(at, f"a policy needs {name}")
        return fields[name]

    def _known(self, at: Path, fields: Mapping[str, Any], known: Sequence[str]) -> None:
        for name in fields:
            if name not in known:
                self._refuse((*at, name), f"there is no field {name!r}, but {', '.join(known)}")

    def _table(self, at: Path, value: Any, what: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._refuse(at, f"{what} is a table of fields, not {value!r:.99}")
        return value

    def _list(self, at: Path, value: Any, what: str) -> list[Any]:
        if not isinstance(value, list) or not value:
            self._refuse(at, f"{what} is a list of at least one, not {value!r:.99}")
        return value

    def _name(self, at: Path, value: Any) -> str:
        try:
            return str(Tag.parse(self._text(at, value)))
        except TagInvalid:
            self._refuse(at, f"a policy's name is letters, digits, '_', '.' and '-', not {value!r:.99}")

    def _status(self, at: Path, value: Any) -> Status:
        if value not in ("ACTIVE", "DISABLED"):
            self._refuse(at, f"status is ACTIVE or DISABLED, not {value!r:.99}")
        return cast("Status", value)

    def _text(self, at: Path, value: Any) -> str:
        if not isinstance(value, str) or len(value) > MAX_LENGTH or _HALF.search(value):
            name = next(step for step in reversed(at) if isinstance(step, str))
            self._refuse(at, f"{name} is a text of at most {MAX_LENGTH} characters, not {value!r:.99}")
        return value

    def _flag(self, at: Path, value: Any) -> bool:
        if not isinstance(value, bool):
            self._refuse(at, f"{at[-1]} is true or false, not {value!r:.99}")
        return value

    def _number(self, at: Path, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MOST:
            self._refuse(at, f"{at[-1]} is a whole number from 0 to {_MOST}, not {value!r:.99}")
        return value

    def _period(self, at: Path, value: Any) -> int:
        match = _PERIOD.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self._refuse(at, f"{at[-1]} is a number and s, m, h or d, like 48h, not {value!r:.99}")
        seconds = int(match[1]) * _UNITS[match[2]]
        if seconds == 0 or seconds % _DAY:
            self._refuse(at, f"{at[-1]} is a multiple of 24h, not {value}")
        return seconds

    def _pulled(self, at: Path, value: Any) -> int:
        seconds = self._period(at, value)
        if seconds > LONGEST:
            self._refuse(at, f"{at[-1]} is at most {LONGEST // _DAY}d, since pulls are not remembered for longer")
        return seconds

    def _regexp(self, at: Path, value: Any) -> str:
        text = self._text(at, value)
        try:
            regexp(text)
        except ValueError as error:
            self._refuse(at, str(error))
        return text

    def _glob(self, at: Path, value: Any) -> str:
        if not isinstance(value, str) or not _GLOB.fullmatch(value):
            self._refuse(
                at, f"a repository is lowercase letters, digits, separators, and '*', '**' or '?', not {value!r:.99}"
            )
        glob(value)
        return value

    def _refuse(self, at: Path, why: str) -> NoReturn:
        raise PolicyError(f"{self._file}, line {self._document.line(at)}: {why}")
