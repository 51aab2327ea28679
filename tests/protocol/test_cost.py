"""docs/cost.md says what operations cost, out of what they are found to take."""

from tests.protocol import cost
from tests.protocol.operations import operations


async def test_the_page_is_what_a_run_finds() -> None:
    """Counts by kind, prices and sums MUST be those of this run, to the letter."""
    page = cost.PAGE.read_text("utf-8")
    assert cost.with_tables(page, await cost.tables()) == page


def test_the_prices_are_told() -> None:
    """What the tables are computed with MUST be what the page says."""
    page = cost.PAGE.read_text("utf-8")
    assert {cost.PRICES[kind] for kind in ("PUT", "COPY", "POST", "LIST")} == {5.00}
    assert {cost.PRICES[kind] for kind in ("GET", "HEAD")} == {0.40}
    assert (
        "$5.00 a million PUT, COPY, POST and LIST,\n  $0.40 a million GET and HEAD, nothing for DELETE; $0.023 a gigabyte"
        in page
    )
    assert cost.STORAGE == 0.023


def test_every_operation_of_theirs_is_one_of_ours() -> None:
    """A count of distribution's stands beside the operation that it was measured with."""
    assert set(cost.DISTRIBUTION) <= {each.name for each in operations(redirect=True)}
