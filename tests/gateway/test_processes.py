"""The metrics of processes, out of no more of /proc than a hardened unit leaves."""

import os
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
