"""When a push must take it that content was deleted since it looked."""

import pytest

from storage.catalog import Catalog
from storage.objects.memory import MemoryStore
from storage.periods import Periods
from storage.records import CatalogMarker
from storage.shelf import Context
from storage.views import Epoch, Moment, View, Views
from tests.protocol.serving import Clock, Nonces

PERIODS = Periods()
VIEWED = 1_700_000_000.0


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0.0, True),
        (PERIODS.skew + PERIODS.bound, True),  # a clock as far ahead as may be, and a removal as late after its mark
        (PERIODS.skew + PERIODS.bound + 2, False),
    ],
)
def test_skew_and_the_time_between_mark_and_removal_add_up(age: float, expected: bool) -> None:
    """A mark so much older than a view MUST still count, and one older than both allow for MUST NOT, or pushes cost more for nothing."""
    clock = Clock()
    views = Views(clock, Epoch(), max_bytes=0)
    catalog = Catalog(Context(MemoryStore(clock), views, clock, Nonces(), PERIODS))
    taken = Moment(VIEWED, b"")
    marker = View("catalog/a", CatalogMarker("0" * 16, deletions=True), '"1"', 100, VIEWED - age, taken)
    assert catalog.deleted_since(marker, taken) is expected
