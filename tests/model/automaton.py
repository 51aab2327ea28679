"""A generator as a graph of control states, so that what an actor does need not be run again for every order of steps."""

import dis
import gc
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from itertools import pairwise
from types import CodeType, GeneratorType
from typing import Any

from tests.model.steps import Actor, Request

DONE = -1


class Automaton:
    """A generator as a graph: two histories after which it stands at the same place with the same values are one control state."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._numbers: dict[Hashable, int] = {}
        self._histories: list[tuple[Hashable, ...]] = []
        self._next: dict[tuple[int, Hashable], int] = {}
        self.requests: list[Request] = []
        self.start = self._enter(())

    def advance(self, control: int, answer: Hashable) -> int:
        """The control state after an answer."""
        following = self._next.get((control, answer))
        if following is None:
            following = self._next[control, answer] = self._enter((*self._histories[control], answer))
        return following

    def _enter(self, history: tuple[Hashable, ...]) -> int:
        generator = self._actor()
        try:
            request = next(generator)
            for answer in history:
                request = generator.send(answer)
        except StopIteration:
            return DONE
        place = (request, tuple(_frames(generator)))
        number = self._numbers.setdefault(place, len(self.requests))
        if number == len(self.requests):
            self.requests.append(request)
            self._histories.append(history)
        return number


def _frames(generator: Any) -> Iterable[Hashable]:
    """Of a suspended generator and those that it delegates to: the place, what is still needed of the locals, and loops' positions.

    A loop's position is in an iterator on the stack, which the collector of Python's garbage can see. So `yield` MUST stand alone in
    its statement or assignment, and loops MUST go over tuples and ranges.
    """
    while isinstance(generator, GeneratorType):
        frame = generator.gi_frame
        assert frame is not None  # it is suspended
        needed = _needed(frame.f_code)[frame.f_lasti]
        values = tuple((name, value) for name, value in sorted(frame.f_locals.items()) if name in needed)
        loops = tuple(each.__reduce__()[1:] for each in gc.get_referents(generator) if isinstance(each, _ITERATORS))
        yield (frame.f_code.co_qualname, frame.f_lasti, values, loops)
        generator = generator.gi_yieldfrom


_ITERATORS = (type(iter(())), type(iter(range(0))))


@cache
def _needed(code: CodeType) -> Mapping[int, frozenset[str]]:
    """The variables that may still be read after each instruction, by its offset."""
    instructions = list(dis.get_instructions(code))
    following = {this.offset: {after.offset} for this, after in pairwise(instructions)}
    following[instructions[-1].offset] = set()
    for each in instructions:
        if each.opcode in dis.hasjrel or each.opcode in dis.hasjabs:
            following[each.offset].add(each.argval)
    always = frozenset((*code.co_cellvars, *code.co_freevars))
    before = {each.offset: always for each in instructions}
    after = dict(before)
    while True:
        old = dict(before)
        for each in reversed(instructions):
            after[each.offset] = always.union(*(before[offset] for offset in following[each.offset]))
            names = frozenset(each.argval if isinstance(each.argval, tuple) else (each.argval,))
            if "LOAD_FAST" in each.opname:
                before[each.offset] = after[each.offset] | names
            elif each.opname == "STORE_FAST":
                before[each.offset] = after[each.offset] - names | always
            else:
                before[each.offset] = after[each.offset]
        if old == before:
            return after
