"""Regular expressions and globs from users: RE2's, which take time in proportion to the text, whatever they are."""

from collections.abc import Callable, Iterable

import re2

MAX_LENGTH = 256

Matches = Callable[[str], bool]

# Tags and repositories as unlike each other as can be: what takes all of them takes everything.
_TAGS = ("a", "Z", "7", "_", "latest", "v1.2.3-rc.1", "main__2024-01-31", "x" * 128, "9" * 127, "sha256-" + "0f" * 32)
_NAMES = ("a", "7", "library", "a/b", "team-x/app_1/part.two", "0/0/0/0/0/0/0/0", "z" * 255)


def regexp(text: str) -> Matches:
    """Whether a whole tag matches `text`; raises ValueError with what is wrong with it."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a regular expression has at most {MAX_LENGTH} characters, not {len(text)}")
    return _compiled(text)


def glob(text: str) -> Matches:
    """Whether a whole name matches `text`: `*` and `?` are any characters and one but slashes, `**` any characters."""
    return _compiled("".join(_parts(text)))


def example(text: str) -> str:
    """A name that a glob matches."""
    return text.replace("*", "a").replace("?", "a")


def takes_every_tag(regexps: Iterable[str]) -> bool:
    """Whether every tag matches one of the regular expressions, as far as a few very different tags can tell."""
    return _takes_all([regexp(each) for each in regexps], _TAGS)


def takes_every_name(globs: Iterable[str]) -> bool:
    """Whether every repository matches one of the globs, as far as a few very different names can tell."""
    return _takes_all([glob(each) for each in globs], _NAMES)


def _takes_all(patterns: list[Matches], texts: Iterable[str]) -> bool:
    return all(any(matches(text) for matches in patterns) for text in texts)


def _compiled(text: str) -> Matches:
    options = re2.Options()
    options.log_errors = False  # they are raised, and nobody wants them on standard error as well
    try:
        compiled = re2.compile(text, options)
    except re2.error as error:
        raise ValueError(f"a regular expression of RE2, not {text!r}: {_reason(error)}") from None
    return lambda candidate: compiled.fullmatch(candidate) is not None


def _reason(error: Exception) -> str:
    reason = error.args[0]
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)


def _parts(text: str) -> Iterable[str]:
    for number, part in enumerate(text.split("**")):
        if number:
            yield ".*"
        yield re2.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
