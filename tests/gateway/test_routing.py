"""Which resource answers, by path and method."""

import pytest

from gateway.app import _routes
from gateway.health import Readiness
from gateway.routing import Route
from gateway.scraping import Scraping

# Components of names are words of the API themselves: a path MUST be read from the right.
PATHS = {
    f"/v2/{name}/{rest}": template
    for name in ("a", "blobs/uploads", "a/manifests", "tags/list", "referrers/blobs", "_catalog")
    for rest, template in {
        "blobs/x": "/v2/{name}/blobs/{digest}",
        "blobs/uploads/": "/v2/{name}/blobs/uploads/",
        "blobs/uploads/x": "/v2/{name}/blobs/uploads/{session}",
        "blobs/uploads/list": "/v2/{name}/blobs/uploads/{session}",
        "manifests/x": "/v2/{name}/manifests/{reference}",
        "manifests/list": "/v2/{name}/manifests/{reference}",
        "tags/list": "/v2/{name}/tags/list",
        "referrers/x": "/v2/{name}/referrers/{digest}",
    }.items()
} | {"/v2/": "/v2/", "/v2": "/v2", "/v2/_catalog": "/v2/_catalog", "/livez": "/livez"}


@pytest.mark.parametrize(("path", "template"), PATHS.items(), ids=PATHS)
def test_a_path_fits_one_route(path: str, template: str) -> None:
    """Whatever the order of the routes, which is by how often they are taken."""
    routes = _routes(Readiness(lambda: 0.0), Scraping(bytes))
    assert [route.template for route in routes if route.pattern.match(path)] == [template]


class Readable:
    """A resource that answers GET alone."""

    async def get(self, _: object) -> None:
        """Never called here."""


def test_get_serves_head() -> None:
    """A resource without an answer of its own to HEAD MUST answer it as GET, and no method that it does not know."""
    answers = Route("/", Readable()).answers
    assert list(answers) == ["GET", "HEAD"]
    assert answers["HEAD"] == answers["GET"]
