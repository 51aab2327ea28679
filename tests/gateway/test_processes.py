"""The metrics of processes, out of no more of /proc than a hardened unit leaves."""

import os
import resource
import time
from pathlib import Path

import psutil
import pytest

from gateway import processes
from gateway.processes import Processes


def test_the_directories_of_processes_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc has nothing but them, as under ProcSubset=pid, all six metrics MUST be there, and the start be right."""
    (tmp_path / str(os.getpid())).symlink_to(f"/proc/{os.getpid()}")
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    found = {metric.name: metric.samples[0].value for metric in Processes(os.getpid(), time.time).collect()}
    assert set(found) == {
        "process_cpu_seconds",
        "process_start_time_seconds",
        "process_virtual_memory_bytes",
        "process_resident_memory_bytes",
        "process_open_fds",
        "process_max_fds",
    }
    assert abs(found["process_start_time_seconds"] - psutil.Process().create_time()) < 2


def _process(place: Path, pid: int, stat: str, files: int = 0, most_files: str = "9") -> None:
    """What the kernel says of a process, with fields by `stat` as proc(5) has them from the third on."""
    directory = place / str(pid)
    (directory / "fd").mkdir(parents=True)
    for number in range(files):
        (directory / "fd" / str(number)).touch()
    (directory / "stat").write_text(f"{pid} ((sd-pam) x) {stat}")
    (directory / "limits").write_text(
        f"Limit  Soft Limit  Hard Limit  Units\nMax open files  {most_files}  4096  files\n"
    )


def test_the_sums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The family's own CPU time and that of the root's children that ended MUST count, and nothing of others, whatever they are called.

    A process that ends while it is looked at MUST NOT keep the rest from being told.
    """

    def stat(parent: int, own: tuple[int, int], ended: tuple[int, int], start: int, sizes: tuple[int, int]) -> str:
        numbers = [parent, *[0] * 9, *own, *ended, *[0] * 4, start, *sizes]
        return f"S {' '.join(map(str, numbers))} 0"

    _process(tmp_path, 10, stat(1, (100, 20), (3000, 400), 500, (7000, 3)), files=4)
    _process(tmp_path, 11, stat(10, (50_000, 6_000), (1, 1), 900, (800, 2)), files=3, most_files="unlimited")
    _process(tmp_path, 12, stat(11, (1, 1), (1, 1), 900, (1, 1)), files=1)
    _process(tmp_path, 13, stat(10, (1, 1), (1, 1), 900, (1, 1)))
    (tmp_path / "13" / "limits").unlink()
    (tmp_path / "14").mkdir()
    (tmp_path / "uptime").touch()
    monkeypatch.setattr(processes, "_PROC", tmp_path)
    now = time.clock_gettime(time.CLOCK_BOOTTIME) + 1000
    found = {metric.name: metric.samples[0].value for metric in Processes(10, lambda: now).collect()}
    ticks, page = os.sysconf("SC_CLK_TCK"), resource.getpagesize()
    assert found == {
        "process_cpu_seconds": 59_520 / ticks,
        "process_start_time_seconds": 1000 + 500 / ticks,
        "process_virtual_memory_bytes": 7800,
        "process_resident_memory_bytes": 5 * page,
        "process_open_fds": 7,
        "process_max_fds": 9,
    }
