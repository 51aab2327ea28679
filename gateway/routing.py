"""Which resource answers a request, by its path and method, and what becomes of its errors.

Starlette has the same for every kind of application: it took a quarter of what the application does for a small request (docs/performance.md).
"""

from collections.abc import Awaitable, Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from gateway.errors import answer_to

Answer = Callable[[Request], Awaitable[Response]]

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Route:
    """A template of paths, in Starlette's notation, and the resource below it.

    A resource has a coroutine for each method that it knows, named after it in lower case; without one for HEAD, that for GET serves.
    """

    __slots__ = ("answers", "pattern", "template")

    def __init__(self, template: str, resource: object) -> None:
        self.pattern, self.template, _ = compile_path(template)
        found = {method: getattr(resource, method.lower(), None) for method in METHODS}
        found["HEAD"] = found["HEAD"] or found["GET"]
        self.answers: dict[str, Answer] = {method: answer for method, answer in found.items() if answer is not None}


class Routing:
    """The ASGI application over `routes`, of which the first that fits is taken: what is asked for most comes first."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises what no table of errors foresees."""
        request = Request(scope, receive, send)
        try:
            response = await self._answer(scope)(request)
        except Exception as error:  # noqa: BLE001 - it is raised again if there is no answer to it
            response = answer_to(error)
        await response(scope, receive, send)

    def _answer(self, scope: Scope) -> Answer:
        """Who answers, which is noted in `scope` for the request and for what is measured; raises HTTPException."""
        for route in self._routes:
            if match := route.pattern.fullmatch(scope["path"]):  # `$` alone lets a newline pass
                scope["route"], scope["path_params"] = route, match.groupdict()
                if answer := route.answers.get(scope["method"]):
                    return answer
                raise HTTPException(405, headers={"Allow": ", ".join(route.answers)})
        raise HTTPException(404)
