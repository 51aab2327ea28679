"""CPU time is counted exactly, or small operations could not be told from none."""

import subprocess
import sys

from bench import usage

_BURNS = """
import sys, threading, time
ended = threading.Thread(target=lambda: sum(range(1_000_000)))
ended.start()
ended.join()
for line in sys.stdin:
    print(time.process_time_ns(), flush=True)
"""


def test_cpu_is_counted_to_less_than_a_tick() -> None:
    """What a process has taken, threads that have ended too, MUST be what it counts itself."""
    with subprocess.Popen([sys.executable, "-c", _BURNS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        asking, answers = process.stdin, process.stdout
        assert asking is not None
        assert answers is not None

        def counted() -> float:
            asking.write(b"\n")
            asking.flush()
            return int(answers.readline()) / 1e9

        before, between, after = counted(), usage.cpu_of(process.pid), counted()
        asking.close()
    assert 0 < before <= between <= after
    assert after - before < 0.01
