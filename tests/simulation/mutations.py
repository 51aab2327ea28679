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

from storage import versions
from storage.blobs import Blobs
from storage.catalog import Catalog
from storage.collector import Collector
from storage.manifests import Manifests
from storage.removals import Removals
from storage.retention import Retention
from storage.run import Run
from storage.shelf import Shelf
from storage.tags import Tags
from storage.undo import Undo
from storage.uploads import Uploads
from storage.verdicts import Verdicts
from storage.views import Views
from storage.walk import Walk


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
        "the generation that a tag names is not compared",
        Manifests,
        "_pointed",
        [("and found.header.generation == pointer.generation", "")],
    ),
    Mutation("tombstones have no nonce", Shelf, "bury", [("self._context.nonce().encode(), over", 'b"0" * 16, over')]),
    Mutation(
        "a link is acknowledged from a view",
        Blobs,
        "_link",
        [("over: View[Link] | None = None", "over = self._links.known(key)")],
    ),
    Mutation(
        "a tag is moved on a view read after the record",
        Manifests,
        "_write",
        [
            (
                "marker = await self._catalog.enter(push.name, marker)",
                "marker = await self._catalog.enter(push.name, marker); todo = await self._look_again(push, todo)",
            )
        ],
    ),
    Mutation(
        "a move whose answer is lost is made again",
        Tags,
        "move",
        [("except Overtaken as", "except ZeroDivisionError as")],
    ),
    Mutation(
        "a shared blob is not looked at again after the body",
        Uploads,
        "_commit_at_once",
        [("if not self._blobs.is_recent(shared):", "if False:")],
    ),
    Mutation(
        "the cleaner of a dead generation does not compare it",
        Tags,
        "remove_generation",
        [("(view.value.digest, view.value.generation) == (digest, generation)", "view.value.digest == digest")],
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
    Mutation(
        "a referrer entry of a dead generation is left",
        Manifests,
        "_refer",
        [("over.value.generation == generation", "True")],
    ),
    Mutation(
        "who withdraws a referrer entry does not compare the generation",
        Manifests,
        "_withdraw",
        [("and view.value.generation == generation", "")],
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
        "a tag's removal is repeated after its answer was lost",
        Tags,
        "remove",
        [("with suppress(Overtaken):", "if True:")],
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
    Mutation(
        "the removal of a manifest leaves its tags", Manifests, "_clean_up", [("for tag in dead.tags", "for tag in ()")]
    ),
]

COLLECTOR = [
    Mutation("links and markers go whatever their age", Run, "is_past_grace", [("< self.began", "< 9e9 + self.began")]),
    Mutation(
        "ages are counted back from a clock that is read later",
        Run,
        "is_past_grace",
        [("self.began", "self.context.clock()")],
    ),
    Mutation("what is not needed is buried at once", Run, "retire", [('record.state == "live"', "False")]),
    Mutation("what was condemned since it was listed is buried", Run, "look", [("view.etag == info.etag", "True")]),
    Mutation(
        "a link is condemned whatever has become of it",
        Run,
        "retire",
        [("partial(_write, shelf, condemned, view)", "partial(self.context.store.put, view.key, encode(condemned))")],
    ),
    Mutation(
        "bytes go though something below their digest has just changed",
        Verdicts,
        "_judge",
        [("blob.changed + self._run.context.periods.quiet >= time", "False")],
    ),
    Mutation(
        "an instance may die while its upload can be committed again",
        Verdicts,
        "_may_die",
        [("max(periods.grace, periods.session_over)", "periods.grace")],
    ),
    Mutation(
        "bytes go on what was seen long ago",
        Verdicts,
        "all",
        [("> self._run.context.periods.horizon", "> 9e9")],
    ),
    Mutation(
        "ages are counted back from the end of a look",
        Verdicts,
        "_judge",
        [("    if blob is None:\n", "    time = self._run.context.clock()\n    if blob is None:\n")],
    ),
    Mutation(
        "of several instances none is looked for in links",
        Verdicts,
        "_see",
        [("await self._name(blob, info.key)", "pass")],
    ),
    Mutation("an instance that is linked dies", Verdicts, "_judge", [("[] if blob.is_linked else ", "")]),
    Mutation(
        "abandoned bytes go as soon as their session expires by one clock",
        Collector,
        "_sweep",
        [
            (
                "run.began - self._context.periods.session_over",
                "self._context.clock() - self._context.periods.upload_expiry",
            )
        ],
    ),
    Mutation(
        "what nobody claims goes at any age",
        Collector,
        "_sweep",
        [("run.began - self._context.periods.session_over", "run.began")],
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
        "a tag is removed without a look at its manifest",
        Walk,
        "_tag",
        [("or await self._lives(name, Digest.parse(view.value.digest), view.value.generation)", "")],
    ),
    Mutation(
        "a referrer entry is removed without a look at its manifest",
        Walk,
        "_referrer",
        [("or await self._lives(name, referrer, view.value.generation)", "")],
    ),
    Mutation("a tombstone is purged whatever has become of it", Run, "purge", [(", if_match=info.etag", "")]),
    Mutation(
        "tombstones are purged at any age",
        Run,
        "purge",
        [("info.modified + self.context.periods.purge_age >= self.began", "False")],
    ),
    Mutation(
        "a marker goes whatever its age",
        Collector,
        "_retire_markers",
        [("run.began - self._context.periods.grace", "run.began")],
    ),
    Mutation(
        "evidence is the catalog",
        Verdicts,
        "_is_referenced",
        [("return self._survey.references(name, digest)", "return False")],
    ),
    Mutation("a dry run does it", Removals, "plan", [("if self._dry_run:", "if False:")]),
    Mutation("tombstones are never purged", Run, "purge", [("store.capabilities.conditional_delete", "False")]),
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
    Mutation(
        "who did not need its bytes removes them",
        Uploads,
        "_publish",
        [
            (
                "await self._blobs.adopt(name, digest, shared)",
                "await self._blobs.adopt(name, digest, shared); await self._context.store.delete(layout.data_key(segment))",
            )
        ],
    ),
    Mutation(
        "the expiry of an upload is not checked", Uploads, "_check_expiry", [("if self._context.clock() >", "if 0 >")]
    ),
    Mutation(
        "what was uploaded is not verified",
        Uploads,
        "_verified",
        [("if sent is not None and sent != digest.hex:", "if False:")],
    ),
]

RETENTION = [
    Mutation(
        "what was condemned is removed without a grace period",
        Retention,
        "_apply",
        [("+ grace < run.began", "< 9e9 + run.began")],
    ),
    Mutation(
        "versions are removed though they changed since",
        Manifests,
        "_exactly",
        [("view.value is None or view.etag != etag", "view.value is None")],
    ),
    Mutation(
        "a child that was condemned is not revived by its index",
        Manifests,
        "_view",
        [('view.value.header.state == "live"', "True")],
    ),
    Mutation(
        "a manifest that was condemned is not revived by its push",
        Manifests,
        "_wanted",
        [('header.state == "live" and ', "")],
    ),
    Mutation(
        "a referrer goes though its subject is back",
        Retention,
        "_bury",
        [("if await self._manifests.exists(judged.name, owner):", "if False:")],
    ),
    Mutation(
        "what was buried is linked again as it was",
        Undo,
        "_relink",
        [
            (
                "await self._copy(name, digest, key)",
                "await self._blobs.adopt(name, digest, __import__('dataclasses').replace(await self._links.read(layout.link_key(digest, name)), value=Link(key, (await self._context.store.head(key)).size, self._context.nonce())))",
            ),
        ],
    ),
    Mutation(
        "children of indexes go",
        versions,
        "_listed",
        [("children=tuple(each for each in known.named if each in there and each != header.subject)", "children=()")],
    ),
]

MUTATIONS = (*REGISTRY, *COLLECTOR, *UPLOADS, *RETENTION)
