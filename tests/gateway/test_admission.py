"""Admission: what is counted of requests, and for how long."""

import httpx
from starlette.types import Receive, Scope, Send

from gateway.admission import Admission
from gateway.errors import ErrorResponse
from gateway.wrapping import Watch, Wrapping


def scope(path: str = "/v2/", client: str = "10.0.0.1") -> Scope:
    """A request, as far as admission looks at it."""
    return {"path": path, "client": (client, 1)}


def test_either_bound_counts_alone() -> None:
    """All requests MUST be counted whether or not those of one client are, but for health checks and scrapes."""
    in_all, of_one = Admission(most=2), Admission(most_of_one=2)
    for admission, status in ((in_all, 503), (of_one, 429)):
        assert [admission.enter(scope()), admission.enter(scope())] == [None, None]
        refusal = admission.enter(scope())
        assert refusal is not None
        assert refusal.status_code == status
        for path in ("/livez", "/readyz", "/metrics"):
            assert admission.enter(scope(path)) is None
            admission.leave(scope(path))
        assert admission.enter(scope()) is not None
        admission.leave(scope())
        assert admission.enter(scope()) is None
    assert of_one.enter(scope(client="10.0.0.2")) is None


def test_clients_are_forgotten() -> None:
    """What is kept MUST NOT grow with the addresses that were ever seen."""
    admission = Admission(most_of_one=1)
    for number in range(100):
        assert admission.enter(scope(client=f"10.0.0.{number}")) is None
        admission.leave(scope(client=f"10.0.0.{number}"))
    assert not admission._of_one  # noqa: SLF001


async def test_a_request_that_fails_has_left() -> None:
    """After an error that nobody foresaw there MUST be as much room as before."""

    async def serve(asked: Scope, receive: Receive, send: Send) -> None:
        if asked["path"] == "/fails":
            raise ZeroDivisionError
        await ErrorResponse(404, "NAME_UNKNOWN", "no")(asked, receive, send)

    app = Wrapping(serve, Admission(most=1, most_of_one=1), Watch())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
        assert [(await http.get(path)).status_code for path in ("/fails", "/fails", "/")] == [500, 500, 404]
