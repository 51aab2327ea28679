"""A registry of any number of links, written straight into an embedded store: through a gateway a million would take hours.

Each repository has 100 manifests of ten blobs each, two of which it shares with a fifth of the others, and a tag on each manifest. Digests
and data keys are in no order that a repository could be told by. One blob in a hundred is named by no manifest, though linked.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from storage import layout
from storage.documents import OCI_MANIFEST
from storage.layout import Segment
from storage.objects.embedded_index import NAME
from storage.records import CatalogMarker, Instance, Link, ManifestHeader, TagPointer, encode, encode_manifest
from storage.references import Digest, RepositoryName
from tests.protocol.documents import image

OWN, SHARED, MANIFESTS = 8, 2, 100
LINKS_OF_A_REPOSITORY = MANIFESTS * (OWN + SHARED)
_SPREAD = 5  # each shared digest is in every fifth repository
_POOL = MANIFESTS * SHARED * _SPREAD
_UNNAMED = 100  # one own blob in as many
_SIZE = 1_000  # bytes of each blob, as listings have it; there are none
_NONCE = "0123456789abcdef"
_GENERATION = "fedcba9876543210"

_Row = tuple[str, int, str, float, None, bytes]


@dataclass(frozen=True)
class Synthetic:
    """A registry of at least `links` links, in which nothing has changed since `modified`, in seconds since 1970."""

    links: int
    modified: float

    @property
    def repositories(self) -> int:
        """How many there are; a multiple of five."""
        return -(-self.links // LINKS_OF_A_REPOSITORY // _SPREAD) * _SPREAD

    @property
    def manifests(self) -> int:
        """How many there are in all repositories."""
        return self.repositories * MANIFESTS

    @property
    def unnamed(self) -> int:
        """How many links no manifest names."""
        return self.repositories * MANIFESTS * OWN // _UNNAMED

    def write(self, directory: Path) -> None:
        """Add it to the embedded store in `directory`, which nobody has open."""
        with closing(sqlite3.connect(directory / NAME)) as database:
            database.execute("PRAGMA synchronous = OFF")
            for rows in (self._blobs(), self._shared(), self._catalog(), self._data(), self._contents()):
                database.executemany("INSERT INTO objects VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.commit()

    def _blobs(self) -> Iterator[_Row]:
        """Instances and links of what one repository has, in the order of their keys."""
        for number in range(self.repositories * MANIFESTS * OWN):
            digest = self._own(number)
            yield from self._instance(digest)
            yield self._link(digest, number % self.repositories)

    def _shared(self) -> Iterator[_Row]:
        for number in range(_POOL):
            digest = _digest_of(number)
            yield from self._instance(digest)
            for repository in range(self.repositories):
                if (repository + number) % _SPREAD == 0:
                    yield self._link(digest, repository)

    def _catalog(self) -> Iterator[_Row]:
        for repository in range(self.repositories):
            yield self._row(layout.catalog_key(_name(repository)), encode(CatalogMarker(_NONCE)))

    def _data(self) -> Iterator[_Row]:
        """Bytes of all digests, of which there are only the sizes."""
        own = map(self._own, range(self.repositories * MANIFESTS * OWN))
        shared = map(_digest_of, range(_POOL))
        for key in sorted(layout.data_key(_segment(digest)) for digests in (own, shared) for digest in digests):
            yield (key, _SIZE, _etag(key.encode()), self.modified, None, b"")

    def _contents(self) -> Iterator[_Row]:
        """Manifests and tags, one repository after the other."""
        for repository in range(self.repositories):
            name = _name(repository)
            contents = sorted(
                (Digest.of(content), content)
                for content in (self._manifest(repository, number) for number in range(MANIFESTS))
            )
            for number, (digest, content) in enumerate(contents):
                yield self._record(name, digest, content, f"v{number:04}")
            for number, (digest, content) in enumerate(contents):
                pointer = TagPointer(str(digest), _GENERATION, OCI_MANIFEST, len(content), int(self.modified), _NONCE)
                yield self._row(layout.tag_key(name, f"v{number:04}"), encode(pointer))

    def _record(self, name: RepositoryName, digest: Digest, content: bytes, tag: str) -> _Row:
        header = ManifestHeader(
            media_type=OCI_MANIFEST,
            size=len(content),
            generation=_GENERATION,
            nonce=_NONCE,
            pushed_at=int(self.modified),
            blobs=tuple(line for line in content.decode().split('"') if line.startswith("sha256:")),
            tags=(tag,),
        )
        return self._row(layout.manifest_key(name, digest), encode_manifest(header, content))

    def _manifest(self, repository: int, number: int) -> bytes:
        own = [(number * OWN + each) * self.repositories + repository for each in range(OWN)]
        named = [self._own(each) for each in own if each // self.repositories % _UNNAMED]
        first = -repository % _SPREAD
        shared = [_digest_of(first + (number * SHARED + each) * _SPREAD) for each in range(SHARED)]
        config, *layers = [{"mediaType": "x", "digest": str(each), "size": _SIZE} for each in (*shared, *named)]
        return image(config, layers)

    def _own(self, number: int) -> Digest:
        """A digest that one repository has; they rise with the number."""
        step = 16**16 // (self.repositories * MANIFESTS * OWN)
        return Digest("sha256", f"{number * step:016x}" + hashlib.sha256(b"%d" % number).hexdigest()[:48])

    def _instance(self, digest: Digest) -> Iterable[_Row]:
        segment = _segment(digest)
        record = Instance(layout.data_key(segment), _SIZE, _NONCE)
        yield self._row(layout.instance_key(digest, segment), encode(record))

    def _link(self, digest: Digest, repository: int) -> _Row:
        record = Link(layout.data_key(_segment(digest)), _SIZE, _NONCE)
        return self._row(layout.link_key(digest, _name(repository)), encode(record))

    def _row(self, key: str, body: bytes) -> _Row:
        return (key, len(body), _etag(key.encode()), self.modified, None, body)


def _name(number: int) -> RepositoryName:
    return RepositoryName.parse(f"team-{number % 10}/app-{number:05}")


def _digest_of(number: int) -> Digest:
    """A digest that several repositories have."""
    return Digest.of(b"shared %d" % number)


def _segment(digest: Digest) -> Segment:
    drawn = hashlib.sha256(digest.hex.encode()).hexdigest()
    return Segment(drawn[:32], 0, drawn[32:48])


def _etag(key: bytes) -> str:
    return f'"{hashlib.md5(key).hexdigest()}"'
