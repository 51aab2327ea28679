import pytest

from storage.periods import Periods

# S3 tells LastModified in whole seconds, so that an age may seem that much greater than it is.
RESOLUTION = 1.0


@pytest.mark.parametrize(
    "periods", [Periods(), Periods(grace=3600.0), Periods.shortened(8.0, 8.0), Periods.shortened(60.0, 5.0)]
)
def test_the_orders_hold(periods: Periods) -> None:
    """Each order that removal rests on MUST leave room for the resolution of the store's times, in tests too."""
    assert periods.view_age + periods.bound + RESOLUTION < periods.quiet
    assert periods.quiet + RESOLUTION < periods.grace
    assert periods.bound + RESOLUTION < periods.skew
    assert periods.horizon + periods.quiet + RESOLUTION < periods.purge_age
    assert periods.notice >= periods.skew + periods.bound + RESOLUTION
    assert periods.last_words >= periods.skew + periods.bound
