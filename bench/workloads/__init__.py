"""All workloads, in the order in which they are reported."""

from bench.running import Workload
from bench.workloads import collection, images, layers, listings, manifests, reading, starting

WORKLOADS: tuple[Workload, ...] = (
    *layers.WORKLOADS,
    *manifests.WORKLOADS,
    *reading.WORKLOADS,
    *listings.WORKLOADS,
    *images.WORKLOADS,
    *starting.WORKLOADS,
    *collection.WORKLOADS,
)

CHECKED = ("1 streamed", "2", "3", "4", "5 existing", "5 missing", "6 proxied", "7 whole")
"""Those that `--check` runs: all that have a target for CPU and need no client but ours."""
