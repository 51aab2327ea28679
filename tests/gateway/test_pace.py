"""Pace: who is too slow, by the bytes that moved and the time that was theirs."""

from gateway.pace import Bounds, Pace

BOUNDS = Bounds(timeout=10.0, rate=100.0)


def _first_refusal(pace: Pace, counts: list[int], bounds: Bounds = BOUNDS) -> int | None:
    """After how many seconds, one count of bytes for each, the client is too slow."""
    looks = (second for second, count in enumerate(counts, 1) if pace.is_too_slow(1.0, count, bounds))
    return next(looks, None)


def test_silence_ends_after_the_timeout() -> None:
    """Not sooner, and counted from the last byte."""
    assert _first_refusal(Pace(), [0] * 20) == 10
    assert _first_refusal(Pace(), [5000] * 30) == 11


def test_a_trickle_ends_after_the_timeout() -> None:
    """Bytes below the rate do not help, and those of one window do not count in the next."""
    assert _first_refusal(Pace(), [second * 99 for second in range(1, 30)]) == 10
    assert _first_refusal(Pace(), [100_000 + second for second in range(1, 30)]) == 20


def test_the_rate_is_enough() -> None:
    """For as long as it is kept, in whatever pieces."""
    assert _first_refusal(Pace(), [second * 100 for second in range(1, 200)]) is None
    assert _first_refusal(Pace(), [second // 5 * 5 * 100 + 1000 for second in range(1, 200)]) is None


def test_without_a_rate_a_byte_is_enough() -> None:
    """A rate of 0 leaves the timeout alone."""
    assert _first_refusal(Pace(), [second // 9 for second in range(1, 200)], Bounds(10.0, 0.0)) is None


def test_time_that_was_not_the_clients_is_not_counted() -> None:
    """However long the store takes in between."""
    pace = Pace()
    for _ in range(100):
        assert _first_refusal(pace, [0] * 5, Bounds(10.0, 0.0)) is None
        pace.rest(0)
        pace.begin(0)
    assert _first_refusal(pace, [0] * 9) is None
    pace.rest(0)
    assert not pace.is_too_slow(0.5, 0, Bounds(10.0, 0.0))
