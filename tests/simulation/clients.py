"""What clients do, as the gateway would have it done: one request after the other, each to any gateway, some tried again."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from storage.documents import Document
from storage.errors import BlobUnknown, MoorageError, ReferencesUnknown, RegistryError, Unavailable, UploadUnknown
from storage.references import Digest, RepositoryName, Tag
from storage.registry import Registry
from storage.sessions import Session
from storage.uploads import Body
from tests.simulation.model import Model, Operation, Violation
from tests.simulation.plan import Act
from tests.simulation.requests import Actor, Died, require_death
from tests.simulation.universe import BLOB_DIGESTS, BLOBS, BY_DIGEST, MANIFESTS, REPOSITORIES, TAGS

T = TypeVar("T")

MAX_SKEW = 900.0  # seconds that a gateway's clock may be off


class Surroundings(Protocol):
    """What a client needs of the simulation."""

    model: Model

    async def arrive(self, actor: Actor, gateway: int) -> Registry:
        """Wait until a request arrives at a gateway; its registry."""
        ...

    async def dawdle(self, actor: Actor) -> None:
        """Wait until more of a body arrives."""
        ...

    def note(self, text: str) -> None:
        """Add to the trace."""
        ...


class Client:
    """Does acts for an actor."""

    def __init__(self, around: Surroundings, actor: Actor) -> None:
        self._around = around
        self._actor = actor

    async def perform(self, act: Act) -> None:
        """Do it, whatever comes of it."""
        await getattr(self, f"_{act.kind}")(act)

    async def _asked(
        self,
        act: Act,
        kind: str,
        handle: Callable[[Registry], Awaitable[T]],
        digest: Digest | None = None,
        tags: tuple[Tag, ...] = (),
        gateway: int = 0,
    ) -> tuple[Operation, T | None, Exception | None]:
        """One request: the operation, its result, or what the client was told instead."""
        actor, model = self._actor, self._around.model
        registry = await self._around.arrive(actor, act.gateway + gateway)
        name = REPOSITORIES[act.repository]
        operation = Operation(kind, actor.name, name, digest, tags, model.step, model.now())
        model.begin(operation)
        actor.operation = operation
        self._around.note(f"{kind} {name} {_short(digest)} {' '.join(tags)}".rstrip())
        result: Any = None
        failure: Unavailable | RegistryError | None = None
        try:
            result = await handle(registry)
        except (Died, BaseExceptionGroup) as error:
            require_death(error)
            failure = Unavailable("the gateway died")
        except (Unavailable, RegistryError) as error:
            failure = error
        except MoorageError as error:
            raise Violation(f"{kind} of {_short(digest)} ended in {error!r}") from error
        finally:
            actor.operation = None
        model.end(
            operation,
            "done" if failure is None else "failed" if isinstance(failure, Unavailable) else "refused",
        )
        self._around.note(f"{kind}: {operation.outcome}{f', {failure!r}' if failure else ''}")
        return operation, result, failure

    async def _upload(self, act: Act) -> bool:
        """POST, maybe PATCH, and PUT, which is tried again; or the upload is given up. Whether the blob is there."""
        content, digest = BLOBS[act.item], BLOB_DIGESTS[act.item]
        name = REPOSITORIES[act.repository]
        begun = self._around.model.now()
        registry = await self._around.arrive(self._actor, act.gateway)
        token: str | None = registry.uploads.seal(registry.uploads.begin(), name)
        written, in_pieces, slow = 0, act.how % 4, bool(act.how & 16)
        while token is not None and written < min(in_pieces, 2):
            piece = content[:2] if written == 0 else content[2:]
            token = await self._append(act, token, piece, written, slow, begun)
            written += 1
        if token is None or (act.how & 32 and act.how & 8):
            return False
        if act.how & 4 and act.how & 8:
            await self._asked(act, "cancel", lambda registry: _cancelled(registry, token, name))
        rest = content if written == 0 else content[2:] if written == 1 else None
        return await self._commit(act, token, digest, rest, slow, begun)

    async def _append(self, act: Act, token: str, piece: bytes, number: int, slow: bool, begun: float) -> str | None:
        name = REPOSITORIES[act.repository]

        async def handle(registry: Registry) -> str:
            session = await registry.uploads.open(token, name)
            session = await registry.uploads.append(session, Body(self._chunks(piece, slow)))
            return registry.uploads.seal(session, name)

        _, longer, failure = await self._asked(act, "append", handle, gateway=number)
        self._check_expired(failure, begun)
        return longer

    async def _commit(self, act: Act, token: str, digest: Digest, rest: bytes | None, slow: bool, begun: float) -> bool:
        name = REPOSITORIES[act.repository]

        async def handle(registry: Registry) -> None:
            session = await registry.uploads.open(token, name)
            body = Body(self._chunks(rest, slow)) if rest is not None else None
            await registry.uploads.commit(name, session, digest, body)

        for attempt in range(act.tries):
            _, _, failure = await self._asked(act, "upload", handle, digest, gateway=attempt)
            if failure is None:
                return True
            self._check_expired(failure, begun)
            if not isinstance(failure, Unavailable):
                break
        return False

    def _check_expired(self, failure: Exception | None, begun: float) -> None:
        """An upload is lost only once it has expired, by clocks that differ."""
        model = self._around.model
        if isinstance(failure, UploadUnknown) and model.now() - begun < model.periods.upload_expiry - 2 * MAX_SKEW:
            raise Violation(f"an upload of {model.now() - begun:g} s was lost: {failure}")

    async def _chunks(self, content: bytes, slow: bool) -> AsyncIterator[bytes]:
        yield content[:1]
        if slow:
            await self._around.dawdle(self._actor)
        yield content[1:]

    async def _mount(self, act: Act) -> bool:
        """Mount from the other repository or from any; else upload."""
        name, digest = REPOSITORIES[act.repository], BLOB_DIGESTS[act.item]
        source = REPOSITORIES[1 - act.repository] if act.how & 1 else None

        async def handle(registry: Registry) -> None:
            if not await registry.blobs.mount(name, digest, source):
                raise BlobUnknown("nothing to mount")

        _, failure = await self._again(act, "mount", handle, digest)
        if failure is not None and act.how & 2:
            return await self._upload(act)
        return failure is None

    async def _head(self, act: Act) -> bool:
        name, digest = REPOSITORIES[act.repository], BLOB_DIGESTS[act.item]
        claim = self._around.model.blobs.get((name, digest))
        _, _, failure = await self._asked(act, "head", lambda registry: registry.blobs.find(name, digest), digest)
        if isinstance(failure, BlobUnknown):
            self._check_claimed(claim, f"HEAD of {_short(digest)} in {name} found nothing")
        return failure is None

    def _check_claimed(self, claim: Any, told: str) -> None:
        """A client that was told of a blob or manifest finds it, if its claim held all the time."""
        if claim is None:
            return
        model = self._around.model
        model.check_lapsed()
        if claim in (model.blobs.get((claim.name, claim.digest)), model.manifests.get((claim.name, claim.digest))):
            raise Violation(f"I1: {told}, though it was acknowledged")

    async def _unblob(self, act: Act) -> None:
        name, digest = REPOSITORIES[act.repository], BLOB_DIGESTS[act.item]
        await self._again(act, "unblob", lambda registry: registry.blobs.delete(name, digest), digest)

    async def _again(
        self,
        act: Act,
        kind: str,
        handle: Callable[[Registry], Awaitable[T]],
        digest: Digest | None = None,
        tags: tuple[Tag, ...] = (),
    ) -> tuple[T | None, Exception | None]:
        """A request that is tried again after errors."""
        result: Any = None
        failure: Exception | None = None
        for attempt in range(act.tries):
            _, result, failure = await self._asked(act, kind, handle, digest, tags, gateway=attempt)
            if not isinstance(failure, Unavailable):
                break
        return result, failure

    async def _put(self, act: Act) -> None:
        await self._pushed(act, MANIFESTS[act.item].document, MANIFESTS[act.item].digest)

    async def _pushed(self, act: Act, document: Document, digest: Digest) -> None:
        name = REPOSITORIES[act.repository]
        tags = () if act.tag is None else (TAGS[act.tag],)
        model = self._around.model
        claims = {str(blob): model.blobs.get((name, blob)) for blob in document.blobs}
        claims |= {str(child): model.manifests.get((name, child)) for child in document.manifests}
        _, failure = await self._again(
            act, "put", lambda registry: registry.manifests.put(name, digest, document, tags), digest, tags
        )
        if isinstance(failure, ReferencesUnknown):
            for missing in failure.missing:
                self._check_claimed(claims.get(missing), f"a push to {name} was told that {missing[7:15]} is unknown")

    async def _image(self, act: Act) -> None:
        """HEAD each blob and upload what is missing, push the children, then the manifest."""
        goods = MANIFESTS[act.item]
        for child in goods.document.manifests:
            number = next(n for n, each in enumerate(MANIFESTS) if each.digest == child)
            await self._image(_changed(act, item=number, tag=None))
        for blob in goods.document.blobs:
            of_blob = _changed(act, item=BLOB_DIGESTS.index(blob))
            if not await self._head(of_blob) and not await self._upload(of_blob):
                return
        await self._pushed(act, goods.document, goods.digest)

    async def _unmanifest(self, act: Act) -> None:
        name, digest = REPOSITORIES[act.repository], MANIFESTS[act.item].digest
        await self._again(act, "unmanifest", lambda registry: registry.manifests.delete(name, digest), digest)

    async def _untag(self, act: Act) -> None:
        name, tag = REPOSITORIES[act.repository], TAGS[act.tag or 0]
        await self._again(act, "untag", lambda registry: registry.tags.remove(name, tag), tags=(tag,))

    async def _pull(self, act: Act) -> None:
        """A manifest, and its blobs whole."""
        name, goods = REPOSITORIES[act.repository], MANIFESTS[act.item]
        model = self._around.model
        claim = model.manifests.get((name, goods.digest))
        operation, found, failure = await self._asked(
            act, "get", lambda registry: registry.manifests.get(name, goods.digest), goods.digest
        )
        if failure is not None:
            if not isinstance(failure, Unavailable):
                self._check_claimed(claim, f"{name} was asked for {_short(goods.digest)} and said {failure}")
            return
        if found is None or found.content != goods.document.content:
            raise Violation(f"I4: {_short(goods.digest)} was served with other bytes")
        model.check_served(operation)
        for blob in goods.document.blobs:
            _, content, failure = await self._asked(act, "get blob", partial(_read, name=name, digest=blob), blob)
            if isinstance(failure, RegistryError):
                self._check_claimed(claim, f"{name} was asked for the blob {_short(blob)} and said {failure}")
            elif failure is None and content != BLOBS[BLOB_DIGESTS.index(blob)]:
                raise Violation(f"I4: {_short(blob)} was served with other bytes")

    async def _resolve(self, act: Act) -> None:
        name, tag = REPOSITORIES[act.repository], TAGS[act.tag or 0]
        operation, found, failure = await self._asked(
            act, "resolve", lambda registry: registry.manifests.resolve(name, tag), tags=()
        )
        if isinstance(failure, Unavailable):
            return
        value = str(found[0]) if found is not None else None
        if not self._around.model.may_point(name, tag, value, operation.began):
            raise Violation(f"I2: {name}:{tag} was read as {value}, which no order of moves explains")

    async def _undo(self, act: Act) -> None:
        name = REPOSITORIES[act.repository]
        _, sentences, _ = await self._asked(act, "undo", lambda registry: _undone(registry, name), tags=TAGS)
        for sentence in sentences or ():
            self._around.note(sentence)

    async def _referrers(self, act: Act) -> None:
        name, goods = REPOSITORIES[act.repository], MANIFESTS[2]
        subject = goods.document.subject
        assert subject is not None
        claim = self._around.model.manifests.get((name, goods.digest))
        _, page, failure = await self._asked(
            act, "referrers", lambda registry: registry.referrers.list(name, subject, None, None)
        )
        if failure is None and page is not None and str(goods.digest) not in [each.digest for each in page.descriptors]:
            self._check_claimed(claim, f"the referrers of {_short(subject)} in {name} lack {_short(goods.digest)}")


async def _undone(registry: Registry, name: RepositoryName) -> list[str]:
    return [result.sentence async for result in registry.undo.run(name, None, dry_run=False)]


async def _cancelled(registry: Registry, token: str, name: RepositoryName) -> None:
    session: Session = await registry.uploads.open(token, name)
    await registry.uploads.cancel(session)


async def _read(registry: Registry, name: RepositoryName, digest: Digest) -> bytes:
    link = await registry.blobs.find(name, digest)
    return b"".join([chunk async for chunk in await registry.blobs.read(link, digest)])


def _short(digest: Digest | None) -> str:
    """A digest as a trace shows it."""
    if digest is None:
        return ""
    if digest in BY_DIGEST:
        return f"manifest{[goods.digest for goods in MANIFESTS].index(digest)}"
    return f"blob{BLOB_DIGESTS.index(digest)}"


def _changed(act: Act, item: int, tag: int | None = None) -> Act:
    return Act(act.kind, act.repository, item, tag, act.gateway, act.how, act.tries)
