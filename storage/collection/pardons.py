"""Links that the collection before has condemned, and that a manifest names by now.

Who pushed such a manifest relied on a view of the link from before (docs/design.md, Removal, rule 1). It is safe while it is named, but if it
stayed condemned it would go as soon as the manifest does, and not a grace period later.
"""

from storage import layout
from storage.blobs import Blobs
from storage.catalog import Catalog
from storage.collection.run import WORK, Run
from storage.collection.survey import Survey
from storage.errors import CorruptRecord
from storage.removals import Journal, Removal
from storage.shelf import gathered


class Pardons:
    """Makes them live again, for `run`, by what `survey` says of the manifests."""

    def __init__(self, run: Run, survey: Survey) -> None:
        self._run = run
        self._survey = survey
        self._journal = Journal(run.context)
        self._blobs = Blobs(run.context, Catalog(run.context))

    async def all(self) -> None:
        """A GET for each page that the collection before has written, and one beyond; a GET and a PUT for each such link."""
        began: float | None = None
        for key in self._survey.latest_pages():
            await self._run.lease.keep()
            try:
                page = await self._journal.page(key)
            except CorruptRecord as error:
                self._run.problems.append(f"{error}; what it condemned was not looked at again")
                continue
            if page is None or page.work != WORK:
                continue
            if page.at != (began or page.at):
                return
            began = page.at
            await gathered(self._revive(removal) for removal in page.removals if removal.step == "condemn")

    async def _revive(self, removal: Removal) -> None:
        try:
            digest, name = layout.parse_link_key(removal.key)
        except ValueError:
            return  # a catalog marker, which every push reads
        if self._survey.references(name, digest):
            try:
                await self._blobs.view(name, digest, fresh=True)
            except CorruptRecord as error:
                self._run.problems.append(f"{error}; it was left alone")
