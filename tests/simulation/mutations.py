"""Deliberate bugs, each a small change to the real code: the simulation MUST find every one of them, or it proves nothing.

A source mutation replaces text in a method, and fails if the text is no longer there: then the code has changed, and so must it.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from storage.blobs import Blobs
from storage.catalog import Catalog
from storage.collection.collector import Collector
from storage.collection.run import Run
from storage.collection.survey import Survey
from storage.collection.verdicts import Verdicts
from storage.collection.walk import Walk
from storage.manifests import Manifests
from storage.removals import Removals
from storage.retention import versions
from storage.shelf import Shelf
from storage.uploads import Uploads
from storage.views import Views


@dataclass(frozen=True)
class Mutation:
    """A method, and the text in its source that is replaced; what the bug is, in words. `profile` is where it shows soonest."""

    name: str
    owner: Any
    method: str
    changes: Sequence[tuple[str, str]]
    profile: str | None = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Have the bug in the code, within the block."""
        original = inspect.getattr_static(self.owner, self.method)
        setattr(self.owner, self.method, self._mutated())
        try:
            yield
        finally:
            setattr(self.owner, self.method, original)

    def _mutated(self) -> Any:
        function: Callable[..., Any] = inspect.unwrap(getattr(self.owner, self.method))
        source = textwrap.dedent(inspect.getsource(function))
        for old, new in self.changes:
            assert old in source, f"{self.name}: {self.method} has changed, and no longer says {old!r}"
            source = source.replace(old, new)
        module = sys.modules[function.__module__]
        names: dict[str, Any] = {}
        exec(compile(source, f"<{self.name}>", "exec"), module.__dict__, names)
        return names[self.method]


REGISTRY = [
    Mutation(
        "removals since the views are not looked for",
        Catalog,
        "deleted_since",
        [("return _is_marked", "return False and _is_marked")],
    ),
    Mutation(
        "what was found condemned is relied on without a revival",
        Blobs,
        "view",
        [('view.value is None or view.value.state == "live"', "True")],
    ),
    Mutation("a blob's removal is not noted", Blobs, "delete", [("await self._catalog.note_deletion(name)", "pass")]),
    Mutation(
        "a blob's removal is noted after it",
        Blobs,
        "delete",
        [
            ("await self._catalog.note_deletion(name)", "pass"),
            ("await self._links.bury(view)", "await self._links.bury(view); await self._catalog.note_deletion(name)"),
        ],
    ),
    Mutation(
        "a manifest's removal is not noted", Manifests, "_bury", [("await self._catalog.note_deletion(name)", "pass")]
    ),
    Mutation(
        "a link is acknowledged from a view",
        Blobs,
        "_link",
        [("over: View[Link] | None = None", "over = self._links.known(key)")],
    ),
    Mutation(
        "the link is written before the instance",
        Blobs,
        "publish",
        [
            (
                "    check()\n",
                "    check()\n    await self._link(name, digest, Link(layout.data_key(written), size, self._context.nonce()))\n",
            ),
        ],
    ),
    Mutation("views do not age", Views, "is_recent", [("<= self.max_age", "<= 9e9")]),
    Mutation(
        "the catalog marker is not written",
        Catalog,
        "enter",
        [("await self._markers.write(key, marker, view)", "view")],
    ),
    Mutation(
        "a tag is acknowledged though another was faster",
        Manifests,
        "_write",
        [("entry = await self._entry(push)", "return")],
    ),
    Mutation(
        "a tag moves before the record is written",
        Manifests,
        "_write",
        [
            (
                "header = await self._confirm(push)",
                "header = self._new(push).header; await self._move(push, header, todo); header = await self._confirm(push)",
            ),
        ],
    ),
    Mutation("conditional writes are not conditional", Shelf, "_put", [("if_match=over.etag", "")]),
]

COLLECTOR = [
    Mutation("links and markers go whatever their age", Run, "is_past_grace", [("< self.began", "< 9e9 + self.began")]),
    Mutation("what is not needed is buried at once", Run, "retire", [('record.state == "live"', "False")]),
    Mutation(
        "bytes go though something below their digest has just changed",
        Verdicts,
        "_judge",
        [("blob.changed + self._run.context.periods.quiet >= time", "False")],
        profile="bytes",
    ),
    Mutation(
        "of several instances none is looked for in links",
        Verdicts,
        "_see",
        [("await self._name(blob, info.key)", "pass")],
    ),
    Mutation("an instance that is linked dies", Verdicts, "_judge", [("[] if blob.is_linked else ", "")]),
    Mutation(
        "what nobody claims goes although its session is open",
        Collector,
        "_sweep",
        [("run.began - self._context.periods.last_words", "9e99")],
    ),
    Mutation(
        "only live manifests count",
        Walk,
        "_read_manifests",
        [
            (
                "self._survey.add_references(name, known.named)",
                'self._survey.add_references(name, known.named if known.header.state == "live" else ())',
            )
        ],
    ),
    Mutation(
        "only configs count",
        Walk,
        "_read_manifests",
        [("known.named)", "list(known.named)[:1])")],
    ),
    Mutation(
        "manifests are no evidence",
        Survey,
        "references",
        [("return self._database", "return False and self._database")],
    ),
    Mutation(
        "dead tags are not looked for",
        Walk,
        "_read_pointers",
        [("not await self._may_have_dead_ones(name)", "True")],
    ),
    Mutation("a dry run does it", Removals, "plan", [("if self._dry_run:", "if False:")]),
    Mutation(
        "bytes without an instance are forgotten",
        Collector,
        "_sweep",
        [("survey.unclaimed(", "() and survey.unclaimed(")],
    ),
]

UPLOADS = [
    Mutation(
        "who cancels an upload removes its bytes",
        Uploads,
        "cancel",
        [
            (
                "await self._context.store.put(",
                "await self._context.store.delete_many([_key(session, piece) for piece in session.pieces])\n    await self._context.store.put(",
            )
        ],
    ),
]

RETENTION = [
    Mutation(
        "children of indexes go",
        versions,
        "_listed",
        [("children=tuple(each for each in known.named if each in there and each != header.subject)", "children=()")],
    ),
]

MUTATIONS = (*REGISTRY, *COLLECTOR, *UPLOADS, *RETENTION)
