"""What a scrub finds wrong, and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "corrupt-record",
    "stray-key",
    "missing-blob",
    "missing-manifest",
    "dangling-tag",
    "unlisted-tag",
    "dead-referrer",
    "missing-referrer",
    "dangling-link",
    "quarantined-bytes",
    "corrupt-bytes",
    "missing-bytes",
    "wrong-size",
    "missing-marker",
    "empty-repository",
    "lost-link",
]
"""docs/scrub.md says what each means, what follows from it and how it is mended."""

Outcome = Literal["found", "mended", "quarantined", "changed"]
"""`changed`: somebody else changed it right before it was to be mended; the next scrub tells what it is now."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong under `key`, in a sentence; a note takes nothing from what is served, or may be meant to be so."""

    kind: Kind
    key: str
    why: str
    repository: str | None = None
    digest: str | None = None
    is_note: bool = False
    outcome: Outcome = "found"

    @property
    def is_open(self) -> bool:
        """Whether it is damage that is still there, or content, a tag or a link that was lost by it and not brought back."""
        if self.is_note or self.outcome == "mended":
            return False
        return self.outcome != "quarantined" or not (self.kind == "dangling-tag" or _is_derived(self.key))


def _is_derived(key: str) -> bool:
    """Whether what lay under a key follows from the manifests, and is written again once it is out of the way."""
    return key.startswith("catalog/") or "/_referrers/" in key


Observe = Callable[[Finding], None]
