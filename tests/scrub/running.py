"""Scrubs of a test's world."""

from dataclasses import dataclass, replace

from storage.objects.contract import ObjectStore
from storage.registry import Registry, Rules, open_registry
from storage.scrub.findings import Finding
from storage.scrub.runs import Options, Report
from storage.views import Epoch
from tests.protocol.serving import World


@dataclass(frozen=True)
class Scrubbed:
    """What a run found, and its report."""

    findings: list[Finding]
    report: Report

    @property
    def kinds(self) -> list[str]:
        """The kinds of what was found."""
        return sorted(finding.kind for finding in self.findings)

    @property
    def outcomes(self) -> set[tuple[str, str]]:
        """Each kind that was found, and what became of it."""
        return {(finding.kind, finding.outcome) for finding in self.findings}


async def registry(
    world: World, store: ObjectStore | None = None, rules: Rules | None = None, epoch: Epoch | None = None
) -> Registry:
    """The registry as a process of its own opens it, on a host of its own unless it shares an `epoch`."""
    return await open_registry(
        store or world.store, clock=world.clock, nonce=world.nonces, epoch=epoch or Epoch(), rules=rules or Rules()
    )


async def scrub(
    world: World,
    *,
    repair: bool = False,
    rules: Rules | None = None,
    store: ObjectStore | None = None,
    epoch: Epoch | None = None,
    **more: object,
) -> Scrubbed:
    """One run, in a process of its own. Time passes only while it waits."""
    findings: list[Finding] = []

    async def sleep(seconds: float) -> None:
        world.clock.advance(seconds)

    options = Options(repair=repair, rate=None, observe=findings.append, sleep=sleep)
    opened = await registry(world, store, rules, epoch)
    report = await opened.scrub.run(replace(options, **more))  # type: ignore[arg-type]
    return Scrubbed(findings, report)
