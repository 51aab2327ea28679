"""The sockets on which a gateway listens: bound before anything else is started, so that a port in use is a sentence too."""

import ipaddress
import socket

from gateway.exposure import Exposure
from gateway.settings import Address, SettingError, Settings

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


def _listen_beside(port: int, settings: Settings) -> socket.socket:
    """The listener for metrics. By its port a request is known to have come to it."""
    address = settings.metrics_listen
    if address.port == port:
        raise SettingError(f"--metrics-listen: {address} needs another port than --listen {settings.listen}")
    return _listen("--metrics-listen", address)


def _listen(flag: str, address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    dual = address.host == "::" and socket.has_dualstack_ipv6()
    try:
        address.host.encode("idna")  # what cannot be is a TypeError of the socket, which is left open
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG, dualstack_ipv6=dual)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise SettingError(f"{flag}: cannot listen on {address}: {why}") from None
