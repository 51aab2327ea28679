"""What uvicorn serves in each process: the application, with its instruments, as the process that started it was told."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from gateway import logs
from gateway.access import AccessLog, request_ids
from gateway.admission import Admission
from gateway.app import create_app
from gateway.composing import clock, nonce, opened
from gateway.metrics import Metrics, keep_alone, keep_among_others
from gateway.options import Given
from gateway.scraping import reader, reader_of_all
from gateway.settings import Settings
from gateway.wrapping import Watch
from storage.views import Epoch


def application() -> Starlette:
    """The gateway of a worker process, for uvicorn."""
    start = Given.handed_down()
    settings, epoch = start.settings(), Epoch(Path(start.epoch) if start.epoch else None)
    logs.configure_by(settings)
    metrics, read_metrics = _metrics(settings, start)
    access_log = AccessLog(clock, as_text=logs.is_text(settings.log_format)) if settings.access_log else None
    return create_app(
        lambda: opened(settings, epoch, observer=metrics, known=start.store),
        clock=clock,
        redirect=settings.blob_delivery != "proxy",
        admission=Admission(settings.max_requests, settings.max_requests_per_client),
        record_pulls=settings.record_pulls,
        watch=Watch(metrics, start.exposure, access_log, request_ids(nonce()), time.perf_counter),
        read_metrics=read_metrics,
    )


def _metrics(settings: Settings, start: Given) -> tuple[Metrics, Callable[[], bytes]]:
    """The instruments of this process, and what reads them, with those of the other workers if there are any."""
    if settings.workers == 1 or start.metrics is None:
        keep_alone()
        registry = CollectorRegistry()
        return Metrics(registry), reader(registry, clock)
    directory = Path(start.metrics)
    keep_among_others(directory, multiprocessing.current_process().name)
    return Metrics(CollectorRegistry()), reader_of_all(directory, clock)
