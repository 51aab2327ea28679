"""`/metrics`: where it is served, and how it is read without holding up a request.

There are no users yet, so what tells of a gateway's traffic is not for all who reach its port: unless `metrics_listen` says where, it is
served to this machine alone, on a listener of its loopback interface.
"""

import asyncio
import os
import platform
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from gateway.processes import Processes
from storage.sharing import Sharing

PATH = "/metrics"
no_created_metrics: Callable[[], None] = metrics.disable_created_metrics


class Exposure(msgspec.Struct, frozen=True):
    """The port on which metrics are served, 0 for nowhere; whether that port is for them `alone`, and they for this machine alone (`near`)."""

    port: int = 0
    alone: bool = False
    near: bool = False

    def excludes(self, scope: Scope) -> bool:
        """Whether what the request asks for is not to be had where it came in."""
        if scope["path"] == PATH:
            return self.port != _port(scope) or (self.near and _is_forwarded(scope))
        return self.alone and self.port == _port(scope)


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
        return Response(await self._sharing.read(PATH), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _read_aside(self, _: str) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read)


def reader(registry: CollectorRegistry) -> Callable[[], bytes]:
    """Reads the metrics of this process alone, which has `registry`."""
    _add_others(registry, os.getpid())
    return lambda: generate_latest(registry)


def reader_of_all(directory: Path) -> Callable[[], bytes]:
    """Reads the sums over all workers, which share `directory`."""
    registry = CollectorRegistry()
    collector: Any = MultiProcessCollector  # has no types
    collector(registry, str(directory))
    _add_others(registry, os.getppid())
    return lambda: generate_latest(registry)


def _add_others(registry: CollectorRegistry, root: int) -> None:
    no_created_metrics()  # of which the text format would make a gauge for each counter
    registry.register(Processes(root))
    registry.register(_Build())


class _Build(Collector):
    """What runs."""

    def collect(self) -> Iterable[Metric]:
        labels = {"version": version("moorage"), "python": platform.python_version()}
        build = GaugeMetricFamily("moorage_build_info", "The running version; always 1.", labels=list(labels))
        build.add_metric(list(labels.values()), 1)
        yield build


def _is_forwarded(scope: Scope) -> bool:
    """Whether a proxy says that the request is another's: nginx as in deploy/, Caddy and all load balancers do."""
    return any(name in {b"x-forwarded-for", b"forwarded"} for name, _ in scope["headers"])


def _port(scope: Scope) -> int | None:
    server = scope.get("server")
    return server[1] if server else None
