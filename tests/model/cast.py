"""What scenarios are made of: actors by their functions, and what lies in the store at first."""

from collections.abc import Callable, Mapping
from functools import partial

from tests.model import blobs, manifests
from tests.model.catalog import marker_key
from tests.model.engine import Part, Scenario
from tests.model.invariants import left_over, violated
from tests.model.manifests import Push
from tests.model.steps import Held, Step
from tests.model.world import (
    LONG_AGO,
    Bytes,
    Instance,
    Link,
    Manifest,
    Marker,
    Pointer,
    Rule,
    World,
)

Rules = frozenset[Rule]
Build = Callable[[Rules], Scenario]


def scenario(world: World, store: Mapping[str, object], ticks: int, *parts: Part, drains: bool = False) -> Scenario:
    """Where all that is in the store at first has been there for long."""
    held = {key: Held(body, LONG_AGO) for key, body in store.items()}
    invariant = partial(violated, world)

    def closing(store: Mapping[str, Held], _: object, clock: int) -> str | None:
        return left_over(world, store, clock)

    return Scenario(parts, held, invariant, ticks, closing if drains else None)


def part(name: str, actor: Callable[..., Step[None]], *args: object, crashes: bool = False, losses: int = 0) -> Part:
    """An actor by the function that it runs."""
    return Part(name, partial(actor, *args), crashes, losses)


def push(world: World, who: str, name: str = "m", losses: int = 0, crashes: bool = True, **more: object) -> Part:
    """Somebody who pushes a manifest."""
    return Part(who, partial(manifests.put, world, Push(who, name, **more)), crashes, losses)  # type: ignore[arg-type]


def linked(repository: str, instance: str) -> Mapping[str, object]:
    """A repository with a blob."""
    return {
        f"in/{repository}": Link(instance, ""),
        f"at/{instance}": Instance("0", LONG_AGO),
        f"data/{instance}": Bytes(LONG_AGO),
    }


CATALOG = {marker_key("A"): Marker("")}
TAGGED = {
    "A/manifest/m": Manifest("g0", "", tags=frozenset({"t"}), has_blob=False),
    "A/tag/t": Pointer("A/manifest/m", "g0", "", ("",)),
}
TICKING = (0.05, 0.15, 0.4)  # how likely the clock ticks in a step of a random walk
NO_MANIFESTS = frozenset({Rule.NOTE_DELETION})  # where nobody pushes one, nobody reads the marker
LINK = blobs.link_key("A")
