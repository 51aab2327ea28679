"""Every error that storage/ raises; a class only where a caller acts differently.

MoorageError
├── StoreError                  the object store, see storage.objects.contract
│   ├── NotFound                the key does not exist
│   ├── PreconditionFailed      a conditional write met another state
│   │   └── Overtaken           the same, but it may have been applied first
│   ├── Unavailable             no answer in time, or an answer that may change: try later
│   │   └── Contended           others changed the same record first, again and again
│   ├── Denied                  the store refuses our credentials
│   └── Invalid                 the store, or the contract, refuses the request itself
├── Busy                        another run of the same maintenance is under way
├── CorruptRecord               an object that moorage cannot have written
├── PolicyError               a retention policy that cannot be, or is not there
├── ForeignFormat               the store holds another format, or a newer one
└── RegistryError               the client asked for something that cannot be
    ├── NameInvalid · DigestInvalid · TagInvalid · SizeInvalid · ManifestInvalid · PageInvalid
    ├── NameUnknown · BlobUnknown · ManifestUnknown · UploadUnknown
    ├── ReferencesUnknown       a manifest names blobs or manifests that are not there
    ├── UploadInvalid           an upload request that makes no sense
    ├── OutOfOrder              a chunk that does not begin where the last one ended
    └── TooLarge                more than a limit of the settings
"""

from collections.abc import Sequence


class MoorageError(Exception):
    """The root of all errors that storage/ raises on purpose."""


class StoreError(MoorageError):
    """The object store failed; the message names the key and what the store said."""


class NotFound(StoreError):
    """The key does not exist. A bucket that does not exist is Unavailable, never this."""


class PreconditionFailed(StoreError):
    """A conditional write met another state; nothing of it is visible now."""


class Overtaken(PreconditionFailed):
    """A conditional write got no answer, and another state is there now: whether it was applied before that, nobody can tell."""


class Unavailable(StoreError):
    """The store did not answer in time, or not in a way that can be relied on.

    `retry_after` is in seconds, where the store has said when to come again.
    """

    retry_after: float | None = None


class Contended(Unavailable):
    """Others changed the same record first, every time: there are too many of them."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is being changed by too many at once")


class Denied(StoreError):
    """The store refuses our credentials, or they lack a permission."""


class Invalid(StoreError):
    """The request can never succeed as it is."""


class Busy(MoorageError):
    """Another run of the same maintenance is under way, or has taken over."""


class CorruptRecord(MoorageError):
    """The object under a key is not what moorage writes there."""

    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key = key


class PolicyError(MoorageError):
    """A retention policy that cannot be, or a policy or dry run that is not there; the message is meant for its user."""


class ForeignFormat(MoorageError):
    """The store was written by something else, or by a newer moorage."""


class RegistryError(MoorageError):
    """The client asked for something that cannot be; the message is meant for its user."""


class NameInvalid(RegistryError):
    """Not a repository name."""


class DigestInvalid(RegistryError):
    """Not a digest, or not the digest of the content."""


class TagInvalid(RegistryError):
    """Not a tag."""


class SizeInvalid(RegistryError):
    """The content is not as long as the client said."""


class ManifestInvalid(RegistryError):
    """Not a manifest that moorage takes."""


class PageInvalid(RegistryError):
    """A page size that is not a whole number, or a place to begin that is no name."""


class NameUnknown(RegistryError):
    """No such repository."""


class BlobUnknown(RegistryError):
    """The repository has no such blob."""


class ManifestUnknown(RegistryError):
    """The repository has no such manifest or tag."""


class UploadUnknown(RegistryError):
    """No such upload session: unknown, expired, forged, or of another repository."""


class ReferencesUnknown(RegistryError):
    """A manifest names content that the repository does not have: the digests in `missing`, which may be many."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__("the manifest references content that is unknown to this repository")
        self.missing = tuple(missing)


class UploadInvalid(RegistryError):
    """A request to an upload session that makes no sense."""


class OutOfOrder(UploadInvalid):
    """A chunk that does not begin where the session ends."""

    def __init__(self, offset: int) -> None:
        super().__init__(f"the next chunk must begin at byte {offset}")
        self.offset = offset


class TooLarge(RegistryError):
    """More than a limit of the settings allows."""
