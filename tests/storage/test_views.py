"""What a process remembers: positive, bounded in bytes, and at most a minute old."""

from pathlib import Path

import pytest

from storage.views import Epoch, View, Views
from tests.protocol.serving import Clock, Nonces


def views(clock: Clock, epoch: Epoch | None = None, max_bytes: int = 100_000) -> Views:
    """Views of a process."""
    return Views(clock, epoch or Epoch(), max_bytes=max_bytes)


def view(of: Views, key: str, size: int = 10) -> View[str]:
    """What a read that begins now sees."""
    return View(key, "value", "etag", size, 0, of.now())


def test_a_view_is_dated_from_before_its_read_began(clock: Clock) -> None:
    """60 s later it is the last time that it counts, however late it was kept."""
    some = views(clock)
    seen = view(some, "k")
    clock.advance(50)
    some.keep("k", seen)
    clock.advance(10)
    assert some.get("k") is seen
    clock.advance(0.001)
    assert some.get("k") is None


def test_a_view_from_the_future_does_not_count(clock: Clock) -> None:
    """Once the clock was put back, nobody knows how old it is: it would count for a minute more than that."""
    some = views(clock)
    some.keep("k", view(some, "k"))
    clock.advance(-3600)
    assert some.get("k") is None


def test_a_new_epoch_ends_all_views() -> None:
    """Those kept, and those of reads that are still under way."""
    clock, epoch = Clock(), Epoch()
    one, other = views(clock, epoch), views(clock, epoch)
    other.keep("kept", view(other, "kept"))
    under_way = view(other, "late")
    one.begin_epoch("0123456789abcdef")
    other.keep("late", under_way)
    assert other.get("kept") is None
    assert other.get("late") is None
    assert not other.is_recent(under_way.taken)
    other.keep("new", view(other, "new"))
    assert other.get("new") is not None


def test_processes_share_an_epoch_by_a_file(tmp_path: Path) -> None:
    """Those that open the same file, in any order; others do not notice."""
    one, other, apart = Epoch(tmp_path / "e"), Epoch(tmp_path / "e"), Epoch(tmp_path / "x")
    before = apart.read()
    one.advance("0123456789abcdef")
    assert one.read() == other.read() == bytes.fromhex("0123456789abcdef")
    assert Epoch(tmp_path / "e").read() == one.read()
    assert apart.read() == before


def test_the_least_used_goes_first(clock: Clock) -> None:
    """Beyond the bound in bytes, and what is used stays."""
    some = views(clock, max_bytes=10 * 1000)
    for number in range(10):
        some.keep(str(number), view(some, str(number), 400))
    assert some.get("0") is not None
    some.keep("more", view(some, "more", 400))
    assert some.get("0") is not None
    assert some.get("1") is None
    assert some.get("more") is not None


@pytest.mark.parametrize("max_bytes", [0, 100, 5000])
def test_what_is_larger_than_the_bound_is_not_kept(clock: Clock, max_bytes: int) -> None:
    """And the room is there again afterwards."""
    some = views(clock, max_bytes=max_bytes)
    for _ in range(3):
        some.keep("large", view(some, "large", 10_000))
        assert some.get("large") is None
    some.keep("small", view(some, "small", 10))
    assert (some.get("small") is not None) == (max_bytes == 5000)


def test_keeping_again_and_forgetting_gives_room_back(clock: Clock) -> None:
    """The bound is of what is there, not of what ever was."""
    some = views(clock, max_bytes=3000)
    some.keep("stays", view(some, "stays", 100))
    for _ in range(100):
        some.keep("k", view(some, "k", 1000))
        some.get("stays")
    for number in range(100):
        some.keep(str(number), view(some, str(number), 100))
        some.forget(str(number))
        some.forget("never there")
    assert some.get("stays") is not None
    assert some.get("k") is not None


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


def test_nonces_name_epochs() -> None:
    """As long as an epoch is."""
    epoch = Epoch()
    for _ in range(3):
        before = epoch.read()
        epoch.advance(Nonces()())
        assert len(epoch.read()) == len(before) == 8
