"""What actors yield: requests to a store, each one atomic step, and what takes no step; and what the store makes of them."""

from collections.abc import Callable, Generator, Hashable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

Result = TypeVar("Result")
Step = Generator["Request", Any, Result]
Actor = Callable[[], Step[None]]


class Over(Enum):
    """What a write asks of the state before it."""

    ANY = auto()


class Answer(Enum):
    """What a write tells: that it was applied, that it met another state, or nothing, since the answer was lost."""

    APPLIED = auto()
    REFUSED = auto()
    LOST = auto()


@dataclass(frozen=True, slots=True)
class Held:
    """What the store holds under a key: its body, which is also its etag, since every body has a nonce; and LastModified."""

    body: Hashable
    modified: int


class Request:
    """What an actor asks for."""


@dataclass(frozen=True, slots=True)
class Get(Request):
    """Read a key: Held, or None."""

    key: str


@dataclass(frozen=True, slots=True)
class Listing(Request):
    """The first `limit` keys with the prefix after `after`, in one page: pairs of key and Held."""

    prefix: str
    after: str = ""
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Put(Request):
    """Write a body over the body `over`, over nothing if that is None: an Answer."""

    key: str
    body: Hashable
    over: Hashable = Over.ANY


@dataclass(frozen=True, slots=True)
class Delete(Request):
    """Remove a key, only while it has the body `over`: an Answer."""

    key: str
    over: Hashable = Over.ANY


@dataclass(frozen=True, slots=True)
class Now(Request):
    """The store's time, read by a request: whoever asks may sleep after it."""


@dataclass(frozen=True, slots=True)
class Begin(Request):
    """A client's request arrives: from now on it takes at most `bound` ticks."""

    bound: int


@dataclass(frozen=True, slots=True)
class Clock(Request):
    """The time, without a request: read at the very moment of the step before it."""


@dataclass(frozen=True, slots=True)
class Nonce(Request):
    """A nonce that nobody has drawn before. No step."""


@dataclass(frozen=True, slots=True)
class Bound(Request):
    """Be bounded to `ticks` from now on, or no more if that is None. No step."""

    ticks: int | None


@dataclass(frozen=True, slots=True)
class Ended(Request):
    """The names of the actors that have ended. No step."""


@dataclass(frozen=True, slots=True)
class Note(Request):
    """Remember a fact for the invariants. No step."""

    fact: Hashable


Store = Mapping[str, Held]


def apply(request: Request, held: Mapping[str, Held], clock: int) -> tuple[Hashable, Mapping[str, Held]]:
    """The store's answer to a request, and what it holds after that: `held` itself if nothing changed."""
    answer: Hashable = None
    match request:
        case Get(key):
            answer = held.get(key)
        case Listing(prefix, after, limit):
            keys = sorted(key for key in held if key.startswith(prefix) and key > after)
            answer = tuple((key, held[key]) for key in keys[:limit])
        case Put(key, _, over) | Delete(key, over):
            if not _meets(held, key, over):
                return Answer.REFUSED, held
            rest = {each: value for each, value in held.items() if each != key}
            return Answer.APPLIED, rest if isinstance(request, Delete) else {**rest, key: Held(request.body, clock)}
        case Now() | Clock():
            answer = clock
        case _:
            pass
    return answer, held


def run_alone(actor: Actor, store: Store, clock: int) -> Store:
    """What the store holds after one actor has run with nobody else there, in no time."""
    generator, nonces = actor(), 0
    answer: Any = None
    while True:
        try:
            request = generator.send(answer)
        except StopIteration:
            return store
        if isinstance(request, Nonce):
            answer, nonces = f"{clock}/{nonces}", nonces + 1
        elif isinstance(request, Ended):
            answer = frozenset()
        else:
            answer, store = apply(request, store, clock)


def _meets(held: Mapping[str, Held], key: str, over: Hashable) -> bool:
    if over is Over.ANY:
        return True
    return key not in held if over is None else key in held and held[key].body == over
