"""Histories: who asked what of which tag, when, and what the answer was; and the judge of whether a register could have answered so.

The judge is Porcupine, in a small program of ours (tests/fleet/linearizability).
"""

import subprocess
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["write", "read", "delete"]


class Operation(msgspec.Struct, rename={"ends": "return"}):
    """One operation on a tag. `value` is the digest written or read, "" for none; `found` is for deletes alone.

    Times are in nanoseconds by one monotonic clock; `ends` stays None if the client never learned the outcome.
    """

    client: int
    tag: str
    kind: Kind
    value: str = ""
    found: bool = False
    call: int = 0
    ends: int | None = None


class Verdict(msgspec.Struct):
    """What the judge says; `wrong` has the tags that no register explains, `undecided` those that took too long."""

    linearizable: bool
    operations: int
    unanswered: int
    tags: int
    wrong: list[str]
    undecided: list[str]


@dataclass
class History:
    """What happened so far."""

    operations: list[Operation] = field(default_factory=list)

    def begin(self, client: int, tag: str, kind: Kind, value: str = "") -> Operation:
        """Note that a client asks; its outcome is unknown until `end`."""
        operation = Operation(client, tag, kind, value, call=time.monotonic_ns())
        self.operations.append(operation)
        return operation

    def counts(self) -> Counter[str]:
        """How many operations of each kind were answered, and how many were not."""
        return Counter(each.kind if each.ends is not None else f"{each.kind} unanswered" for each in self.operations)


def end(operation: Operation) -> None:
    """Note that the answer, which was put into `operation`, has come."""
    operation.ends = time.monotonic_ns()


def judge(program: Path, history: History) -> Verdict:
    """Whether each tag behaved as a register; raises CalledProcessError for a history that cannot be read."""
    lines = b"\n".join(map(msgspec.json.encode, history.operations))
    done = subprocess.run([program, "-limit", "60s"], input=lines, capture_output=True, check=False, timeout=300)
    if not done.stdout:
        done.check_returncode()
    return msgspec.json.decode(done.stdout, type=Verdict)
