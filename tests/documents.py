"""Reads the pages of the documentation: their blocks of code, their links, and the anchors that links may name."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"^(?:<!-- run: (?P<run>[\w-]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    """README, CHANGELOG, all pages below docs/, and the READMEs of terraform/."""
    others = [*sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "terraform").rglob("README.md"))]
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *others]


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code. `run` is the name by which a test runs it, said in a comment before it; the comment is not shown."""

    page: Path
    language: str
    text: str
    run: str | None

    def commands(self) -> list[str]:
        """Its lines as a shell would take them: those that are continued joined, comments left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in (re.sub(r"(^|\s)#.*", "", each).strip() for each in lines) if line]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of code of a page."""
    for found in _BLOCK.finditer(page.read_text("utf-8")):
        yield Block(page, found["language"], found["text"], found["run"])


def block(page: str, run: str) -> Block:
    """The one block of `page` that is run by that name."""
    (found,) = [each for each in blocks(ROOT / page) if each.run == run]
    return found


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _BLOCK.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """Where a page's links lead, but for those to other hosts."""
    return [link for link in _LINK.findall(prose(page)) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them: lower case, spaces to hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.+?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
