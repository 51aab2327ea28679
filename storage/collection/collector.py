"""The collector: removes what nothing references, while gateways serve, without a lock (docs/design.md, Removal).

A run walks the bucket in two listings, first all but the blobs, then the blobs. It is safe at every moment: it may be killed, sleep for
days between two requests, or run twice at once. What must be sorted lies on disk, so that memory does not grow with the registry.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from storage import layout
from storage.collection.pardons import Pardons
from storage.collection.run import MANY, WORK, Progress, Run
from storage.collection.survey import Survey
from storage.collection.verdicts import Verdicts
from storage.collection.walk import Walk
from storage.evidence import Evidence
from storage.lease import Lease
from storage.objects.contract import IncompleteUpload
from storage.records import CatalogMarker
from storage.removals import Observe, Removal, Removals
from storage.scratch import scratch
from storage.shelf import PARALLEL, Context, Shelf, codec, gathered


@dataclass(frozen=True, slots=True)
class Collection:
    """What a run has to say. `began` is its T0, by the store's clock; `problems` are sentences on what it left alone.

    `has_pulls` says that there is something for storage.retention to put together, which the run passed by.
    """

    began: float
    manifests_read: int
    has_pulls: bool
    problems: Sequence[str] = field(default_factory=list)


def _ignore(*_: object) -> None:
    pass


class Collector:
    """Runs over the bucket of `context`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def run(
        self, *, dry_run: bool = False, offline: bool = False, observe: Observe = _ignore, progress: Progress = _ignore
    ) -> Collection:
        """Remove what nothing references; raises Busy while another run is under way.

        `observe` hears of each removal. A dry run plans what would go now, and writes nothing but its own state. `offline` says that
        no gateway serves, so that tombstones may go from a store without conditional DELETE. `progress` hears of what kind of thing
        has been seen, and how many.
        """
        lease = Lease(self._context, WORK)
        with scratch() as database:
            async with lease.held(dry_run=dry_run) as began:
                removals = Removals(self._context, WORK, dry_run=dry_run, observe=observe)
                removals.time = began
                run = Run(self._context, lease, removals, began, offline, progress)
                survey, evidence = Survey(database), Evidence(self._context, database)
                walk = Walk(run, survey, evidence)
                await walk.all()
                if not dry_run:
                    await Pardons(run, survey).all()
                verdicts = Verdicts(run, survey)
                await verdicts.all()
                if verdicts.is_whole:
                    await self._sweep(run, survey)
                await self._abort_uploads(run)
                await self._retire_markers(run, survey)
                await run.finish()
                if walk.old_pages and not dry_run:
                    await self._context.store.delete_many(walk.old_pages)
                return Collection(began, evidence.manifests_read, walk.has_pulls, run.problems)

    async def _sweep(self, run: Run, survey: Survey) -> None:
        """Remove what uploads have left, once no session can publish it any more (rule 6)."""
        rows = survey.unclaimed(run.began - self._context.periods.last_words)
        why = "no blob was made of it, and its upload session is over"
        while some := list(islice(rows, MANY)):
            await run.lease.keep()
            keys = [key for key, _ in some]
            removals = [Removal("delete", key, why, size=size) for key, size in some]
            await run.removals.plan_together(removals, partial(self._context.store.delete_many, keys))

    async def _abort_uploads(self, run: Run) -> None:
        """Free what multipart uploads hold that their gateway never completed. Others of the bucket are not ours to end."""
        store, why = self._context.store, "an upload that was broken off"
        async with aclosing(store.list_incomplete_uploads()) as uploads:
            async for upload in uploads:
                await run.lease.keep()
                end = self._end(run, upload)
                if end is not None and end + self._context.periods.last_words < run.began:
                    removal = Removal("abort", upload.key, why)
                    await run.removals.plan(removal, partial(store.abort_incomplete_upload, upload))

    def _end(self, run: Run, upload: IncompleteUpload) -> float | None:
        """When its session ends, or a grace period after a probe began it; None if it is not moorage's."""
        if upload.key.startswith(layout.PROBE_PREFIX):
            return upload.initiated + self._context.periods.grace
        try:
            return run.session_end(layout.upload_of(upload.key), upload.initiated)
        except ValueError:
            return None

    async def _retire_markers(self, run: Run, survey: Survey) -> None:
        """Take repositories out of the catalog that have no manifest."""
        markers = Shelf(self._context, codec(CatalogMarker))
        rows = survey.idle_markers(run.began - self._context.periods.grace)
        while some := list(islice(rows, PARALLEL)):
            await run.lease.keep()
            views = await gathered(run.look(markers, info) for _, info in some)
            for (name, info), view in zip(some, views, strict=True):
                if view is not None:
                    removal = Removal("condemn", info.key, "the repository has no manifest", repository=str(name))
                    await run.retire(markers, view, removal)
