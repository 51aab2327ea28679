"""What a simulation is made of: who does what, on which store, with which clocks; drawn from a seed, and cut down by shrinking."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

HOUR = 3600.0
DAY = 24 * HOUR

Kind = Literal[
    "upload",  # a blob, in one request or several, maybe never ended
    "mount",
    "head",
    "unblob",  # DELETE of a blob
    "put",  # a manifest by digest or under a tag, whatever there is of its blobs
    "image",  # as clients push: HEAD each blob, upload what is missing, children first, then the manifest
    "unmanifest",
    "untag",
    "pull",  # a manifest and all its blobs
    "resolve",  # a tag
    "referrers",
    "collect",
    "rehearse",  # a dry run of the collector
    "retain",  # a run of the retention
    "undo",  # all that maintenance removed of a repository
    "pass",  # time passes; only before the simulation proper
]


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that an actor does. What `item` and `how` number depends on the kind; `tries` counts attempts after errors."""

    kind: Kind
    repository: int = 0
    item: int = 0
    tag: int | None = None
    gateway: int = 0
    how: int = 0
    tries: int = 1
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """What one actor does, in order. The name is unique, and says whether it is a client or a collector."""

    name: str
    acts: tuple[Act, ...]

    @property
    def is_maintenance(self) -> bool:
        """Whether it may sleep for days between two of its requests."""
        return self.name.startswith("collector")


@dataclass(frozen=True, slots=True)
class Plan:
    """A simulation before it runs.

    `past` is done first, one act after the other. `skews` are how many seconds each gateway's clock is ahead of the store's.
    `held` is the share of requests whose answer waits for another turn; `faults` and `ticks` are shares of the steps,
    `kills` of the writes after which their process dies.
    `chunk` is how many keys a look of the collector takes; with `retains` a policy wants untagged manifests to go after a day.
    `drops` are the steps at which the actor in front falls behind all others; None lets any actor go on at any step.
    """

    seed: int
    past: tuple[Act, ...]
    scripts: tuple[Script, ...]
    skews: tuple[float, ...] = (0.0,)
    grace: float = DAY
    upload_expiry: float = 2 * DAY
    whole_seconds: bool = False
    conditional_delete: bool = True
    chunk: int = 100_000
    retains: bool = False
    drops: tuple[int, ...] | None = None
    held: float = 0.3
    faults: float = 0.0
    kills: float = 0.0
    ticks: float = 0.1


PROFILES = ("bytes", "manifests", "uploads", "everything")

_WEIGHTS: Mapping[str, Mapping[Kind, int]] = {
    "bytes": {"upload": 5, "mount": 6, "head": 3, "unblob": 6, "put": 5, "image": 2, "unmanifest": 2, "pull": 1},
    "manifests": {
        "upload": 2,
        "head": 2,
        "unblob": 3,
        "put": 9,
        "image": 3,
        "unmanifest": 6,
        "untag": 3,
        "pull": 2,
        "resolve": 4,
        "referrers": 1,
        "undo": 1,
    },
    "uploads": {"upload": 9, "mount": 2, "head": 2, "unblob": 3, "put": 3, "image": 3, "unmanifest": 1, "pull": 1},
    "everything": {
        "upload": 4,
        "mount": 3,
        "head": 2,
        "unblob": 3,
        "put": 4,
        "image": 4,
        "unmanifest": 3,
        "untag": 2,
        "pull": 2,
        "resolve": 2,
        "referrers": 1,
        "undo": 1,
    },
}


@dataclass
class _Draw:
    """Draws a plan of a profile."""

    chance: random.Random
    profile: str
    blobs: int = field(init=False)
    manifests: int = field(init=False)
    repositories: int = field(init=False)
    tags: int = field(init=False)
    retains: bool = field(init=False)
    grace: float = field(init=False)

    def __post_init__(self) -> None:
        draw = self.chance.choice
        self.blobs = draw((1, 1, 1, 2, 3))
        self.manifests = draw((1, 1, 2, 3, 3))
        self.repositories = draw((1, 1, 1, 2) if self.profile == "manifests" else (1, 2, 2))
        self.tags = draw((1, 1, 1, 2))
        self.grace = draw((DAY, HOUR))
        self.retains = self.profile in {"manifests", "everything"} and self.chance.random() < 0.3

    def act(self, gateways: int) -> Act:
        """One thing that a client does."""
        chance, weights = self.chance, _WEIGHTS[self.profile]
        kind = chance.choices(list(weights), list(weights.values()))[0]
        of_blobs = kind in {"upload", "mount", "head", "unblob"}
        return Act(
            kind,
            repository=chance.randrange(self.repositories),
            item=chance.randrange(self.blobs if of_blobs else self.manifests),
            tag=chance.choice((None, *range(self.tags))) if kind in {"put", "image"} else chance.randrange(self.tags),
            gateway=chance.randrange(gateways),
            how=chance.randrange(64),
            tries=chance.choice((1, 2, 2, 3)),
        )

    def past(self) -> Sequence[Act]:
        """What happened before: pushes and removals, collections a grace period apart, and some more of anything."""
        chance, acts = self.chance, list[Act]()
        for repository in range(self.repositories):
            for item in range(self.manifests):
                acts += self._stock(repository, item)
        for _ in range(chance.choice((0, 0, 1, 1, 2, 2, 3))):
            acts.append(Act("pass", seconds=self.grace * 1.05))
            acts.append(Act(chance.choice(("collect", "retain")) if self.retains else "collect"))
        for _ in range(chance.choice((0, 0, 1, 2))):
            acts += (self.act(1), self._pause())
        acts.append(self._pause())
        return acts

    def _stock(self, repository: int, item: int) -> Sequence[Act]:
        """A manifest that was pushed, or once was, or whose blobs were."""
        chance = self.chance
        tag = chance.choice((None, *range(self.tags)))
        image = Act("image", repository, item, tag, how=chance.randrange(4))
        blob = Act("upload", repository, chance.randrange(self.blobs), how=chance.randrange(4))
        removal = Act("unmanifest", repository, item)
        return chance.choice(([], [image], [image], [blob], [image, removal], [blob, image], [image, removal, image]))

    def _pause(self) -> Act:
        return Act("pass", seconds=self.chance.choice((0, 30, 1200, 1.05 * self.grace, 1.05 * self.grace, 60 * HOUR)))

    def maintenance(self) -> tuple[Act, ...]:
        """What one collector after the other does."""
        kinds: Sequence[Kind] = ("collect", "collect", "collect", "collect", "collect", "rehearse")
        if self.retains:
            kinds = ("collect", "retain", "retain")
        return tuple(Act(self.chance.choice(kinds)) for _ in range(self.chance.choice((1, 2, 3, 4))))


def drawn(seed: int, profile: str | None = None) -> Plan:
    """The plan of a seed; the profiles take turns, unless one is named."""
    chance = random.Random(f"plan {seed}")
    draw = _Draw(chance, profile or PROFILES[seed % len(PROFILES)])
    gateways = chance.choice((1, 2, 2, 3))
    past = draw.past()
    scripts = [
        Script(f"client{n}", tuple(draw.act(gateways) for _ in range(chance.choice((1, 2, 3, 4)))))
        for n in range(chance.choice((2, 2, 3, 3, 4)))
    ]
    scripts += [Script(f"collector{n}", draw.maintenance()) for n in range(chance.choice((0, 1, 1, 1, 1, 2)))]
    steps = 12 * sum(len(script.acts) for script in scripts)
    return Plan(
        seed,
        tuple(past),
        tuple(scripts),
        skews=tuple(chance.choice((0.0, 0.0, chance.uniform(-900, 900), 900.0, -900.0)) for _ in range(gateways)),
        grace=draw.grace,
        upload_expiry=chance.choice((2 * DAY, 2 * HOUR)),
        whole_seconds=chance.random() < 0.3,
        conditional_delete=chance.random() < 0.8,
        chunk=chance.choice((1, 4, 100_000)),
        retains=draw.retains,
        drops=tuple(chance.randrange(steps) for _ in range(chance.randrange(1, 12)))
        if chance.random() < 0.65
        else None,
        held=chance.choice((0.0, 0.2, 0.5)),
        faults=chance.choice((0.0, 0.0, 0.02, 0.08)),
        kills=chance.choice((0.0, 0.0, 0.05, 0.15)),
        ticks=chance.choice((0.02, 0.05, 0.15)),
    )
