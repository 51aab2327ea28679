"""What the processes of this gateway take from the machine: the parent, its workers and what else it started, summed.

The names are those that all of Prometheus's clients use. They are read from /proc/PID alone, since units of systemd may hide
the rest of /proc; where there is none, as on macOS, there are no such metrics.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_PROC = Path("/proc")
_AGAIN = 3  # looks at most until no process has ended meanwhile
# Places of fields in /proc/PID/stat behind the command's name, proc(5).
_PPID, _UTIME, _STIME, _CUTIME, _CSTIME, _START, _VSIZE, _RSS = 1, 11, 12, 13, 14, 19, 20, 21


class Usage(NamedTuple):
    """Of one process: seconds, bytes, files.

    `started` counts from the machine's start; `ended` is the CPU time of its children that were waited for.
    """

    cpu: float
    ended: float
    started: float
    virtual: int
    resident: int
    files: int
    most_files: int


class Processes(Collector):
    """Collects the usage of the process `root` and of its children. `clock` is asked when the machine started, once."""

    def __init__(self, root: int, clock: Callable[[], float]) -> None:
        self._root = root
        self._clock = clock

    def collect(self) -> Iterable[Metric]:
        """The metrics, none if nothing can be read."""
        with suppress(OSError, ValueError, IndexError):
            yield from _metrics(self._usages(), self._booted)

    @cached_property
    def _booted(self) -> int:
        """When the machine started, in seconds since 1970; whole ones, so that all workers say the same."""
        return round(self._clock() - time.clock_gettime(time.CLOCK_BOOTTIME))

    def _usages(self) -> list[Usage]:
        """The root's usage, and then its children's, at a time when none of them went over from the one to the other."""
        for _ in range(_AGAIN):
            children = [usage for usage in map(_usage_if_there, _children(self._root)) if usage]
            root = _usage(self._root)
            if root.ended == _usage(self._root).ended:
                break
        return [root, *children]


def _metrics(usages: list[Usage], booted: int) -> Iterator[Metric]:
    cpu = sum(usage.cpu for usage in usages) + usages[0].ended
    yield CounterMetricFamily("process_cpu_seconds_total", "CPU time of all processes, in seconds.", value=cpu)
    gauges = (
        ("process_start_time_seconds", "When the gateway started, in seconds since 1970.", booted + usages[0].started),
        ("process_virtual_memory_bytes", "Virtual memory of all processes.", sum(each.virtual for each in usages)),
        ("process_resident_memory_bytes", "Resident memory of all processes.", sum(each.resident for each in usages)),
        ("process_open_fds", "Open files of all processes.", sum(each.files for each in usages)),
        ("process_max_fds", "The most files that all may have open.", sum(each.most_files for each in usages)),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(name, text, value=value)


def _children(root: int) -> Iterator[int]:
    for directory in _PROC.iterdir():
        if directory.name.isdigit():
            with suppress(OSError):
                if int(_stat(int(directory.name))[_PPID]) == root:
                    yield int(directory.name)


def _usage_if_there(pid: int) -> Usage | None:
    """The usage, None of a process that has ended meanwhile."""
    with suppress(OSError):
        return _usage(pid)
    return None


def _usage(pid: int) -> Usage:
    fields = _stat(pid)
    ticks = os.sysconf("SC_CLK_TCK")

    def seconds(*places: int) -> float:
        return sum(int(fields[place]) for place in places) / ticks

    directory = _PROC / str(pid)
    return Usage(
        cpu=seconds(_UTIME, _STIME),
        ended=seconds(_CUTIME, _CSTIME),
        started=seconds(_START),
        virtual=int(fields[_VSIZE]),
        resident=int(fields[_RSS]) * os.sysconf("SC_PAGE_SIZE"),
        files=len(list((directory / "fd").iterdir())),
        most_files=_soft_limit((directory / "limits").read_text()),
    )


def _stat(pid: int) -> list[str]:
    """The fields behind the command's name, which may itself hold blanks and brackets."""
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _soft_limit(limits: str) -> int:
    soft = next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3]
    return 0 if soft == "unlimited" else int(soft)
