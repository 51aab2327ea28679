"""A retention on a host of its own, and what tests look for in the bucket."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from storage import layout
from storage.errors import NotFound
from storage.objects.contract import ObjectStore
from storage.records import decode_manifest
from storage.references import Digest, RepositoryName
from storage.registry import Registry, Rules, open_registry
from storage.removals import Outcome, Removal
from storage.retention.policies import Policy, Rule, Status
from storage.retention.runs import Retained
from storage.views import Epoch
from tests.protocol.serving import World

HOUR = 3600.0
DAY = 24 * HOUR
EVERYTHING = (Rule(tag_regexp=".*", untagged=True, expire_period=int(DAY)),)


@dataclass
class Keeper:
    """Runs the retention, and says what it did."""

    registry: Registry
    seen: list[tuple[Removal, Outcome]] = field(default_factory=list)

    async def run(self, policy: str | None = None) -> Retained:
        """One run."""
        self.seen = []
        return await self.registry.retention.run(policy=policy, observe=lambda *each: self.seen.append(each))

    async def apply(
        self,
        *rules: Rule,
        name: str = "p",
        repositories: Sequence[str] = ("**",),
        status: Status = "ACTIVE",
        protect: Sequence[str] = (),
    ) -> None:
        """Set a policy."""
        policy = Policy(name, tuple(repositories), rules or EVERYTHING, status=status, protect=tuple(protect))
        await self.registry.policies.set([policy])

    def done(self, step: str) -> set[str]:
        """The digests of what the last run did a step to."""
        return {str(removal.digest) for removal, outcome in self.seen if (removal.step, outcome) == (step, "done")}


async def keeper_of(world: World, store: ObjectStore | None = None, rules: Rules | None = None) -> Keeper:
    """A retention that remembers nothing."""
    registry = await open_registry(
        store or world.store, clock=world.clock, nonce=world.nonces, epoch=Epoch(), rules=rules or Rules()
    )
    return Keeper(registry)


async def state(store: ObjectStore, name: str, digest: str) -> str:
    """What lies where a manifest's record lies or lay."""
    try:
        decoded = decode_manifest(await store.get(layout.manifest_key(RepositoryName(name), Digest.parse(digest))))
    except NotFound:
        return "gone"
    return decoded[0].state if decoded else "gone"
