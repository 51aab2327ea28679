"""Listing tags, whole and in pages."""

from functools import partial

import msgspec

from bench.client import Connection, Failed
from bench.content import noise
from bench.pushing import path_of, push_image
from bench.running import Target, Turn, Workload

PAGE = 100
LISTED, MOST = 10_000, 25  # tags in all listings of a turn, and how many listings those are at most
_REPOSITORY = "bench/tags"


def whole(turn: Turn) -> None:
    """All tags in one answer, as a client asks that knows no pages."""
    _list(turn, f"/v2/{_REPOSITORY}/tags/list")


def in_pages(turn: Turn) -> None:
    """All tags, a hundred at a time."""
    _list(turn, f"/v2/{_REPOSITORY}/tags/list?n={PAGE}")


def _list(turn: Turn, first: str) -> None:
    tags = [f"v{number:05}" for number in range(turn.scale.tags)]
    turn.once("tags", lambda: push_image(turn.server.address, _REPOSITORY, tags, [noise(1_000)]))
    times = min(LISTED // turn.scale.tags, MOST)
    with Connection(turn.server.address) as connection, turn.measured(times):
        for _ in range(times):
            if _all(connection, first) != tags:
                raise Failed(f"{first} did not list what was pushed")


def _all(connection: Connection, path: str) -> list[str]:
    found: list[str] = []
    while path:
        answer = connection.request("GET", path, expect=200)
        found += msgspec.json.decode(answer.body)["tags"] or []  # null, says distribution after the last
        link = answer.headers.get("link", "")
        path = path_of(link[1 : link.index(">")]) if link else ""
    return found


_LIST = partial(Workload, unit="listing", target=Target(20, 0.1, known=0.38))
WORKLOADS = (
    _LIST("7 whole", "tags/list of 2,000 tags at once", run=whole),
    _LIST("7 pages", "tags/list of 2,000 tags, 100 a page", run=in_pages),
)
