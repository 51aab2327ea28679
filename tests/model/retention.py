"""storage.retention.Retention: manifests that no policy keeps are condemned, and buried by the evidence of a later run (rule 9)."""

from tests.model.collector import listed, retire
from tests.model.manifests import manifest_key, record
from tests.model.shelf import view
from tests.model.steps import Now, Step
from tests.model.tags import pointer
from tests.model.world import Rule, World


def retain(world: World, name: str, runs: int) -> Step[None]:
    """Retire the manifest if no tag points to it and no index names it; revive it if it is condemned and one does.

    It buries without the other steps of a DELETE, which the code takes too: no push needs them for what was condemned so long ago.
    """
    for _ in range(runs):
        began: int = yield Now()
        manifests = yield from listed("A/manifest/")
        tags = yield from listed("A/tag/")
        key = manifest_key(name)
        is_child = any(name in found.children for _, held in manifests if (found := record(held)) is not None)
        is_tagged = any(to.manifest == key for _, held in tags if (to := pointer(held)) is not None)
        if is_child or is_tagged:
            yield from view(world, key)
        else:
            yield from retire(world, key, began, at_once=not world.keeps(Rule.CONDEMN_MANIFESTS))
