"""The engine finds what can happen, all of it, and takes nothing for the same that is not."""

import pytest

from tests.model.automaton import Automaton
from tests.model.engine import Facts, Model, Part, Scenario, Verdict
from tests.model.steps import Answer, Begin, Bound, Delete, Get, Held, Listing, Note, Now, Put, Step, Store, apply


def sound(store: Store, facts: Facts, clock: int) -> str | None:
    """Nothing is ever wrong."""
    return None


def count_up() -> Step[None]:
    """Read, then write one more, without a condition."""
    held: Held | None = yield Get("n")
    number = held.body if held is not None else 0
    assert isinstance(number, int)
    yield Put("n", number + 1)


def verdict(*parts: Part, says: dict[int, str] | None = None) -> Verdict:
    """Of actors that count up: what `says` has for the count once all have ended is wrong."""

    def closing(store: Store, facts: Facts, clock: int) -> str | None:
        count = store["n"].body if "n" in store else 0
        return (says or {}).get(count) if isinstance(count, int) else None

    return Model(Scenario(parts, {}, sound, 0, closing)).explore()


def test_an_update_is_lost_in_some_order() -> None:
    """Two actors that read before either writes MUST be found, with the steps that lead there."""
    found = verdict(Part("a", count_up), Part("b", count_up), says={1: "one was lost"})
    assert found.violation == "one was lost"
    assert [label[0] for label in found.trace].count("a") == 2
    assert "one was lost, after" in str(found)


def test_both_count_in_some_order() -> None:
    """So MUST be the order in which nothing is lost."""
    assert verdict(Part("a", count_up), Part("b", count_up), says={2: "both counted"}).violation == "both counted"


def test_a_crash_comes_right_after_a_write() -> None:
    """What an actor has written MUST stay though it gets no further."""

    def twice() -> Step[None]:
        yield Put("n", 1)
        yield Put("n", 2)

    assert verdict(Part("a", twice), says={1: "half of it"}).violation is None
    assert verdict(Part("a", twice, crashes=True), says={1: "half of it"}).violation == "half of it"


@pytest.mark.parametrize("count", [0, 1])
def test_a_lost_answer_is_of_a_write_that_was_applied_or_not(count: int) -> None:
    """Both MUST be tried, and the actor told neither."""

    def ask() -> Step[None]:
        answer: Answer = yield Put("n", 1, None)
        if answer is not Answer.LOST:
            yield Put("n", 5)

    assert verdict(Part("a", ask, losses=1), says={count: "so it was"}).violation == "so it was"


def test_time_waits_for_who_is_bounded() -> None:
    """Between two steps of a bounded actor the clock MUST NOT tick more often than its bound allows, but otherwise as it likes."""

    def wait(is_bounded: bool) -> Step[None]:
        yield Begin(1)
        first: int = yield Now()
        if not is_bounded:
            yield Bound(None)
        second: int = yield Now()
        yield Note(second - first)

    def late(store: Store, facts: Facts, clock: int) -> str | None:
        return "late" if facts & {2, 3, 4} else None

    for is_bounded in (True, False):
        scenario = Scenario((Part("a", lambda: wait(is_bounded)),), {}, late, 4)  # noqa: B023 - explored at once
        assert Model(scenario).explore().violation == (None if is_bounded else "late")


def test_conditions_are_kept() -> None:
    """A conditional write or delete MUST take effect on the state it names alone."""
    held = {"k": Held("a", 3)}
    assert apply(Put("k", "b", None), held, 4) == (Answer.REFUSED, held)
    assert apply(Put("k", "b", "c"), held, 4) == (Answer.REFUSED, held)
    assert apply(Put("k", "b", "a"), held, 4) == (Answer.APPLIED, {"k": Held("b", 4)})
    assert apply(Put("l", "b", None), held, 4) == (Answer.APPLIED, {**held, "l": Held("b", 4)})
    assert apply(Delete("k", "c"), held, 4) == (Answer.REFUSED, held)
    assert apply(Delete("k", "a"), held, 4) == (Answer.APPLIED, {})
    listed = {key: Held("x", 0) for key in ("p/a", "p/b", "p/c", "q")}
    assert apply(Listing("p/", "p/a", 1), listed, 4)[0] == (("p/b", Held("x", 0)),)


def loops() -> Step[None]:
    """Reads four times, in two loops whose variables nobody reads, and writes how often it saw something."""
    seen = 0
    for _ in range(2):
        for _ in (0, 0):
            held: Held | None = yield Get("n")
            seen += held is not None
    yield Put("seen", seen)


def test_places_in_a_loop_are_told_apart() -> None:
    """A loop MUST end after as many turns as it has, though nothing but its position differs between them."""
    automaton = Automaton(loops)
    states, control = set[int](), automaton.start
    while isinstance(automaton.requests[control], Get):
        states.add(control)
        control = automaton.advance(control, None)
    assert len(states) == 4
    assert automaton.requests[control] == Put("seen", 0)


def test_what_is_forgotten_makes_no_difference() -> None:
    """Two histories MUST be one control state if they differ only in what the actor reads no more."""

    def forgetful() -> Step[None]:
        held: Held | None = yield Get("n")
        known = held is not None
        yield Get("m")
        yield Put("known", known)

    automaton = Automaton(forgetful)
    some, others = (automaton.advance(automaton.start, Held(number, 0)) for number in (1, 2))
    none = automaton.advance(automaton.start, None)
    assert some == others != none


def test_merging_states_hides_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can be reached MUST be the same if no two histories of an actor are taken for one."""

    def reached() -> set[object]:
        found = set[object]()

        def note(store: Store, facts: Facts, clock: int) -> str | None:
            found.add(frozenset(store.items()))
            return None

        parts = (Part("a", loops), Part("b", count_up, crashes=True), Part("c", count_up))
        assert Model(Scenario(parts, {}, note, 0)).explore().is_whole
        return found

    merged = reached()

    def enter(automaton: Automaton, history: tuple[object, ...]) -> int:
        number = original(automaton, history)
        if number < 0 or automaton._histories[number] == history:  # noqa: SLF001
            return number
        automaton.requests.append(automaton.requests[number])
        automaton._histories.append(history)  # noqa: SLF001
        return len(automaton.requests) - 1

    original = Automaton._enter  # noqa: SLF001
    monkeypatch.setattr(Automaton, "_enter", enter)
    assert reached() == merged
