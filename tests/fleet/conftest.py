"""What the tests of several gateways share."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.parts.tools import tool


@pytest.fixture(autouse=True, scope="package")
def quiet() -> Iterator[None]:
    """Gateways of this process log nothing: the faults that they meet are meant."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def linearizable() -> Path:
    """The program that judges histories."""
    return tool("linearizable")
