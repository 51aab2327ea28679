"""Whole operations of clients, each from an empty repository or from one that has what it needs.

An operation may be done again after a crash, by a client that kept its notes: then it goes on, or begins anew, as clients do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from storage.objects.parts import MIN_PART
from tests.crash.acts import (
    CONTENT,
    KNOWN,
    LARGE,
    MANY,
    THERE,
    Act,
    Prepare,
    all_of,
    begin_and_send,
    blob_path,
    bury,
    cancel,
    changed_image,
    condemned,
    delete,
    doing,
    have,
    have_image,
    link,
    manifest_path,
    mount,
    nothing,
    push,
    push_image,
    put_blob,
    put_blob_at_once,
    record,
    resume,
    send,
    send_many,
    send_many_before,
    status,
)
from tests.protocol.documents import index, manifest_descriptor


@dataclass(frozen=True)
class Operation:
    """What a client does, `act`, once `prepare` has made what it needs.

    After it `served` answer 200 and `gone` 404. `leaves_names`: a crash may leave names in tags/list that lead nowhere, `finds_names`: one did. `relied_on` is
    the path of what it deletes, on which another gateway may rely that has seen it lately. `cold` only: a gateway that has seen
    what a collector condemned a moment later may rely on it for a minute. `spare` instances remain that
    no link names, of what was deleted. `is_representative` of crashes in pairs.
    """

    name: str
    act: Act
    prepare: Prepare = nothing
    served: Sequence[str] = ()
    gone: Sequence[str] = ()
    leaves_names: bool = False
    finds_names: bool = False
    relied_on: str | None = None
    cold: bool = False
    spare: int = 0
    is_representative: bool = False


NEW = changed_image("new")
REFERRER = changed_image("referrer", subject=manifest_descriptor(THERE), artifactType="application/x.test")
LONG = changed_image("x" * 70_000)
LATER = changed_image("later")
CHILDREN = index([manifest_descriptor(THERE), manifest_descriptor(NEW)])
QUERY = "?tag=t1&tag=t2&tag=t3"
TAGGED = [f"/v2/a/manifests/t{number}" for number in (1, 2, 3)]


def uploads() -> list[Operation]:
    """Every way to push a blob."""
    there = [blob_path(CONTENT)]
    elsewhere, here = partial(have, name="b"), have
    quarters = [CONTENT[at : at + 1250] for at in range(0, 5000, 1250)]
    one = partial(send, chunks=[CONTENT])
    return [
        Operation("POST with the body", put_blob_at_once, served=there),
        Operation("POST, PUT with the body", put_blob, served=there),
        Operation("POST, PATCH, PUT", one, served=there, is_representative=True),
        Operation("POST, PUT of nothing", partial(send, chunks=[]), served=[blob_path(b"")]),
        Operation("small chunks", partial(send, chunks=quarters), served=there),
        Operation("chunks, and a status after the crash", resume, served=there, is_representative=True),
        Operation(
            "a large chunk and a small one",
            partial(send, chunks=[LARGE[:MIN_PART], CONTENT]),
            served=[blob_path(LARGE)],
        ),
        Operation("more than 32 chunks", send_many, send_many_before, served=[blob_path(b"".join(MANY))]),
        Operation("a last chunk in PUT", partial(send, chunks=quarters[:1], last=CONTENT[1250:]), served=there),
        Operation(
            "sha512 named on POST",
            partial(send, chunks=[CONTENT], began_with="sha512", algorithm="sha512"),
            served=[blob_path(CONTENT, "sha512")],
        ),
        Operation(
            "a digest of another algorithm than the session's",
            partial(send, chunks=[CONTENT], algorithm="sha512"),
            served=[blob_path(CONTENT, "sha512")],
        ),
        Operation("another repository's blob, POST, PUT", put_blob, elsewhere, served=there),
        Operation("another repository's blob, POST, PATCH, PUT", one, elsewhere, served=there),
        Operation(
            "another repository's blob, condemned",
            put_blob,
            all_of(elsewhere, condemned(link(CONTENT, "b"))),
            served=there,
            cold=True,
        ),
        Operation("the same blob again, POST, PUT", put_blob, here, served=there),
        Operation("the same blob again, POST, PATCH, PUT", one, here, served=there),
        Operation(
            "the same blob again, condemned", one, all_of(here, condemned(link(CONTENT))), served=there, cold=True
        ),
        Operation(
            "a blob that was deleted",
            one,
            all_of(here, doing(partial(delete, path=blob_path(CONTENT)))),
            served=there,
            spare=1,
        ),
        Operation("status of an upload", status, begin_and_send),
        Operation("cancelling an upload", cancel, begin_and_send),
    ]


def mounts() -> list[Operation]:
    """Every way to mount a blob."""
    there, elsewhere = [blob_path(CONTENT)], partial(have, name="b")
    with_from = partial(mount, query="&from=b")
    return [
        Operation("mount, with from", with_from, elsewhere, served=there),
        Operation("mount, without from", partial(mount, query=""), elsewhere, served=there),
        Operation(
            "mount of what is condemned",
            with_from,
            all_of(elsewhere, condemned(link(CONTENT, "b"))),
            served=there,
            cold=True,
        ),
        Operation("mount of a missing blob", partial(mount, query="&from=b", status=202), served=there),
    ]


def manifests() -> list[Operation]:
    """Every way to push a manifest."""
    new, tagged = [manifest_path(NEW)], "/v2/a/manifests/new"
    children = all_of(have_image, doing(partial(push, content=NEW, reference=None)))
    ghost = all_of(
        have_image,
        doing(partial(push, content=REFERRER, reference=None, query=QUERY)),
        doing(partial(delete, path=manifest_path(REFERRER))),
    )
    repeated = partial(push, content=NEW)
    referrer = partial(push, content=REFERRER, reference=None, query=QUERY)
    return [
        Operation("an image to a new repository", partial(push_image, name="new"), served=["/v2/new/manifests/latest"]),
        Operation("a manifest by tag", repeated, have_image, served=[*new, tagged]),
        Operation("a manifest by digest", partial(push, content=NEW, reference=None), have_image, served=new),
        Operation(
            "a manifest with a subject",
            partial(push, content=REFERRER),
            have_image,
            served=[manifest_path(REFERRER), tagged],
        ),
        Operation(
            "a manifest with a subject, under several tags",
            referrer,
            have_image,
            served=[manifest_path(REFERRER), *TAGGED],
            is_representative=True,
        ),
        Operation("an index", partial(push, content=CHILDREN), children, served=[manifest_path(CHILDREN), tagged]),
        Operation(
            "a tag moved to a new manifest",
            partial(push, content=NEW, reference="old"),
            have_image,
            served=[*new, "/v2/a/manifests/old"],
        ),
        Operation(
            "several tags moved",
            referrer,
            all_of(have_image, doing(partial(push, content=NEW, reference=None, query=QUERY))),
            served=TAGGED,
        ),
        Operation(
            "a tag moved back",
            partial(push, content=THERE, reference="old"),
            all_of(have_image, doing(partial(push, content=NEW, reference="old"))),
            served=[manifest_path(THERE)],
        ),
        Operation(
            "a large manifest under another tag",
            partial(push, content=LONG),
            all_of(have_image, doing(partial(push, content=LONG, reference="old"))),
            served=[tagged, "/v2/a/manifests/old"],
        ),
        Operation("the same manifest again", repeated, all_of(have_image, doing(repeated)), served=new),
        Operation("a deleted manifest again", referrer, ghost, served=TAGGED, is_representative=True),
        Operation(
            "a manifest whose DELETE crashed, under another tag",
            partial(push, content=REFERRER),
            all_of(have_image, doing(referrer), partial(bury, key=record(REFERRER))),
            [manifest_path(REFERRER), tagged],
            TAGGED,
            finds_names=True,
        ),
        Operation(
            "a manifest of condemned blobs",
            repeated,
            all_of(have_image, condemned(link(KNOWN), link(b"layer of what is there"), "catalog/a")),
            served=new,
            cold=True,
        ),
        Operation(
            "an index of condemned children",
            partial(push, content=CHILDREN),
            all_of(children, condemned(record(THERE), record(NEW))),
            served=[tagged],
            cold=True,
        ),
        Operation(
            "a condemned manifest again",
            repeated,
            all_of(have_image, doing(repeated), condemned(record(NEW))),
            served=new,
            cold=True,
        ),
        Operation(
            "the first manifest, after a deletion",
            partial(push, content=changed_image("first"), name="c"),
            all_of(
                partial(have, name="c", content=KNOWN),
                partial(have, name="c", content=b"layer of what is there"),
                partial(have, name="c"),
                doing(partial(delete, path=blob_path(CONTENT, name="c"))),
            ),
            served=["/v2/c/manifests/new"],
        ),
        Operation(
            "a manifest after a deletion",
            repeated,
            all_of(have_image, have, doing(partial(delete, path=blob_path(CONTENT)))),
            served=new,
        ),
    ]


def deletions() -> list[Operation]:
    """Every DELETE but that of an upload."""
    referrer = all_of(have_image, doing(partial(push, content=REFERRER, reference=None, query=QUERY)))
    moved = all_of(referrer, doing(partial(push, content=LATER, reference="t2")))
    by_digest = partial(delete, path=manifest_path(REFERRER))
    return [
        Operation(
            "DELETE of a tag",
            partial(delete, path="/v2/a/manifests/old"),
            have_image,
            [manifest_path(THERE)],
            ["/v2/a/manifests/old"],
        ),
        Operation(
            "DELETE of a manifest, with tags and a subject",
            by_digest,
            referrer,
            gone=[manifest_path(REFERRER), *TAGGED],
            leaves_names=True,
            relied_on=manifest_path(REFERRER),
            is_representative=True,
        ),
        Operation(
            "DELETE of a manifest that one of its tags has left",
            by_digest,
            moved,
            ["/v2/a/manifests/t2"],
            [manifest_path(REFERRER), "/v2/a/manifests/t1"],
            leaves_names=True,
        ),
        Operation(
            "DELETE of a blob",
            partial(delete, path=blob_path(CONTENT)),
            have,
            gone=[blob_path(CONTENT)],
            relied_on=blob_path(CONTENT),
            is_representative=True,
        ),
        Operation(
            "DELETE of a blob that a manifest names",
            partial(delete, path=blob_path(KNOWN)),
            have_image,
            [manifest_path(THERE)],
            [blob_path(KNOWN)],
            relied_on=blob_path(KNOWN),
        ),
    ]


def operations() -> dict[str, Operation]:
    """All of them, by name."""
    return {each.name: each for each in (*uploads(), *mounts(), *manifests(), *deletions())}
