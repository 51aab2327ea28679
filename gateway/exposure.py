"""Where `/metrics` is served.

There are no users yet, so what tells of a gateway's traffic is not for all who reach its port: unless `metrics_listen` says where, it is
served to this machine alone, on a listener of its loopback interface.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

PATH = "/metrics"
Scope = Mapping[str, Any]  # of ASGI


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


def _is_forwarded(scope: Scope) -> bool:
    """Whether a proxy says that the request is another's: nginx as in deploy/, Caddy and all load balancers do."""
    return any(name in {b"x-forwarded-for", b"forwarded"} for name, _ in scope["headers"])


def _port(scope: Scope) -> int | None:
    server = scope.get("server")
    return server[1] if server else None
