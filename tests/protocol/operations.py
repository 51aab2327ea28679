"""The operations whose requests to the object store are budgeted, each with its budget, to be measured over any store."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from storage.objects.contract import Capabilities
from storage.objects.metered import MeteredStore
from storage.references import Digest
from tests.protocol.documents import descriptor, image
from tests.protocol.serving import Api, World

Step = Callable[[Api, str], Awaitable[object]]
LAYER_SIZE = 100_000


async def nothing(api: Api, repository: str) -> None:
    """No step."""


class Presigning(MeteredStore):
    """A metered store that says it can presign."""

    @property
    def capabilities(self) -> Capabilities:
        """See ObjectStore.capabilities."""
        return replace(super().capabilities, presigning=True)

    async def presign_get(self, key: str, expires: int) -> str:
        """See ObjectStore.presign_get."""
        return f"http://store.test/{key}?expires={expires}"


@dataclass(frozen=True)
class Operation:
    """What is counted, `act`, and the most requests that it may take.

    `before` makes what the operation needs, through any gateway; `near` what the gateway that is measured has done just before. Cold is
    a gateway that remembers nothing but `near`; a warm one has done `before` itself, and `act` once already if `repeat`.
    """

    name: str
    cold: int
    warm: int
    act: Step
    before: Step = nothing
    near: Step = nothing
    repeat: bool = False


@dataclass(frozen=True)
class Meter:
    """Counts the requests that a store has received since the last reset."""

    count: Callable[[], int]
    reset: Callable[[], None]


@dataclass(frozen=True)
class Measured:
    """What an operation took."""

    operation: Operation
    cold: int
    warm: int

    @property
    def is_within(self) -> bool:
        """Whether both figures keep the budget."""
        return self.cold <= self.operation.cold and self.warm <= self.operation.warm


async def measure(world: World, meter: Meter, operation: Operation, repository: str, *, redirect: bool) -> Measured:
    """Run an operation cold and warm, each in repositories of its own below `repository`."""
    async with (
        world.gateway(redirect=redirect, record_pulls=True) as one,
        world.gateway(redirect=redirect, record_pulls=True) as other,
    ):
        await operation.before(one, f"{repository}/cold")
        await operation.near(other, f"{repository}/cold")
        meter.reset()
        await operation.act(other, f"{repository}/cold")
        cold = meter.count()
    async with world.gateway(redirect=redirect, record_pulls=True) as same:
        await operation.before(same, f"{repository}/warm")
        await operation.near(same, f"{repository}/warm")
        if operation.repeat:
            await operation.act(same, f"{repository}/warm")
        meter.reset()
        await operation.act(same, f"{repository}/warm")
        return Measured(operation, cold, meter.count())


def table(measured: Sequence[Measured]) -> str:
    """Counts beside budgets."""
    rows = [
        f"{each.operation.name:<66} {each.cold:>4} {each.operation.cold:>7} {each.warm:>6} {each.operation.warm:>7}"
        f"{'' if each.is_within else '   OVER BUDGET'}"
        for each in measured
    ]
    return "\n".join(["", f"{'requests to the store':<66} cold  budget   warm  budget", *rows])


def layer(seed: str) -> bytes:
    """A layer of its own for each seed."""
    return random.Random(seed).randbytes(LAYER_SIZE)


def _blobs(seed: str, count: int) -> list[bytes]:
    return [f"{seed} {number}".encode() for number in range(count + 1)]


def _manifest(seed: str, count: int) -> bytes:
    config, *layers = map(descriptor, _blobs(seed, count))
    return image(config, layers)


def push_blobs(seed: str, count: int) -> Step:
    """A config and `count` layers."""

    async def step(api: Api, repository: str) -> None:
        for content in _blobs(repository + seed, count):
            await api.blob(repository, content)

    return step


def push_manifest(seed: str, count: int, tag: str) -> Step:
    """The manifest of `push_blobs`."""

    async def step(api: Api, repository: str) -> None:
        await api.manifest(repository, tag, _manifest(repository + seed, count))

    return step


def both(*steps: Step) -> Step:
    """One after the other."""

    async def step(api: Api, repository: str) -> None:
        for each in steps:
            await each(api, repository)

    return step


def push_image(seed: str, tag: str, count: int = 1) -> Step:
    """Blobs and manifest."""
    return both(push_blobs(seed, count), push_manifest(seed, count, tag))


async def push_layer(api: Api, repository: str) -> None:
    """POST and PUT."""
    await api.blob(repository, layer(repository))


async def stream_layer(api: Api, repository: str) -> None:
    """POST, PATCH and PUT."""
    content = layer(repository)
    answer = await api.patch(await api.begin(repository), content=content)
    await api.finish(answer.headers["Location"], str(Digest.of(content)))


async def push_to_source(api: Api, repository: str) -> None:
    """The layer that others push again or mount."""
    await api.blob(f"{repository}/source", layer(repository))


def again(push: Step) -> Step:
    """The layer of `push_to_source`, to another repository."""

    async def step(api: Api, repository: str) -> None:
        content = layer(repository)
        target = f"{repository}/target"
        if push is push_layer:
            await api.blob(target, content)
        else:
            answer = await api.patch(await api.begin(target), content=content)
            await api.finish(answer.headers["Location"], str(Digest.of(content)))

    return step


def mount(query: str) -> Step:
    """Mount the layer of `push_to_source`."""

    async def step(api: Api, repository: str) -> None:
        given = query.format(digest=Digest.of(layer(repository)), source=f"{repository}/source")
        answer = await api.post(f"/v2/{repository}/target/blobs/uploads/?{given}")
        assert answer.status_code == 201

    return step


def read(method: str, path: str, status: int) -> Step:
    """One request; `{layer}` and `{manifest}` stand for the digests of what was pushed."""

    async def step(api: Api, repository: str) -> None:
        digests = {"layer": Digest.of(layer(repository)), "manifest": Digest.of(_manifest(repository + "x", 1))}
        answer = await api.http(method, f"/v2/{repository}/{path.format(**digests)}")
        assert answer.status_code == status, answer.text

    return step


async def begin(api: Api, repository: str) -> None:
    """POST alone."""
    await api.begin(repository)


def tag_many(count: int) -> Step:
    """One manifest under many tags."""

    async def step(api: Api, repository: str) -> None:
        for at in range(0, count, 50):
            query = "?" + "&".join(f"tag=t{number}" for number in range(at, at + 50))
            await api.blob(repository, b"{}")
            await api.manifest(repository, None, image(descriptor(b"{}")), query=query)

    return step


def operations(*, redirect: bool) -> list[Operation]:
    """Every row of docs/budgets.md but collection, for a gateway that redirects or one that does not."""
    get = read("GET", "blobs/{layer}", 307 if redirect else 200)
    through = 0 if redirect else 1
    pushed = push_image("x", "1")
    return [
        Operation("HEAD blob", 1, 0, read("HEAD", "blobs/{layer}", 200), push_layer, repeat=True),
        Operation("HEAD blob, missing", 1, 1, read("HEAD", "blobs/{layer}", 404), repeat=True),
        Operation(f"GET blob{' by redirect' * redirect}", 1 + through, through, get, push_layer, repeat=True),
        Operation("manifest by tag", 2, 1, read("GET", "manifests/1", 200), pushed, repeat=True),
        Operation("manifest by digest", 1, 0, read("GET", "manifests/{manifest}", 200), pushed, repeat=True),
        Operation("HEAD manifest by tag", 2, 1, read("HEAD", "manifests/1", 200), pushed, repeat=True),
        Operation("POST upload", 0, 0, begin),
        Operation("100 KB layer, POST + PATCH + PUT", 4, 4, stream_layer),
        Operation("100 KB layer, POST + PUT with the body", 4, 4, push_layer),
        Operation(
            "the same again to another repository, POST + PATCH + PUT", 5, 4, again(stream_layer), push_to_source
        ),
        Operation("the same again to another repository, POST + PUT", 5, 4, again(push_layer), push_to_source),
        Operation(
            "PUT manifest, new tag, config + 1 layer; blobs not seen when cold",
            4 + 2,
            3,
            push_manifest("y", 1, "2"),
            both(pushed, push_blobs("y", 1)),
        ),
        Operation(
            "PUT manifest, config + 8 layers just pushed, new repository",
            4,
            4,
            push_manifest("y", 8, "1"),
            near=push_blobs("y", 8),
        ),
        Operation(
            "PUT manifest, config + 8 layers just pushed",
            4,
            3,
            push_manifest("y", 8, "2"),
            pushed,
            near=push_blobs("y", 8),
        ),
        Operation("moving a tag to it", 5, 4, push_manifest("y", 8, "1"), pushed, near=push_blobs("y", 8)),
        Operation("mount, with from", 2, 1, mount("mount={digest}&from={source}"), push_to_source),
        Operation("mount, without from", 3, 2, mount("mount={digest}"), push_to_source),
        Operation("tags/list of 300 tags", 1, 1, read("GET", "tags/list", 200), tag_many(300), repeat=True),
        Operation("idle", 0, 0, nothing, push_layer),
    ]
