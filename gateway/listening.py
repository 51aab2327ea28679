"""The sockets on which a gateway listens: bound before anything else is started, so that a port in use is a sentence too."""

import errno
import ipaddress
import socket
from contextlib import suppress

from gateway.exposure import Exposure
from gateway.settings import SettingError, Settings
from gateway.values import Address

BACKLOG = 2048


def listening(settings: Settings) -> tuple[list[socket.socket], Exposure]:
    """The listener for clients, then that for metrics if it is another one; and where metrics are served. Raises SettingError."""
    listener = _listen("--listen", settings.listen)
    address, port = listener.getsockname()[:2]
    if not settings.metrics_listen:
        return [listener], Exposure(port, near=True) if ipaddress.ip_address(address).is_loopback else Exposure()
    if settings.metrics_listen == settings.listen:
        return [listener], Exposure(port)
    try:
        own = _listen_beside(port, settings)
    except SettingError:
        listener.close()
        raise
    return [listener, own], Exposure(own.getsockname()[1], alone=True)


def require_addresses(settings: Settings) -> None:
    """Refuse what `listening` refuses, but for ports in use: the gateway beside which this is asked may have them. Raises SettingError."""
    if settings.metrics_listen and settings.metrics_listen != settings.listen and settings.listen.port:
        _require_another(settings.listen.port, settings)
    for flag, address in (("--listen", settings.listen), ("--metrics-listen", settings.metrics_listen)):
        if address:
            with suppress(_InUse):
                _listen(flag, address).close()


def _listen_beside(port: int, settings: Settings) -> socket.socket:
    """The listener for metrics."""
    _require_another(port, settings)
    return _listen("--metrics-listen", settings.metrics_listen)


def _require_another(port: int, settings: Settings) -> None:
    """By its port a request is known to have come to the listener for metrics."""
    address = settings.metrics_listen
    if address.port == port:
        raise SettingError(f"--metrics-listen: {address} needs another port than --listen {settings.listen}")


class _InUse(SettingError):
    """Another process has the port."""


def _listen(flag: str, address: Address) -> socket.socket:
    """A listener on the address."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    dual = address.host == "::" and socket.has_dualstack_ipv6()
    try:
        address.host.encode("idna")  # what cannot be is a TypeError of the socket, which is left open
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        kind = _InUse if getattr(error, "errno", None) == errno.EADDRINUSE else SettingError
        raise kind(f"{flag}: cannot listen on {address}: {why}") from None
