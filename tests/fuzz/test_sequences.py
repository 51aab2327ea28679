"""Sequences of pushes and deletes against a model that is as simple as a registry can be."""

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from storage.documents import OCI_INDEX
from storage.references import Digest
from tests.fuzz.asgi import Answer, FuzzedGateway
from tests.fuzz.profile import SEQUENCES
from tests.protocol.documents import descriptor, image

REPOSITORIES = ["a", "a/b", "a-b"]
BLOBS = [b"one", b"two", b"three"]
TAGS = ["1", "1.0", "latest"]
SUBJECT = str(Digest.of(b"subject"))
MANIFESTS = [
    image(descriptor(b"one")),
    image(descriptor(b"two"), [descriptor(b"three")]),
    image(descriptor(b"one"), [descriptor(b"three")], subject=descriptor(b"subject"), artifactType="test/x"),
]

repositories = st.sampled_from(REPOSITORIES)
blobs = st.sampled_from(BLOBS)
manifests = st.sampled_from(MANIFESTS)
tags = st.sampled_from(TAGS)


def digest(content: bytes) -> str:
    """Its sha256."""
    return str(Digest.of(content))


def needs(manifest: bytes) -> set[bytes]:
    """The blobs that a manifest names."""
    document = json.loads(manifest)
    named = {each["digest"] for each in [document["config"], *document["layers"]]}
    return {blob for blob in BLOBS if digest(blob) in named}


class RegistryMachine(RuleBasedStateMachine):
    """Whatever is pushed, mounted, moved and deleted, one gateway answers as three dictionaries do."""

    def __init__(self) -> None:
        super().__init__()
        self.gateway = FuzzedGateway().__enter__()
        self.blobs: set[tuple[str, bytes]] = set()
        self.manifests: set[tuple[str, bytes]] = set()
        self.tags: dict[tuple[str, str], bytes] = {}

    def teardown(self) -> None:
        """End the gateway."""
        self.gateway.__exit__(None, None, None)

    def ask(self, method: str, path: str, query: str = "", body: bytes | None = None) -> Answer:
        """A request below /v2/."""
        headers = [] if body is None else [(b"content-length", str(len(body)).encode())]
        chunks = [] if body is None else [body]
        return self.gateway.ask(method, f"/v2/{path}".encode(), query.encode(), headers, chunks)

    @initialize(seconds=st.integers(0, 100))
    def begin(self, seconds: int) -> None:
        """At any time."""
        self.gateway.clock.advance(seconds)

    @rule(seconds=st.sampled_from([1, 59, 61, 3600]))
    def wait(self, seconds: int) -> None:
        """Time passes, and what is remembered grows old."""
        self.gateway.clock.advance(seconds)

    @rule(name=repositories, blob=blobs, style=st.sampled_from(["post", "put", "patch"]))
    def push_blob(self, name: str, blob: bytes, style: str) -> None:
        """By any of the three styles."""
        query = f"digest={digest(blob)}"
        if style == "post":
            answer = self.ask("POST", f"{name}/blobs/uploads/", query, blob)
        else:
            location = self._location(self.ask("POST", f"{name}/blobs/uploads/"))
            if style == "patch":
                location = self._location(self.ask("PATCH", location, "", blob))
            answer = self.ask("PUT", location, query, blob if style == "put" else None)
        assert answer.status == 201
        self.blobs.add((name, blob))

    @rule(name=repositories, blob=blobs, wrong=blobs)
    def push_wrong_blob(self, name: str, blob: bytes, wrong: bytes) -> None:
        """Other bytes than the digest's are refused."""
        if blob != wrong:
            answer = self.ask("POST", f"{name}/blobs/uploads/", f"digest={digest(blob)}", wrong)
            assert answer.status == 400

    @rule(name=repositories, source=st.sampled_from([*REPOSITORIES, None]), blob=blobs)
    def mount(self, name: str, source: str | None, blob: bytes) -> None:
        """From a repository that has it, or from any."""
        query = f"mount={digest(blob)}" + (f"&from={source}" if source else "")
        answer = self.ask("POST", f"{name}/blobs/uploads/", query)
        exists = any((each, blob) in self.blobs for each in ([source] if source else REPOSITORIES))
        assert answer.status == (201 if exists else 202)
        if exists:
            self.blobs.add((name, blob))

    @rule(name=repositories, blob=blobs)
    def delete_blob(self, name: str, blob: bytes) -> None:
        """404 if it is not there."""
        answer = self.ask("DELETE", f"{name}/blobs/{digest(blob)}")
        assert answer.status == (202 if (name, blob) in self.blobs else 404)
        self.blobs.discard((name, blob))

    @rule(name=repositories, manifest=manifests, tag=tags | st.none(), more=st.sets(tags))
    def push_manifest(self, name: str, manifest: bytes, tag: str | None, more: set[str]) -> None:
        """Under a tag, or under the digest and any number of tags; its blobs must be there."""
        reference, query = (tag, "") if tag else (digest(manifest), "&".join(f"tag={each}" for each in sorted(more)))
        answer = self.ask("PUT", f"{name}/manifests/{reference}", query, manifest)
        if all((name, blob) in self.blobs for blob in needs(manifest)):
            assert answer.status == 201
            self.manifests.add((name, manifest))
            self.tags.update({(name, each): manifest for each in ([tag] if tag else more)})
        else:
            assert answer.status == 400

    @rule(name=repositories, manifest=manifests)
    def delete_manifest(self, name: str, manifest: bytes) -> None:
        """All its tags go with it."""
        answer = self.ask("DELETE", f"{name}/manifests/{digest(manifest)}")
        assert answer.status == (202 if (name, manifest) in self.manifests else 404)
        self.manifests.discard((name, manifest))
        for key in [key for key, value in self.tags.items() if key[0] == name and value == manifest]:
            del self.tags[key]

    @rule(name=repositories, tag=tags)
    def delete_tag(self, name: str, tag: str) -> None:
        """The manifest stays."""
        answer = self.ask("DELETE", f"{name}/manifests/{tag}")
        assert answer.status == (202 if (name, tag) in self.tags else 404)
        self.tags.pop((name, tag), None)

    @rule(name=repositories, blob=blobs)
    def pull_blob(self, name: str, blob: bytes) -> None:
        """I6: it is readable exactly where it was pushed or mounted, and not deleted since."""
        answer = self.ask("GET", f"{name}/blobs/{digest(blob)}")
        expected = (200, blob) if (name, blob) in self.blobs else (404, answer.body)
        assert (answer.status, answer.body) == expected
        assert self.ask("HEAD", f"{name}/blobs/{digest(blob)}").status == answer.status

    @rule(name=repositories, manifest=manifests)
    def pull_by_digest(self, name: str, manifest: bytes) -> None:
        """Exact bytes, or 404."""
        answer = self.ask("GET", f"{name}/manifests/{digest(manifest)}")
        expected = (200, manifest) if (name, manifest) in self.manifests else (404, answer.body)
        assert (answer.status, answer.body) == expected

    @invariant()
    def tags_are_those_of_the_model(self) -> None:
        """I2: every list, and every tag, after every step."""
        for name in REPOSITORIES:
            wanted = sorted(tag for repository, tag in self.tags if repository == name)
            answer = self.ask("GET", f"{name}/tags/list")
            listed: Any = json.loads(answer.body).get("tags", [])
            assert listed == wanted
            for tag in wanted:
                assert self.ask("GET", f"{name}/manifests/{tag}").body == self.tags[name, tag]

    @invariant()
    def referrers_are_those_of_the_model(self) -> None:
        """One of the manifests has a subject."""
        for name in REPOSITORIES:
            answer = self.ask("GET", f"{name}/referrers/{SUBJECT}")
            assert answer.headers["content-type"] == OCI_INDEX
            found = [each["digest"] for each in json.loads(answer.body)["manifests"]]
            assert found == ([digest(MANIFESTS[2])] if (name, MANIFESTS[2]) in self.manifests else [])

    def _location(self, answer: Answer) -> str:
        assert answer.status == 202
        return answer.headers["location"].removeprefix("/v2/")


TestSequences = RegistryMachine.TestCase
TestSequences.settings = SEQUENCES
