"""The steps inside of the embedded store at which a process may die: files that grow, are completed and removed, rows that change."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest

from storage.objects.embedded import EmbeddedStore
from storage.objects.embedded_files import BodyFiles, Draft
from tests.crash.dying import Point

STEPS: tuple[tuple[type, str], ...] = (
    (Draft, "append"),
    (Draft, "complete"),
    (BodyFiles, "remove"),
    (EmbeddedStore, "_announce"),
    (EmbeddedStore, "_replace"),
    (EmbeddedStore, "_delete"),
)


@contextmanager
def counted(point: Point | None, die: Callable[[], NoReturn]) -> Iterator[list[str]]:
    """Note every step that the embedded store takes meanwhile, in whatever thread, and die right before or after one of them."""
    done: list[str] = []
    lock = threading.Lock()

    def wrapped(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(step)
        def stepping(*arguments: Any) -> Any:
            with lock:
                done.append(name)
                number = len(done)
            if point == Point(number, "before"):
                die()
            try:
                return step(*arguments)
            finally:
                if point == Point(number, "after"):
                    die()

        return stepping

    with pytest.MonkeyPatch.context() as patched:
        for kind, name in STEPS:
            patched.setattr(kind, name, wrapped(name, getattr(kind, name)))
        yield done
