"""Starting, until the first answer."""

from bench import usage
from bench.contenders import EMBEDDED
from bench.running import Turn, Workload


def start(turn: Turn) -> None:
    """Start another process: over the same bucket, which is no longer new, or in a directory of its own."""
    with turn.measured(1) as meter, turn.another() as server:
        meter.seconds, meter.cpu = server.seconds_to_start, usage.cpu_of(server.pid)


WORKLOADS = (
    Workload("10 over MinIO", "start to the first answer", "start", start),
    Workload(
        "10 embedded", "start to the first answer on the embedded store", "start", start, ours=EMBEDDED, theirs=()
    ),
)
