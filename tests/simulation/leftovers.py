"""I5: once everybody is gone, a few collections a grace period apart leave exactly what is referenced."""

from collections.abc import Iterator, Sequence

from storage import layout
from storage.references import Digest
from tests.simulation.bucket import Bucket
from tests.simulation.mirror import Mirror

OWN = (layout.FORMAT_KEY, "keys/", "collector/", "retention/", "policies/")


def leftovers(bucket: Bucket, mirror: Mirror) -> Sequence[str]:
    """The keys that nothing references, tombstones among them."""
    needed = set(_needed(mirror))
    return [key for key in bucket.everything() if key not in needed and not key.startswith(OWN)]


def _needed(mirror: Mirror) -> Iterator[str]:
    for key, (header, _) in mirror.manifests.items():
        name, _ = layout.parse_manifest_key(key)
        yield key
        yield layout.catalog_key(name)
        for blob in header.blobs:
            link_key = layout.link_key(Digest.parse(blob), name)
            yield link_key
            link = mirror.links.get(link_key)
            if link is not None:
                yield link.key
                yield mirror.instances.get(link.key, "")
    for key, pointer in mirror.tags.items():
        if mirror.points_to(key) == pointer.digest:
            yield key
    for key, entry in mirror.entries.items():
        name, _, referrer = layout.parse_referrer_key(key)
        record = mirror.manifests.get(layout.manifest_key(name, referrer))
        if record is not None and record[0].generation == entry.generation:
            yield key
