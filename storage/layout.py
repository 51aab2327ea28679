"""The one place that builds and parses keys.

Below the store's prefix the bucket looks like this:

    moorage.json                                              the format's version, written once
    keys/<name>                                               a secret, written once, never logged
    data/<upload>/<offset>-<nonce>                            content: immutable, written once, at a random key
    data/<upload>/index-<nonce>                               the segments of an upload too long to be named in a URL
    data/<upload>/cancelled                                   the client gave this upload up
    blobs/<alg>/<hh>/<hex>/at/<upload>-<offset>-<nonce>       instance: where bytes with this digest lie
    blobs/<alg>/<hh>/<hex>/in/<name!>                         link: this repository may serve this digest
    repositories/<name>/_manifests/<alg>/<hex>                manifest record: a header line and the exact bytes
    repositories/<name>/_tags/<tag>                           tag pointer
    repositories/<name>/_referrers/<alg>/<hex>/<alg>-<hex>    referrer entry: below its subject, the manifest that refers to it
    catalog/<name!>                                           the repository exists; rewritten by every DELETE of content in it
    policies/<policy>                                         a retention policy
    retention/pulls/<seconds>-<nonce>                         what one gateway served in an hour that began then
    retention/pulled                                          when each manifest was last pulled, put together from those
    retention/dry-runs/<seconds>-<nonce>                      what a run of the retention would have removed
    <work>/lease                                              a run of some maintenance: collector, retention or scrub
    <work>/clock                                              written for its LastModified
    collector/evidence/<nonce>                                what records said, so that none is read twice
    collector/journal/<seconds>-<nonce>                       what maintenance removed, written before it went
    scrub/cursor                                              how far the bytes have been read again
    scrub/quarantine/<nonce>/<key>                            what a scrub took out of use: its old key, and the record

`<hh>` are the first two digits of `<hex>`. `<offset>` has 13 digits, so that a listing of an upload is in the order of its bytes;
`<upload>` and `<nonce>` are hex; an upload's last digits, behind the first 32, are the second since 1970 in which its session ends, so that the
collector need not know how long sessions last. `<name!>` is a repository's name with '!' for '/': no key is ever another key plus '/…', since some
stores hide the longer one from listings and others refuse it. Components of names never begin with '_', so they cannot meet
`_tags` and its like.

All functions are pure. What a `…_key` or `…_prefix` function builds, the `parse_…` function beside it reads; a ValueError says that a
key is not one of ours.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from storage.errors import MoorageError
from storage.references import Digest, RepositoryName, Tag

FORMAT_KEY = "moorage.json"
PROBE_PREFIX = "probe/"  # below it the probe of a store writes, and tidies up
CATALOG_PREFIX = "catalog/"
BLOBS_PREFIX = "blobs/"
DATA_PREFIX = "data/"
REPOSITORIES_PREFIX = "repositories/"
AFTER_BLOBS = "blobs0"  # sorts behind all keys below BLOBS_PREFIX, and before all others that come later
EVIDENCE_PREFIX = "collector/evidence/"
JOURNAL_PREFIX = "collector/journal/"
POLICIES_PREFIX = "policies/"
PULLS_PREFIX = "retention/pulls/"
PULLED_KEY = "retention/pulled"
DRY_RUNS_PREFIX = "retention/dry-runs/"
CURSOR_KEY = "scrub/cursor"
QUARANTINE_PREFIX = "scrub/quarantine/"
_OFFSET_DIGITS = 13
_SECONDS_DIGITS = 12
_DRAWN_DIGITS, _END_DIGITS = 32, 10  # of an upload
_UPLOAD = re.compile(rf"[0-9a-f]{{1,{_DRAWN_DIGITS + _END_DIGITS}}}")
_UPLOAD_KEY = re.compile(rf"data/({_UPLOAD.pattern})/(?:[0-9]+-[0-9a-f]+|index-[0-9a-f]+|cancelled)")
_HEX = re.compile(r"[0-9a-f]+")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of an upload: where it begins, in bytes, and the nonce that makes its key unique."""

    upload: str
    offset: int
    nonce: str


def digest_of(key: str) -> Digest:
    """The digest below which a key lies, whatever it is itself."""
    _, algorithm, digits, hexadecimal, *rest = key.split("/")
    digest = _digest(algorithm, hexadecimal)
    if not rest or digits != digest.hex[:2]:
        raise ValueError(key)
    return digest


def upload_of(key: str) -> str:
    """The upload that writes a key."""
    found = _UPLOAD_KEY.fullmatch(key)
    if found is None:
        raise ValueError(key)
    return found[1]


def upload_until(drawn: str, end: int) -> str:
    """The upload of 32 hex digits that were drawn, and a session that ends at `end`, in seconds since 1970."""
    return f"{drawn}{end:0{_END_DIGITS}x}"


def session_end(upload: str) -> int:
    """When the session of an upload ends, in seconds since 1970; 0 for one that was named before names told that."""
    return int(upload[_DRAWN_DIGITS:] or "0", 16)


def secret_key(name: str) -> str:
    """Where the secret `name` is kept."""
    return f"keys/{name}"


def upload_prefix(upload: str) -> str:
    """Below it lies all that an upload has written."""
    return f"{DATA_PREFIX}{upload}/"


def data_key(segment: Segment) -> str:
    """Where the bytes of a segment lie."""
    return f"{upload_prefix(segment.upload)}{segment.offset:0{_OFFSET_DIGITS}}-{segment.nonce}"


def parse_data_key(key: str) -> Segment:
    """The inverse of `data_key`."""
    _, upload, name = _split(key, 3)
    offset, nonce = _split(name, 2, "-")
    return _exact(key, _segment(upload, offset, nonce), data_key)


def segment_index_key(upload: str, nonce: str) -> str:
    """Where the list of an upload's first segments is written once it is long."""
    return f"{upload_prefix(upload)}index-{nonce}"


def cancelled_key(upload: str) -> str:
    """The mark of an upload that its client gave up."""
    return f"{upload_prefix(upload)}cancelled"


def blob_prefix(digest: Digest) -> str:
    """Below it lies all that is known of a digest."""
    return f"{BLOBS_PREFIX}{digest.algorithm}/{digest.hex[:2]}/{digest.hex}/"


def instances_prefix(digest: Digest) -> str:
    """Below it lie the instances of a digest."""
    return f"{blob_prefix(digest)}at/"


def instance_key(digest: Digest, segment: Segment) -> str:
    """The record of one instance; a function of its data key, so that neither is ever written twice."""
    return f"{instances_prefix(digest)}{segment.upload}-{segment.offset:0{_OFFSET_DIGITS}}-{segment.nonce}"


def parse_instance_key(key: str) -> tuple[Digest, Segment]:
    """The inverse of `instance_key`."""
    _, algorithm, _, digits, _, instance = _split(key, 6)
    upload, offset, nonce = _split(instance, 3, "-")
    parsed = (_digest(algorithm, digits), _segment(upload, offset, nonce))
    return _exact(key, parsed, lambda pair: instance_key(*pair))


def links_prefix(digest: Digest) -> str:
    """Below it lie the links of a digest, one for each repository that has it."""
    return f"{blob_prefix(digest)}in/"


def link_key(digest: Digest, name: RepositoryName) -> str:
    """The link of one repository to a digest."""
    return f"{links_prefix(digest)}{_leaf(name)}"


def parse_link_key(key: str) -> tuple[Digest, RepositoryName]:
    """The inverse of `link_key`."""
    _, algorithm, _, digits, _, leaf = _split(key, 6)
    return _exact(key, (_digest(algorithm, digits), _name(leaf)), lambda pair: link_key(*pair))


def manifests_prefix(name: RepositoryName) -> str:
    """Below it lie a repository's manifests."""
    return f"repositories/{name}/_manifests/"


def manifest_key(name: RepositoryName, digest: Digest) -> str:
    """The record of one manifest."""
    return f"{manifests_prefix(name)}{digest.algorithm}/{digest.hex}"


def parse_manifest_key(key: str) -> tuple[RepositoryName, Digest]:
    """The inverse of `manifest_key`."""
    name, _, rest = key.removeprefix("repositories/").partition("/_manifests/")
    parsed = (_parsed_name(name), _digest(*_split(rest, 2)))
    return _exact(key, parsed, lambda pair: manifest_key(*pair))


def is_manifest_key(key: str) -> bool:
    """Whether a key is one of a manifest record; what is wrong with it, `parse_manifest_key` says."""
    return "/_manifests/" in key


def is_tag_key(key: str) -> bool:
    """Whether a key is one of a tag pointer; what is wrong with it, `parse_tag_key` says."""
    return "/_tags/" in key


def tags_prefix(name: RepositoryName) -> str:
    """Below it lie a repository's tags, in their byte order."""
    return f"repositories/{name}/_tags/"


def tag_key(name: RepositoryName, tag: str) -> str:
    """The pointer of one tag; also of a string that only sorts like one, as the start of a page."""
    return f"{tags_prefix(name)}{tag}"


def parse_tag_key(key: str) -> tuple[RepositoryName, Tag]:
    """The inverse of `tag_key`."""
    name, _, tag = key.removeprefix("repositories/").partition("/_tags/")
    try:
        parsed = (_parsed_name(name), Tag.parse(tag))
    except MoorageError as error:
        raise ValueError(key) from error
    return _exact(key, parsed, lambda pair: tag_key(*pair))


def parse_tag_below(prefix: str, key: str) -> Tag:
    """The tag of a key below a `tags_prefix`, in a third of the time that `parse_tag_key` takes; for long listings."""
    try:
        return Tag.parse(key.removeprefix(prefix))
    except MoorageError as error:
        raise ValueError(key) from error


def referrers_prefix(name: RepositoryName, subject: Digest) -> str:
    """Below it lie the referrers of a manifest, which need not exist."""
    return f"repositories/{name}/_referrers/{subject.algorithm}/{subject.hex}/"


def referrer_key(name: RepositoryName, subject: Digest, referrer: Digest) -> str:
    """The entry of one referrer."""
    return f"{referrers_prefix(name, subject)}{referrer.algorithm}-{referrer.hex}"


def parse_referrer_key(key: str) -> tuple[RepositoryName, Digest, Digest]:
    """The inverse of `referrer_key`."""
    name, _, rest = key.removeprefix("repositories/").partition("/_referrers/")
    algorithm, digits, referrer = _split(rest, 3)
    parsed = (_parsed_name(name), _digest(algorithm, digits), _digest(*_split(referrer, 2, "-")))
    return _exact(key, parsed, lambda parts: referrer_key(*parts))


def repository_of(key: str) -> RepositoryName:
    """The repository below which a key lies, whatever it is itself."""
    name, mark, _ = key.removeprefix(REPOSITORIES_PREFIX).partition("/_")
    if not mark:
        raise ValueError(key)
    return _parsed_name(name)


def catalog_key(name: str) -> str:
    """The marker of a repository; also of a string that only sorts like its name, as the start of a page."""
    return f"{CATALOG_PREFIX}{_leaf(name)}"


def parse_catalog_key(key: str) -> RepositoryName:
    """The inverse of `catalog_key`."""
    return _exact(key, _name(key.removeprefix(CATALOG_PREFIX)), catalog_key)


def lease_key(work: str) -> str:
    """The lease of a kind of maintenance."""
    return f"{work}/lease"


def clock_key(work: str) -> str:
    """What that maintenance writes to learn the store's time."""
    return f"{work}/clock"


def evidence_key(nonce: str) -> str:
    """A part of what collections have read."""
    return f"{EVIDENCE_PREFIX}{nonce}"


def journal_key(seconds: float, nonce: str) -> str:
    """A page of the journal, in the order of time."""
    return f"{JOURNAL_PREFIX}{_dated(seconds, nonce)}"


def policy_key(name: str) -> str:
    """A retention policy; its name is of the same letters as a tag."""
    return f"{POLICIES_PREFIX}{name}"


def parse_policy_key(key: str) -> str:
    """The inverse of `policy_key`."""
    try:
        return _exact(key, Tag.parse(key.removeprefix(POLICIES_PREFIX)), policy_key)
    except MoorageError as error:
        raise ValueError(key) from error


def pulls_key(seconds: float, nonce: str) -> str:
    """What a gateway served in the hour that began `seconds` after 1970."""
    return f"{PULLS_PREFIX}{_dated(seconds, nonce)}"


def parse_pulls_key(key: str) -> tuple[int, str]:
    """The inverse of `pulls_key`."""
    return _exact(key, _parsed_date(key.removeprefix(PULLS_PREFIX)), lambda pair: pulls_key(*pair))


def dry_run_key(seconds: float, nonce: str) -> str:
    """A dry run of the retention, in the order of time."""
    return f"{DRY_RUNS_PREFIX}{_dated(seconds, nonce)}"


def parse_dry_run_key(key: str) -> tuple[int, str]:
    """The inverse of `dry_run_key`."""
    return _exact(key, _parsed_date(key.removeprefix(DRY_RUNS_PREFIX)), lambda pair: dry_run_key(*pair))


def _dated(seconds: float, nonce: str) -> str:
    return f"{int(seconds):0{_SECONDS_DIGITS}}-{nonce}"


def _parsed_date(leaf: str) -> tuple[int, str]:
    seconds, nonce = _split(leaf, 2, "-")
    if not _HEX.fullmatch(nonce):
        raise ValueError(leaf)
    return int(seconds), nonce


def quarantine_key(nonce: str, key: str) -> str:
    """Where the record that lay under `key` is kept; the nonce comes first, so that none lies below another."""
    return f"{QUARANTINE_PREFIX}{nonce}/{key}"


def _leaf(name: str) -> str:
    return name.replace("/", "!")


def _name(leaf: str) -> RepositoryName:
    return _parsed_name(leaf.replace("!", "/"))


def _parsed_name(text: str) -> RepositoryName:
    try:
        return RepositoryName.parse(text)
    except MoorageError as error:
        raise ValueError(text) from error


def _digest(algorithm: str, digits: str) -> Digest:
    try:
        return Digest.parse(f"{algorithm}:{digits}")
    except MoorageError as error:
        raise ValueError(digits) from error


def _segment(upload: str, offset: str, nonce: str) -> Segment:
    if not (_UPLOAD.fullmatch(upload) and _HEX.fullmatch(nonce)):
        raise ValueError(f"{upload}, {nonce}")
    return Segment(upload, int(offset), nonce)


def _split(text: str, count: int, separator: str = "/") -> list[str]:
    parts = text.split(separator)
    if len(parts) != count:
        raise ValueError(text)
    return parts


def _exact(key: str, parsed: T, build: Callable[[T], str]) -> T:
    """`parsed`, if it builds `key` again to the letter."""
    if build(parsed) != key:
        raise ValueError(key)
    return parsed
