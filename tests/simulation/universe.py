"""The little there is to push: so few names, blobs and manifests that everything collides."""

from dataclasses import dataclass

from storage.documents import Document, read
from storage.references import Digest, RepositoryName, Tag
from tests.protocol.documents import CONFIG, descriptor, image, index, manifest_descriptor

REPOSITORIES = (RepositoryName.parse("a"), RepositoryName.parse("b/c"))
TAGS = (Tag.parse("x"), Tag.parse("y"))
BLOBS = (b"first", b"second, longer", b"third")
BLOB_DIGESTS = tuple(map(Digest.of, BLOBS))


@dataclass(frozen=True)
class Goods:
    """A manifest that clients push."""

    digest: Digest
    document: Document


def _goods(content: bytes) -> Goods:
    return Goods(Digest.of(content), read(content, None))


_PLAIN = image(descriptor(BLOBS[0], CONFIG))
_LIST = index([manifest_descriptor(_PLAIN)])
_SIGNATURE = image(descriptor(BLOBS[1], CONFIG), [descriptor(BLOBS[0])], subject=manifest_descriptor(_PLAIN))

MANIFESTS = tuple(map(_goods, (_PLAIN, _LIST, _SIGNATURE)))
BY_DIGEST = {goods.digest: goods for goods in MANIFESTS}
