"""TOML and YAML that is read with the line of each value, so that whoever refuses one can say where it is."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from storage.errors import PolicyError

Path = tuple[str | int, ...]

_LINE = re.compile(r" \(at line (\d+), column \d+\)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, and the lines, counted from 1, on which its keys and values begin."""

    content: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, at: Path) -> int:
        """The line of a value, or of the nearest one around it."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)


def read_toml(text: str, file: str) -> Document:
    """Read TOML; raises PolicyError."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    try:
        content = tomllib.loads(text)
        scanner.document()
    except (ValueError, RecursionError) as error:
        said = str(error)
        found = _LINE.search(said)
        line = int(found[1]) if found else text.count("\n") + 1
        raise PolicyError(f"{file}, line {line}: no TOML: {_LINE.sub('', said)}") from None
    return Document(content, scanner.lines)


class _Scanner:
    """Goes through a text that is TOML, and notes where values begin."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._arrays: dict[Path, int] = {}
        self.lines: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        while self._skip():
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._element(self._key())
                self._at = self._text.index("]]", self._at) + 2
            elif self._text[self._at] == "[":
                self._at += 1
                self._note(table := self._inner(self._key()))
                self._at = self._text.index("]", self._at) + 1
            else:
                self._pair(table)

    def _element(self, key: Path) -> Path:
        """A new table of an array of tables."""
        array = (*self._inner(key[:-1]), key[-1])
        self._note(array)
        number = self._arrays[array] = self._arrays.get(array, -1) + 1
        self._note((*array, number))
        return (*array, number)

    def _inner(self, key: Path) -> Path:
        """The path of a key in a header, which means the last table of each array on its way."""
        path: Path = ()
        for part in key:
            path = (*path, part)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        key = (*table, *self._key())
        for length in range(len(table) + 1, len(key) + 1):
            self.lines.setdefault(key[:length], line)
        self._skip()
        self._at += 1  # the equals sign
        self._value(key)

    def _value(self, path: Path) -> None:
        self._skip()
        if path not in self.lines:
            self._note(path)
        if self._text[self._at] == "[":
            for number in self._items("]"):
                self._value((*path, number))
        elif self._text[self._at] == "{":
            for _ in self._items("}"):
                self._pair(path)
        else:
            found = _STRING.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            self._at = found.end() if found else self._at + 1

    def _items(self, end: str) -> Iterator[int]:
        """The numbers of the items between brackets, each of which is there to be read when its number is given."""
        self._at += 1
        number = 0
        while self._skip() and self._text[self._at] != end:
            yield number
            number += 1
            self._skip()
            self._at += self._text[self._at] == ","
        self._at += 1

    def _key(self) -> Path:
        """A key, dotted or not."""
        parts: list[str | int] = []
        while True:
            self._skip()
            found = _BARE.match(self._text, self._at) or _STRING.match(self._text, self._at)
            assert found is not None  # noqa: S101 - this is TOML
            parts.append(found[0] if found[0][0] not in "\"'" else next(iter(tomllib.loads(f"{found[0]} = 0"))))
            self._at = found.end()
            self._skip()
            if self._text[self._at] != ".":
                return tuple(parts)
            self._at += 1

    def _skip(self) -> bool:
        """Go on to what is neither blank nor comment; whether there is any."""
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._at < len(self._text)

    def _note(self, path: Path) -> None:
        self.lines.setdefault(path, self._line())

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1


class _Loader(yaml.SafeLoader):
    """Without aliases, of which a few lines can make any amount."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """See yaml.composer.Composer."""
        if self.check_event(yaml.AliasEvent):
            alias = self.get_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not taken here", problem_mark=alias.start_mark)
        return super().compose_node(parent, index)


def read_yaml(text: str, file: str) -> Document:
    """Read YAML; raises PolicyError."""
    document = Document(None)
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        content = _plain(loader, node, (), document.lines) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _no_yaml(file, mark.line if mark else 0, error.problem or error.context) from None
    except yaml.reader.ReaderError as error:
        raise _no_yaml(file, text.count("\n", 0, error.position), error.reason) from None
    except RecursionError as error:
        raise _no_yaml(file, 0, str(error)) from None
    return Document(content, document.lines)


def _no_yaml(file: str, line: int, why: object) -> PolicyError:
    return PolicyError(f"{file}, line {line + 1}: no YAML: {why}")


def _plain(loader: yaml.SafeLoader, node: yaml.Node, at: Path, lines: dict[Path, int]) -> Any:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(loader, each, (*at, number), lines) for number, each in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        try:
            return loader.construct_object(node)
        except (ValueError, LookupError, AttributeError) as error:
            # A date that there never was, or what its tag says it is not.
            raise yaml.MarkedYAMLError(problem=str(error), problem_mark=node.start_mark) from None
    table: dict[str, Any] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in table:
            raise yaml.MarkedYAMLError(problem=f"{name!r} is there twice", problem_mark=key.start_mark)
        lines[(*at, name)] = key.start_mark.line + 1
        table[name] = _plain(loader, value, (*at, name), lines)
    return table
