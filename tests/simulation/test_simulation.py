"""The real registry, collector, retention and clients, in whatever order their requests go: the invariants hold after each step."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.choosers import Replay
from tests.simulation.mutations import MUTATIONS, Mutation
from tests.simulation.plan import PROFILES, drawn
from tests.simulation.runs import Run, first_wrong, seeds, shrunk, simulate

SEEDS = 4_000
SHARES = 8
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("share", range(SHARES))
def test_nothing_is_violated(share: int, record_property: Callable[[str, object], None]) -> None:
    """I1 to I6 after each step, and I5 in the end, for every seed; scripts/simulate tries more."""
    runs: list[Run] = []
    wrong = first_wrong(seeds(range(share, SEEDS, SHARES)), runs.append)
    assert wrong is None, str(shrunk(wrong))
    record_property("sum of simulated seeds", len(runs))
    record_property("sum of simulated operations", sum(run.operations for run in runs))
    record_property("sum of simulated steps", sum(len(run.decisions) for run in runs))


def test_a_seed_is_the_same_run_each_time() -> None:
    """To the last step, in this process and in others, whose hashes of strings differ."""
    script = "from tests.simulation.test_simulation import traces; print(traces())"
    others = [
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, cwd=ROOT, check=True, capture_output=True
        ).stdout.decode()
        for seed in ("1", "2")
    ]
    assert {traces(), *(other.removesuffix("\n") for other in others)} == {traces()}


def traces() -> str:
    """All that a few seeds of each profile do."""
    runs = [simulate(drawn(seed), verbose=True) for seed in range(3 * len(PROFILES))]
    return "\n".join(note for run in runs for note in run.notes)


def test_a_failure_is_made_small() -> None:
    """It is told by fewer actors and steps than it was found by, and repeats."""
    (mutation,) = [each for each in MUTATIONS if each.name == "removals since the views are not looked for"]
    with mutation.applied():
        wrong = first_wrong(seeds(range(SEEDS)), lambda _: None)
        assert wrong is not None
        small = shrunk(wrong)
        assert small.wrong is not None
        assert len(small.decisions) < len(wrong.decisions) / 2
        assert simulate(small.plan, Replay(small.decisions)).wrong == small.wrong
    assert small.notes


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_it_finds_deliberate_bugs(mutation: Mutation, record_property: Callable[[str, object], None]) -> None:
    """Each within the seeds that CI runs, or the simulation proves nothing."""
    with mutation.applied():
        wrong = first_wrong(seeds(range(SEEDS), mutation.profile), lambda _: None)
    assert wrong is not None
    record_property(f"simulated bug, {mutation.name}", f"seed {wrong.plan.seed}: {wrong.wrong}")
