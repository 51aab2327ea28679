"""What the settings demand before a gateway starts, beyond what the store must do for every gateway."""

from gateway.settings import SettingError, Settings


def require_one_worker(settings: Settings) -> None:
    """Refuse several workers where they could not work together; raises SettingError."""
    if settings.workers == 1:
        return
    if settings.store.startswith("memory:"):
        raise SettingError("--workers: a registry in memory has one worker, since workers share no memory")
    if settings.single_writer:
        raise SettingError("--single-writer: it takes --workers 1, since workers cannot hold back each other's writes")


def require_urls(settings: Settings, *, presigns: bool) -> None:
    """Refuse redirects where there is nothing to redirect to; raises SettingError."""
    if settings.blob_delivery == "redirect" and not presigns:
        raise SettingError(f"--blob-delivery: {settings.store} has no presigned URLs to redirect to")
