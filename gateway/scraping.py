"""How `/metrics` is read without holding up a request."""

import asyncio
import os
import platform
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from gateway.processes import Processes
from storage.sharing import Sharing

no_created_metrics: Callable[[], None] = metrics.disable_created_metrics


class Scraping:
    """Reads the metrics with `read`, in a thread of its own and one at a time.

    A scrape is answered with what was read after it came; those that wait share one reading, so that at most two are ever due.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        self._sharing = Sharing(self._read_aside)

    async def get(self, _: Request) -> Response:
        """The metrics, in Prometheus's text format."""
        return Response(await self._sharing.read(""), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _read_aside(self, _: str) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read)


def reader(registry: CollectorRegistry, clock: Callable[[], float]) -> Callable[[], bytes]:
    """Reads the metrics of this process alone, which has `registry`."""
    _add_others(registry, os.getpid(), clock)
    return lambda: generate_latest(registry)


def reader_of_all(directory: Path, clock: Callable[[], float]) -> Callable[[], bytes]:
    """Reads the sums over all workers, which share `directory`."""
    registry = CollectorRegistry()
    collector: Any = MultiProcessCollector  # has no types
    collector(registry, str(directory))
    _add_others(registry, os.getppid(), clock)
    return lambda: generate_latest(registry)


def _add_others(registry: CollectorRegistry, root: int, clock: Callable[[], float]) -> None:
    no_created_metrics()  # of which the text format would make a gauge for each counter
    registry.register(Processes(root, clock))
    registry.register(_Build())


class _Build(Collector):
    """What runs."""

    def collect(self) -> Iterable[Metric]:
        labels = {"version": version("moorage"), "python": platform.python_version()}
        build = GaugeMetricFamily("moorage_build_info", "The running version; always 1.", labels=list(labels))
        build.add_metric(list(labels.values()), 1)
        yield build
