"""Tags: movable pointers, each one small object under its own name."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from storage import layout
from storage.errors import Contended, ManifestUnknown, Overtaken, PreconditionFailed
from storage.listings import page_of
from storage.records import MAX_HISTORY, TagMove, TagPointer
from storage.references import RepositoryName, Tag
from storage.shelf import Context, Shelf, bounded, codec, settle
from storage.views import View


class Tags:
    """The records under `repositories/<name>/_tags/`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._pointers = Shelf(context, codec(TagPointer))

    async def current(self, name: RepositoryName, tag: Tag) -> View[TagPointer]:
        """What the tag points to now, on every gateway: one GET, conditional if the tag was seen before."""
        return await self._pointers.current(layout.tag_key(name, tag))

    async def observe(self, name: RepositoryName, tag: Tag) -> View[TagPointer]:
        """A fresh view to move the tag from: one GET."""
        return await self._pointers.read(layout.tag_key(name, tag))

    def known(self, name: RepositoryName, tag: Tag) -> View[TagPointer] | None:
        """The view that this process has of the tag: no request."""
        return self._pointers.known(layout.tag_key(name, tag))

    async def move(self, name: RepositoryName, tag: Tag, to: TagMove, over: View[TagPointer] | None) -> None:
        """Point the tag to `to`; raises PreconditionFailed unless it is as `over` saw it, absent if that is None. One PUT.

        `over` MUST have been read before the manifest's record was last written or confirmed (docs/design.md, Removal, rule 8).
        Raises Contended if it may have been moved here, and on or away since: to move it again would undo what came between.
        """
        before = over.value if over is not None else None
        history = (_move(before), *before.history)[:MAX_HISTORY] if before else ()
        pointer = TagPointer(to.digest, to.generation, to.media_type, to.size, to.pushed_at, to.nonce, history=history)
        try:
            await self._pointers.write(layout.tag_key(name, tag), pointer, over)
        except Overtaken as error:
            now = (await self.observe(name, tag)).value
            if was_moved_by(now, to.nonce):
                return
            if before is not None and was_moved_by(now, before.nonce):
                raise PreconditionFailed(str(error)) from None  # all moves since are known, and this is not among them
            raise Contended(layout.tag_key(name, tag)) from None

    @bounded
    async def remove(self, name: RepositoryName, tag: Tag) -> None:
        """Remove the tag; raises ManifestUnknown. One GET and one PUT."""

        async def attempt() -> bool:
            view = await self.observe(name, tag)
            if view.value is None:
                raise ManifestUnknown(f"{name} has no tag {tag}")
            # Overtaken by a move that began before this ended, it counts as done right before that: whoever saw the tag gone may see
            # the move now, and must not see that undone.
            with suppress(Overtaken):
                await self._pointers.bury(view)
            return True

        await settle(attempt, layout.tag_key(name, tag))

    async def remove_generation(self, name: RepositoryName, tag: str, digest: str, generation: str) -> None:
        """Remove the tag if it points to this dead generation of a manifest, and leave it alone if not."""

        async def attempt() -> bool:
            view = await self._pointers.read(layout.tag_key(name, tag))
            if view.value is not None and (view.value.digest, view.value.generation) == (digest, generation):
                await self._pointers.bury(view)
            return True

        await settle(attempt, layout.tag_key(name, tag))

    async def list(self, name: RepositoryName, last: str, limit: int) -> Sequence[Tag]:
        """At most `limit` tags after `last`, in byte order: one LIST a 1,000."""
        prefix, start = layout.tags_prefix(name), layout.tag_key(name, last) if last else ""
        parse = partial(layout.parse_tag_below, prefix)
        return await page_of(self._context.store, prefix, parse, start, limit)


def points_to(pointer: View[TagPointer] | None, move: TagMove) -> bool:
    """Whether a tag was seen to point where `move` would move it."""
    seen = pointer.value if pointer is not None else None
    return seen is not None and (seen.digest, seen.generation) == (move.digest, move.generation)


def was_moved_by(pointer: TagPointer | None, nonce: str) -> bool:
    """Whether the request with this nonce moved the tag, even if others have moved it on since."""
    return pointer is not None and nonce in (pointer.nonce, *(move.nonce for move in pointer.history))


def _move(pointer: TagPointer) -> TagMove:
    """What a pointer says, without its history."""
    return TagMove(
        pointer.digest, pointer.generation, pointer.media_type, pointer.size, pointer.pushed_at, pointer.nonce
    )
