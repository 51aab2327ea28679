"""What storage/ tells about itself while it works: to whoever measures, in numbers and fixed words alone."""

from typing import Literal, Protocol

from storage.errors import Denied, Invalid, Unavailable

Failure = Literal["unavailable", "denied", "invalid"]


class Observer(Protocol):
    """Is told what happens, on the event loop's thread; MUST return at once and raise nothing."""

    def answered(self, operation: str, requests: int, seconds: float, failure: Failure | None) -> None:
        """An operation of the store contract has ended, after so many `requests` that a store bills; `failure` if the store failed it.

        What is missing, or another's, is an answer and no failure; so is a caller who gave up.
        """
        ...

    def failed(self, operation: str, failure: Failure) -> None:
        """A stream that an operation had begun broke off."""
        ...

    def repeated(self, operation: str) -> None:
        """A request of an operation is sent once more."""
        ...

    def looked(self, *, found: bool) -> None:
        """Something was looked for among what was lately seen, `found` or not."""
        ...


class Unobserved:
    """Nobody measures."""

    def answered(self, operation: str, requests: int, seconds: float, failure: Failure | None) -> None:
        """See Observer.answered."""

    def failed(self, operation: str, failure: Failure) -> None:
        """See Observer.failed."""

    def repeated(self, operation: str) -> None:
        """See Observer.repeated."""

    def looked(self, *, found: bool) -> None:
        """See Observer.looked."""


UNOBSERVED = Unobserved()
_FAILURES: dict[type[Exception], Failure] = {Unavailable: "unavailable", Denied: "denied", Invalid: "invalid"}


def failure_of(error: BaseException) -> Failure | None:
    """How the store failed, None if it did not: NotFound and PreconditionFailed are answers."""
    return next((failure for kind, failure in _FAILURES.items() if isinstance(error, kind)), None)
