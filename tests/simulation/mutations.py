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

from storage import catalog, shelf
from storage.blobs import Blobs
from storage.catalog import Catalog
from storage.manifests import Manifests
from storage.shelf import Shelf
from storage.tags import Tags
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
        exec(compile(source, f"<{self.name}>", "exec"), module.__dict__, names)  # noqa: S102 - it is our own source
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
        "a manifest's removal is not noted", Manifests, "delete", [("await self._catalog.note_deletion(name)", "pass")]
    ),
    Mutation(
        "the generation that a tag names is not compared",
        Manifests,
        "_pointed",
        [("and found.header.generation == pointer.generation", "")],
    ),
    Mutation(
        "tombstones have no nonce", Shelf, "bury", [("self._context.nonce().encode(), over", 'b"0" * 16, over')]
    ),
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
    Mutation("a move whose answer is lost is made again", Tags, "move", [("except Overtaken as", "except ZeroDivisionError as")]),
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
            ("    check()\n", "    check()\n    await self._link(name, digest, Link(layout.data_key(written), size, self._context.nonce()))\n"),
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
    Mutation("the catalog marker is not written", Catalog, "enter", [("await self._markers.write(key, marker, view)", "view")]),
    Mutation(
        "a tag is acknowledged though another was faster",
        Manifests,
        "_write",
        [("entry = await self._entry(push)", "return")],
    ),
    Mutation("a tag's removal is repeated after its answer was lost", Tags, "remove", [("with suppress(Overtaken):", "if True:")]),
    Mutation("a tag moves before the record is written", Manifests, "_write", [
        ("header = await self._confirm(push)", "header = self._new(push).header; await self._move(push, header, todo); header = await self._confirm(push)"),
    ]),
    Mutation("conditional writes are not conditional", Shelf, "_put", [("if_match=over.etag", "")]),
    Mutation("the removal of a manifest leaves its tags", Manifests, "_clean_up", [("for tag in dead.tags", "for tag in ()")]),
]
_ = (catalog, shelf)
