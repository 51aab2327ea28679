"""What is measured: the instruments, by the names and in the units of Prometheus, with labels of bounded cardinality.

No label holds what a client or a bucket has made up: a route is a template, a method or status one of a known few. docs/observability.md
has every metric, which a test holds to a real scrape.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, mmap_dict, values

from gateway.routing import METHODS
from storage.observing import Failure

_METHODS = frozenset({*METHODS, "OPTIONS"})  # which browsers ask for, though no resource answers
OTHER = "other"  # the route of a path that there is none of, and any other method
_FILE = 256 * 1024  # bytes of a file of values to begin with
# Seconds. A warm HEAD takes a fraction of a millisecond, an upload of gibibytes minutes.
_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The instruments of one process. Implements storage.observing.Observer. To be used by one thread."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"moorage_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"moorage_{name}", text, registry=registry, multiprocess_mode="livesum")

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"moorage_{name}", text, labels, buckets=buckets, registry=registry)

        route = ("route", "method")
        self.in_flight = gauge("http_requests_in_flight", "Requests that are served now.")
        self.open_uploads = gauge("open_uploads", "Requests whose blob is arriving now.")
        self._refused = counter("http_refused_total", "Answers to what never became a request, by status.", "status")
        self._requests = counter("http_requests_total", "Requests that have ended.", *route, "status")
        self._seconds = histogram(
            "http_request_duration_seconds", "Seconds from a request's head to its end.", _REQUEST_BUCKETS, *route
        )
        self._received = counter("http_received_bytes_total", "Bytes of request bodies.", *route)
        self._sent = counter("http_sent_bytes_total", "Bytes of response bodies.", *route)
        self._store_requests = counter(
            "store_requests_total", "Requests to the store as it bills them, without repeated ones.", "operation"
        )
        self._store_seconds = histogram(
            "store_operation_duration_seconds",
            "Seconds until an operation's answer begins.",
            _STORE_BUCKETS,
            "operation",
        )
        self._retries = counter("store_retries_total", "Requests to the store that were sent again.", "operation")
        self._failures = counter(
            "store_errors_total", "Operations that the store failed, after all retries.", "operation", "error"
        )
        self._hits = counter("cache_hits_total", "Records found among what was lately seen in the store.")
        self._misses = counter("cache_misses_total", "Records not found among what was lately seen.")
        self._bound = _Bound()

    def served(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request has ended. `route` is a template or OTHER."""
        method = method if method in _METHODS else OTHER
        self._bound(self._requests, route, method, str(status)).inc()
        self._bound(self._seconds, route, method).observe(seconds)

    def moved(self, route: str, method: str, received: int, sent: int) -> None:
        """So many bytes of the body of a request and of its response have passed."""
        method = method if method in _METHODS else OTHER
        if received:
            self._bound(self._received, route, method).inc(received)
        if sent:
            self._bound(self._sent, route, method).inc(sent)

    def refused(self, status: int) -> None:
        """What never became a request was answered."""
        self._bound(self._refused, str(status)).inc()

    def answered(self, operation: str, requests: int, seconds: float, failure: Failure | None) -> None:
        """See Observer.answered."""
        self._bound(self._store_requests, operation).inc(requests)
        self._bound(self._store_seconds, operation).observe(seconds)
        if failure:
            self.failed(operation, failure)

    def failed(self, operation: str, failure: Failure) -> None:
        """See Observer.failed."""
        self._bound(self._failures, operation, failure).inc()

    def repeated(self, operation: str) -> None:
        """See Observer.repeated."""
        self._bound(self._retries, operation).inc()

    def looked(self, *, found: bool) -> None:
        """See Observer.looked."""
        (self._hits if found else self._misses).inc()


class _Bound:
    """Instruments with their labels: to look one up here takes a tenth of what the library takes."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Any] = {}

    def __call__(self, instrument: Any, *labels: str) -> Any:
        key = (instrument, *labels)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = instrument.labels(*labels)
        return known


class _Value:
    """A number that belongs to one thread: without the library's lock, which is half of what each change costs."""

    _multiprocess = False

    def __init__(self, *_: Any, **__: Any) -> None:
        self._value = 0.0

    def inc(self, amount: float) -> None:
        self._value += amount

    def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - no gauge here has one
        self._value = value

    def get(self) -> float:
        return self._value

    def set_exemplar(self, exemplar: object) -> None:
        """There are none."""

    def get_exemplar(self) -> None:
        """There are none."""


def keep_alone() -> None:
    """Let instruments made from now on keep their values in this process."""
    values.ValueClass = _Value


def keep_among_others(directory: Path, name: str) -> None:
    """Let instruments made from now on keep their values in files of `directory`, to be summed with those of other processes.

    What a process of the same `name` counted before goes on, so that no sum goes backwards when a worker is replaced; its gauges are
    forgotten, for what it had under way ended with it.
    """
    for left in directory.glob(f"gauge_live*_{name}.db"):
        left.unlink()
    values.ValueClass = _value_class(directory, name)


def _value_class(directory: Path, name: str) -> type:
    """The library's value class for several processes, but by the name of a worker rather than its pid, and without a lock.

    Files are the library's, and read by its MultiProcessCollector.
    """
    files: dict[str, Any] = {}
    open_file: Any = mmap_dict.MmapedDict  # has no types

    class Value(_Value):
        """A number in a file."""

        _multiprocess = True

        def __init__(  # noqa: PLR0913, PLR0917 - what the library passes
            self,
            typ: str,
            metric_name: str,
            name_: str,
            labelnames: list[str],
            labelvalues: list[str],
            help_text: str,
            multiprocess_mode: str = "",
            **_: Any,
        ) -> None:
            kind = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
            if kind not in files:
                files[kind] = open_file(str(_made(directory / f"{kind}_{name}.db")))
            self._file = files[kind]
            self._key = mmap_dict.mmap_key(metric_name, name_, labelnames, labelvalues, help_text)
            self._value: float = self._file.read_value(self._key)[0]

        def inc(self, amount: float) -> None:
            self._value += amount
            self._file.write_value(self._key, self._value, 0.0)

        def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - as above
            self._value = value
            self._file.write_value(self._key, value, 0.0)

    return Value


def _made(file: Path) -> Path:
    """The file, which appears whole if it is new: a scrape may read it at any moment."""
    if not file.exists():
        beside = file.with_suffix(".new")
        beside.write_bytes(bytes(_FILE))
        beside.rename(file)
    return file


def route_of(scope: Mapping[str, Any]) -> str:
    """The template of the route that a request took, OTHER if it took none."""
    route = scope.get("route")
    return route.template if route is not None else OTHER
