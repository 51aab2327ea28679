"""Where a run is made, and when."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.results import Machine


def this_machine() -> Machine:
    """The machine as it is now."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 0,
        memory_gib=round(psutil.virtual_memory().total / 1024**3),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        load_average=round(os.getloadavg()[0], 1),
    )


def today() -> str:
    """The date of a run, in UTC."""
    return datetime.now(UTC).date().isoformat()


def _processor() -> str:
    """What Linux calls the processor: of several, the first."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
