"""What processes cost: CPU seconds and memory, of a server with all its processes."""

import resource
import time
from pathlib import Path

import psutil


def cpu_of(pid: int) -> float:
    """The CPU seconds that a process and its children of now have taken, user and system, to the nanosecond."""
    return sum(time.clock_gettime(_clock(process.pid)) for process in _family(pid))


def peak_of(pid: int) -> int:
    """The most memory that any one of the process and its children of now ever held, in bytes."""
    return max(_peak(process.pid) for process in _family(pid))


def own_cpu() -> float:
    """The CPU seconds of this process and of its children that have ended: what the load itself costs."""
    return _taken(resource.RUSAGE_SELF) + ended_cpu()


def ended_cpu() -> float:
    """The CPU seconds of the children of this process that have ended."""
    return _taken(resource.RUSAGE_CHILDREN)


def _clock(pid: int) -> int:
    """The clock that clock_getcpuclockid(3) gives for a process, of which Python has only the one for threads."""
    return ~pid << 3 | 2


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _taken(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime
