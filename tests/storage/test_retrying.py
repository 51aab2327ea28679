"""What is raised once the time for attempts is over."""

import asyncio

import pytest

from storage.errors import Unavailable
from storage.objects.retrying import Retries, Transient

SECONDS = 0.3


async def test_an_attempt_that_the_deadline_cuts_does_not_hide_what_failed_before() -> None:
    """The last error tells more than that time was over: nothing listens there, say."""
    refused = Transient("connection refused")
    cause = refused.__cause__ = OSError("refused")
    attempts = 0

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        if attempts > 1:
            await asyncio.Event().wait()
        raise refused

    with pytest.raises(Transient) as raised:
        await Retries(SECONDS)(attempt)
    assert raised.value is refused
    assert raised.value.__cause__ is cause
    assert attempts == 2


async def test_no_answer_at_all() -> None:
    """It is the time that is told."""
    with pytest.raises(Unavailable, match=r"gave no answer within 0\.3 s"):
        await Retries(SECONDS)(asyncio.Event().wait)
