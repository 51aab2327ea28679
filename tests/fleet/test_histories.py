"""The judge tells histories that a register could have from those that none could."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fleet.histories import History, Operation, judge

LONG = 40


def history(*operations: Operation) -> History:
    """A history of one tag."""
    return History(list(operations))


def op(kind: str, value: str, call: int, ends: int | None, *, found: bool = False) -> Operation:
    """An operation on the tag `a`, by a client of its own for each moment."""
    assert kind in {"write", "read", "delete"}
    return Operation(call, "a", kind, value, found, call, ends)  # type: ignore[arg-type]


POSSIBLE = {
    "one after the other": [op("write", "x", 1, 2), op("read", "x", 3, 4), op("delete", "", 5, 6, found=True)],
    "nothing there": [op("read", "", 1, 2), op("delete", "", 3, 4)],
    "a read beside a write sees either": [
        op("write", "x", 1, 2),
        op("write", "y", 3, 9),
        op("read", "x", 4, 5),
        op("read", "y", 6, 7),
    ],
    "an unanswered write takes effect late": [
        op("write", "x", 1, None),
        op("read", "", 2, 3),
        op("read", "", 4, 5),
        op("read", "x", 6, 7),
    ],
    "an unanswered write never takes effect": [op("write", "x", 1, None), op("read", "", 2, 3)],
    "an unanswered delete takes effect": [
        op("write", "x", 1, 2),
        op("delete", "", 3, None),
        op("read", "x", 4, 5),
        op("read", "", 6, 7),
    ],
    "two deletes at once may both find it": [
        op("write", "x", 1, 2),
        op("delete", "", 3, 6, found=True),
        op("delete", "", 4, 5, found=True),
    ],
}
IMPOSSIBLE = {
    "a stale read": [op("write", "x", 1, 2), op("write", "y", 3, 4), op("read", "x", 5, 6)],
    "a read of what nobody wrote": [op("read", "x", 1, 2)],
    "a lost update": [
        op("write", "x", 1, 2),
        op("write", "y", 3, 4),
        op("read", "y", 5, 6),
        op("read", "x", 7, 8),
    ],
    "two readers disagree on the order": [
        op("write", "x", 1, 20),
        op("write", "y", 1, 20),
        op("read", "x", 2, 3),
        op("read", "y", 4, 5),
        op("read", "x", 6, 7),
    ],
    "a deleted tag comes back": [
        op("write", "x", 1, 2),
        op("delete", "", 3, 4, found=True),
        op("read", "x", 5, 6),
    ],
    "a delete that was answered 404 has deleted": [
        op("write", "x", 1, 2),
        op("delete", "", 3, 4),
        op("read", "", 5, 6),
    ],
    "an unanswered write takes effect twice": [
        op("write", "x", 1, None),
        op("read", "x", 2, 3),
        op("write", "y", 4, 5),
        op("read", "y", 6, 7),
        op("read", "x", 8, 9),
    ],
}


@pytest.mark.parametrize("operations", POSSIBLE.values(), ids=POSSIBLE)
def test_what_a_register_could_answer(linearizable: Path, operations: Sequence[Operation]) -> None:
    """A history that an order of its operations explains MUST be taken."""
    assert judge(linearizable, history(*operations)).linearizable


@pytest.mark.parametrize("operations", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_no_register_could_answer(linearizable: Path, operations: Sequence[Operation]) -> None:
    """A history that no order explains MUST be refused."""
    verdict = judge(linearizable, history(*operations))
    assert (verdict.wrong, verdict.undecided) == (["a"], [])


def test_one_wrong_tag_among_many(linearizable: Path) -> None:
    """Tags MUST be judged each by itself, and the wrong one be named."""
    right = [Operation(0, f"t{tag}", "write", "x", False, 1, 2) for tag in range(LONG)]
    verdict = judge(linearizable, history(*right, *IMPOSSIBLE["a stale read"]))
    assert (verdict.wrong, verdict.tags) == (["a"], LONG + 1)
