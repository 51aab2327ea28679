"""Referrers: the manifests that name another one as their subject.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from storage import layout
from storage.documents import INDEXES, Descriptor, annotations, entries
from storage.errors import ManifestUnknown
from storage.listings import page_of
from storage.manifests import LARGE_AT_ONCE, Manifests
from storage.references import Digest, RepositoryName, Tag
from storage.shelf import Context, gathered

PAGE = 500
_ENVELOPE = 1024  # bytes that an index takes beside its descriptors


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Descriptors of referrers, and the digest after which the next page begins, None on the last one."""

    descriptors: Sequence[Descriptor]
    next: str | None


class Referrers:
    """Lists what the entries under `repositories/<name>/_referrers/` name. `max_bytes` bounds a page."""

    def __init__(self, context: Context, manifests: Manifests, max_bytes: int) -> None:
        self._context = context
        self._manifests = manifests
        self._max_bytes = max_bytes

    async def list(
        self, name: RepositoryName, subject: Digest, artifact_type: str | None, last: Digest | None
    ) -> ReferrersPage:
        """The referrers of `subject` after `last`, in the order of their digests; empty if there are none.

        Includes what the fallback tag of clients from before the referrers API lists. One LIST and one GET for that tag, and
        one GET for each manifest that was not seen lately.
        """
        digests = await self._digests(name, subject, last)
        page, more = digests[:PAGE], len(digests) > PAGE
        descriptors: list[Descriptor] = []
        room = self._max_bytes - _ENVELOPE
        async with aclosing(self._descriptors(name, page)) as found:
            async for descriptor in found:
                if artifact_type is not None and descriptor.artifact_type != artifact_type:
                    continue
                room -= len(msgspec.json.encode(descriptor)) + 1
                if room < 0 and descriptors:
                    return ReferrersPage(descriptors, descriptors[-1].digest)
                descriptors.append(descriptor)
        return ReferrersPage(descriptors, str(page[-1]) if more else None)

    async def _digests(self, name: RepositoryName, subject: Digest, last: Digest | None) -> Sequence[Digest]:
        """The digests after `last`, one more than a page holds if there are as many."""
        prefix = layout.referrers_prefix(name, subject)
        start = layout.referrer_key(name, subject, last) if last else ""
        found = await page_of(self._context.store, prefix, layout.parse_referrer_key, start, PAGE + 1)
        entered = [digest for _, _, digest in found]
        listed = await self._fallback(name, subject, last)
        return sorted({*entered, *listed})[: PAGE + 1]

    async def _fallback(self, name: RepositoryName, subject: Digest, last: Digest | None) -> Sequence[Digest]:
        """The first digests after `last` that the subject's fallback tag lists, as many as a page may need."""
        tag = Tag.parse(f"{subject.algorithm}-{subject.hex[:64]}")
        try:
            _, manifest = await self._manifests.resolve(name, tag)
        except ManifestUnknown:
            return ()
        if manifest.header.media_type not in INDEXES:
            return ()
        return await asyncio.to_thread(_first_entries, manifest.content, last)

    async def _descriptors(self, name: RepositoryName, digests: Sequence[Digest]) -> AsyncGenerator[Descriptor]:
        """Those of the manifests that exist; few are in memory at a time, since each may be as large as a page."""
        for at in range(0, len(digests), LARGE_AT_ONCE):
            batch = digests[at : at + LARGE_AT_ONCE]
            for found in await gathered(self._descriptor(name, digest) for digest in batch):
                if found is not None:
                    yield found

    async def _descriptor(self, name: RepositoryName, digest: Digest) -> Descriptor | None:
        try:
            manifest = await self._manifests.get(name, digest)
        except ManifestUnknown:
            return None
        return Descriptor(
            media_type=manifest.header.media_type,
            digest=str(digest),
            size=manifest.header.size,
            artifact_type=manifest.header.artifact_type,
            annotations=annotations(manifest.content),
        )


def _first_entries(index: bytes, last: Digest | None) -> Sequence[Digest]:
    return sorted(digest for digest in entries(index) if last is None or digest > last)[: PAGE + 1]
