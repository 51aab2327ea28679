"""Writes the tables of docs/cost.md out of a run: `python -m tests.protocol.cost`, from the root of the tree.

The operations and how they are counted are those of docs/budgets.md; here each request has its kind, and so its price. Every run of the tests
holds the page to what it finds.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import structlog

from storage.objects.memory import MemoryStore
from storage.references import Digest
from tests.protocol.documents import descriptor, image
from tests.protocol.operations import Meter, Operation, Presigning, Step, layer, measure, operations
from tests.protocol.serving import Api, Clock, World

PAGE = Path(__file__).parents[2] / "docs" / "cost.md"
BEGIN, END = "<!-- out of a run: begin -->\n", "<!-- out of a run: end -->\n"

# Dollars a million requests, S3 Standard in us-east-1, November 2026: https://aws.amazon.com/s3/pricing/. A removal of many is a POST.
PRICES = {"PUT": 5.00, "COPY": 5.00, "POST": 5.00, "LIST": 5.00, "GET": 0.40, "HEAD": 0.40, "DELETE": 0.0}

STORAGE = 0.023  # dollars a gigabyte and month, for the first 50 TB
STORED, PULLS, PUSHES = 500, 300_000, 15_000  # a month of the example

LAYERS = 8
# CNCF distribution 3.1.1, measured over MinIO: requests with nothing cached, and with its cache in memory. None: it cannot do that.
DISTRIBUTION: dict[str, tuple[int, int] | None] = {
    "HEAD blob": (7, 0),
    "HEAD blob, missing": (1, 1),
    "GET blob by redirect": (8, 1),  # with the client's own GET, as in all that is counted here
    "manifest by tag": (4, 2),
    "manifest by digest": (3, 1),
    "POST upload": (3, 3),
    "100 KB layer, POST + PATCH + PUT": (27, 27),
    "100 KB layer, POST + PUT with the body": (20, 20),
    "the same again to another repository, POST + PUT": (21, 21),
    "PUT manifest, new tag, config + 1 layer; blobs not seen when cold": (10, 6),
    "PUT manifest, config + 8 layers just pushed": (24, 6),
    "moving a tag to it": (10, 6),
    "mount, with from": (3, 3),
    "mount, without from": None,
    "idle": (0, 0),
}


@dataclass(frozen=True)
class Priced:
    """What an operation asks of the store, cold and warm, by kind; and of distribution's, if that is known."""

    name: str
    cold: Counter[str]
    warm: Counter[str]
    theirs: tuple[int, int] | None

    def row(self) -> str:
        """The operation as a row of a table."""
        theirs = map(str, self.theirs) if self.theirs else ("not done", "not done")
        cells = [
            self.name,
            _requests(self.cold),
            _requests(self.warm),
            _dollars(self.cold),
            _dollars(self.warm),
            *theirs,
        ]
        return f"| {' | '.join(cells)} |"


async def tables() -> str:
    """Both tables, as the page has them."""
    known = [each for each in operations(redirect=True) if each.name in DISTRIBUTION]
    assert len(known) == len(DISTRIBUTION), "an operation of docs/budgets.md has another name now"
    head = "| {} | requests, cold | warm | $ a million, cold | warm | distribution, cold | warm |\n|---|---|---|---|---|---|---|"
    whole = [await _priced(*each) for each in _wholes()]
    single = [await _priced(each, DISTRIBUTION[each.name], int(each.name == "GET blob by redirect")) for each in known]
    return "\n".join(
        [
            head.format("as a client does it"),
            *(each.row() for each in whole),
            "",
            head.format("one request, or one blob"),
            *(each.row() for each in single),
            "",
            _month(*whole),
            "",
        ]
    )


def _month(push: Priced, again: Priced, pull: Priced) -> str:
    """A month in figures, all of it cold."""
    asked = PULLS * _price(pull.cold) + PUSHES * _price(again.cold)
    kept = STORED * STORAGE
    return (
        f"A month in which {STORED} GB are stored, {PULLS:,} images like these are pulled, and {PUSHES:,} pushed with one new layer, by gateways "
        f"that never remember anything: ${kept:.2f} for storage and ${asked / 1e6:.2f} for requests. A push with nothing shared costs "
        f"${_price(push.cold) / 1e6:.6f}."
    )


def _wholes() -> list[tuple[Operation, tuple[int, int], int]]:
    """Pushes and pulls of an image as docker does them, what distribution's counts add up to, and how many blobs the client is sent for."""
    blobs = LAYERS + 1
    (missing, _), (stream, _) = _theirs("HEAD blob, missing"), _theirs("100 KB layer, POST + PATCH + PUT")
    exists, put = _theirs("HEAD blob"), _theirs("PUT manifest, config + 8 layers just pushed")
    tag, digest, get = _theirs("manifest by tag"), _theirs("manifest by digest"), _theirs("GET blob by redirect")
    pushes = blobs * (missing + stream)
    again = 2 * (missing + stream)
    first, second = _push("first", 0), _push("second", LAYERS - 1)
    return [
        (Operation(f"push of a config and {LAYERS} layers, all new", 99, 99, first, _push("other", 0)), (pushes + put[0], pushes + put[1]), 0),
        (
            Operation("push of a config and a layer that are new, on 7 layers that are there", 99, 99, second, first),
            (again + (LAYERS - 1) * exists[0] + put[0], again + (LAYERS - 1) * exists[1] + put[1]),
            0,
        ),
        (
            Operation(f"pull of a config and {LAYERS} layers", 99, 99, _pull, first, repeat=True),
            (tag[0] + digest[0] + blobs * get[0], tag[1] + digest[1] + blobs * get[1]),
            LAYERS,
        ),
    ]  # fmt: skip


async def _priced(operation: Operation, theirs: tuple[int, int] | None, fetched: int) -> Priced:
    """Run the operation cold and warm; of the blobs that the client is sent to fetch, `fetched`, each is a GET too."""
    clock, counted = Clock(), list[Counter[str]]()
    store = Presigning(MemoryStore(clock))

    def count() -> int:
        counted.append(Counter(store.requests) + Counter({"GET": fetched}))
        return store.requests.total()

    await measure(World(store, clock), Meter(count, store.requests.clear), operation, "r", redirect=True)
    cold, warm = counted
    return Priced(operation.name, cold, warm, theirs)


def _theirs(name: str) -> tuple[int, int]:
    found = DISTRIBUTION[name]
    assert found is not None
    return found


def _contents(repository: str, seed: str, shared: int) -> list[bytes]:
    """A config and LAYERS layers, of which the first `shared` are the same whatever the seed."""
    names = [f"{repository} {number} {'first' if number < shared else seed}" for number in range(LAYERS)]
    return [f"config {seed}".encode(), *map(layer, names)]


def _push(seed: str, shared: int) -> Step:
    """Push as docker does: HEAD, POST, PATCH, PUT and HEAD for each blob that is missing, then the manifest under its tag."""

    async def push(api: Api, repository: str) -> None:
        contents = _contents(repository, seed, shared)
        for content in contents:
            path = f"/v2/{repository}/blobs/{Digest.of(content)}"
            if (await api.head(path)).status_code == 404:
                answer = await api.patch(await api.begin(repository), content=content)
                await api.finish(answer.headers["Location"], str(Digest.of(content)))
                assert (await api.head(path)).status_code == 200
        config, *layers = map(descriptor, contents)
        await api.manifest(repository, seed, image(config, layers))

    return push


async def _pull(api: Api, repository: str) -> None:
    """Pull what `_push("first", 0)` has pushed as docker does: HEAD of the tag, the manifest by digest, and each blob."""
    head = await api.head(f"/v2/{repository}/manifests/first")
    manifest = (await api.get(f"/v2/{repository}/manifests/{head.headers['Docker-Content-Digest']}")).json()
    answers = [
        (await api.get(f"/v2/{repository}/blobs/{each['digest']}")).status_code
        for each in (manifest["config"], *manifest["layers"])
    ]
    assert answers == [200] + [307] * LAYERS


def _requests(counted: Counter[str]) -> str:
    """Such as `5 (3 PUT, 2 GET)`."""
    kinds = ", ".join(f"{counted[kind]} {kind}" for kind in PRICES if counted[kind])
    return f"{counted.total()} ({kinds})" if kinds else "0"


def _dollars(counted: Counter[str]) -> str:
    return f"{_price(counted):.2f}"


def _price(counted: Counter[str]) -> float:
    """Dollars for a million of what was counted."""
    return sum(PRICES[kind] * count for kind, count in counted.items())


def with_tables(page: str, found: str) -> str:
    """The page with these tables in their place."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{found}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), asyncio.run(tables())), "utf-8")
