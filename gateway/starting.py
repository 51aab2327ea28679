"""What the settings demand before a gateway starts, beyond what the store must do for every gateway."""

import os
import tempfile

from gateway.settings import SettingError, Settings

SHORTEST_SCHEDULE = 60.0  # seconds


def require_sense(settings: Settings) -> None:
    """Refuse what no gateway could do, or none on this host; raises SettingError."""
    _require_one_worker(settings)
    _require_memory(settings)
    _require_schedule(settings)
    _require_room()


def require_urls(settings: Settings, *, presigns: bool) -> None:
    """Refuse redirects where there is nothing to redirect to; raises SettingError."""
    if settings.blob_delivery == "redirect" and not presigns:
        raise SettingError(f"--blob-delivery: {settings.store} has no presigned URLs to redirect to")


def _require_one_worker(settings: Settings) -> None:
    """Refuse several workers where they could not work together."""
    if settings.workers == 1:
        return
    if settings.store.startswith("memory:"):
        raise SettingError("--workers: a registry in memory has one worker, since workers share no memory")
    if settings.single_writer:
        raise SettingError("--single-writer: it takes --workers 1, since workers cannot hold back each other's writes")


def _require_memory(settings: Settings) -> None:
    """Refuse caches that this host has no memory for."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if settings.workers * settings.cache_bytes > memory:
        raise SettingError(
            f"--cache-bytes: {settings.cache_bytes} bytes for each of {settings.workers} workers are more than the {memory} that this host has"
        )


def _require_room() -> None:
    """Refuse to do without a directory for temporary files."""
    try:
        tempfile.gettempdir()
    except OSError:
        raise SettingError("no directory for temporary files can be written to: set TMPDIR to one") from None


def _require_schedule(settings: Settings) -> None:
    """Refuse a schedule of collections that cannot be kept."""
    if not settings.gc_every:
        return
    if settings.gc_every < SHORTEST_SCHEDULE and not settings.testing_short_grace:
        raise SettingError("--gc-every: collections are at least 1m apart, or 0s for none")
    if settings.store.startswith("memory:"):
        raise SettingError("--gc-every: a registry in memory goes with its process, and is not collected")
    if settings.single_writer:
        raise SettingError("--gc-every: the collector would be another writer beside that of --single-writer")
