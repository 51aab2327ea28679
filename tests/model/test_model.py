"""The rules of removal hold in every order of requests; and without any one of them, the model finds what breaks."""

from collections.abc import Callable

import pytest

from tests.model import scenarios
from tests.model.cast import TICKING, Build
from tests.model.engine import Model
from tests.model.mixture import mixture
from tests.model.world import Rule

MIXTURES = 80
STEPS = 1_500

# What breaks without a rule, as the violation begins, and where it is seen.
MUTATIONS: tuple[tuple[Rule, str, Build], ...] = (
    (Rule.EVIDENCE_AFTER_T0, "I1", scenarios.links_and_pushes),
    (Rule.GRACE_BEFORE_BURIAL, "I1", scenarios.links_and_pushes),
    (Rule.BURY_BY_ETAG, "I1", scenarios.links_and_pushes),
    (Rule.REVIVE, "I1", scenarios.links_and_pushes),
    (Rule.REVIVE, "rule 2", scenarios.heads_and_collectors),
    (Rule.NONCES, "I1", scenarios.links_and_pushes),
    (Rule.NOTE_DELETION, "I1", scenarios.blob_deletes_and_pushes),
    (Rule.NOTE_DELETION, "I1", scenarios.child_deletes_and_pushes),
    (Rule.NOTE_FIRST, "I1", scenarios.blob_deletes_and_pushes),
    (Rule.NOTE_AGAIN, "I1", scenarios.deletes_and_deletes),
    (Rule.ALLOW_SKEW, "I1", scenarios.blob_deletes_and_pushes),
    (Rule.ALLOW_BOUND, "I1", scenarios.blob_deletes_and_pushes),
    (Rule.ALLOW_BOUND, "I1", scenarios.markers_and_deletes),
    (Rule.FRESH_ACKNOWLEDGEMENT, "rule 2", scenarios.deletes_and_mounts),
    (Rule.QUIET, "dangling", scenarios.bytes_and_mounts),
    (Rule.QUIET_LINKS, "dangling", scenarios.several_instances),
    (Rule.HORIZON, "dangling", scenarios.pages_of_links),
    (Rule.INSTANCE_AGE, "dangling", scenarios.commits_and_collectors),
    (Rule.PURGE_IF_MATCH, "rule 2", scenarios.tombstones_and_purges),
    (Rule.SWEEP_BY_SKEW, "dangling", scenarios.commits_and_sweeps),
    (Rule.SWEEP_AFTER_T0, "dangling", scenarios.commits_and_sweeps),
    (Rule.CANCEL_KEEPS_BYTES, "dangling", scenarios.commits_and_cancels),
    (Rule.COMMIT_KEEPS_BYTES, "dangling", scenarios.commits_and_commits),
    (Rule.GENERATIONS, "rule 8", scenarios.tags_left_behind),
    (Rule.POINTER_FIRST, "I2", scenarios.deletes_and_pushes),
    (Rule.POINTER_BEFORE_RECORD, "I2", scenarios.dead_tags),
    (Rule.POINTER_BEFORE_RECORD, "rule 8", scenarios.dead_entries),
    (Rule.NAMED_AND_DEAD, "I5", scenarios.dead_tags_that_are_named),
    (Rule.MOVE_ONCE, "I2", scenarios.lost_moves),
    (Rule.REMOVE_ONCE, "I2", scenarios.lost_removals),
    (Rule.CONDEMN_MANIFESTS, "I1", scenarios.retention_and_indexes),
    (Rule.CONDEMN_MANIFESTS, "I1", scenarios.retention_and_tags),
    (Rule.CONDEMN_MARKERS, "catalog", scenarios.markers_and_pushes),
    (Rule.UNDO_COPIES, "dangling", scenarios.undo_and_collectors),
    (Rule.UNDO_IN_TIME, "dangling", scenarios.undo_and_collectors),
)


@pytest.mark.parametrize("build", scenarios.ALL, ids=lambda build: build.__name__)
def test_all_rules_together_hold_in_every_state(build: Build, record_property: Callable[[str, object], None]) -> None:
    """No order of steps MUST break an invariant, nor leave garbage; and all orders MUST have been tried."""
    verdict = Model(build(frozenset())).explore()
    assert verdict.violation is None, str(verdict)
    assert verdict.is_whole
    record_property("sum of states of the model", verdict.states)


@pytest.mark.parametrize(("rule", "breaks", "build"), MUTATIONS, ids=lambda value: getattr(value, "name", None))
def test_without_a_rule_something_breaks(rule: Rule, breaks: str, build: Build) -> None:
    """The model MUST find it: else it is not about that rule, or the rule is not needed."""
    verdict = Model(build(frozenset({rule}))).explore()
    assert verdict.violation is not None, f"nothing breaks without {rule.value}"
    assert verdict.violation.startswith(breaks), str(verdict)


def test_each_rule_is_needed() -> None:
    """Every rule that can be switched off MUST have a mutation."""
    assert {rule for rule, _, _ in MUTATIONS} == set(Rule)


def test_random_walks_of_everybody_together(record_property: Callable[[str, object], None]) -> None:
    """Nor MUST what is too large to be explored break an invariant, or leave garbage, as far as it is walked."""
    for seed in range(MIXTURES):
        verdict = Model(mixture(seed)).walk(seed, STEPS, TICKING[seed % 3])
        assert verdict.violation is None, f"seed {seed}: {verdict}"
        record_property("sum of random steps of the model", verdict.states)
