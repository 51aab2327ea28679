"""The registry that the tests of scrubs damage, and what it must serve."""

import json
from dataclasses import dataclass

from storage import layout
from storage.objects.memory import MemoryStore
from storage.references import Digest, RepositoryName
from tests.protocol.conftest import keys
from tests.protocol.documents import descriptor, image, index, manifest_descriptor
from tests.protocol.serving import Api, Pushed

APP, OTHER = RepositoryName("team/app"), RepositoryName("other/app")
LAYER, CONFIG = b"the layer" * 1_000, b"config"
LAYER_DIGEST = Digest.of(LAYER)
LINK, OTHER_LINK = layout.link_key(LAYER_DIGEST, APP), layout.link_key(LAYER_DIGEST, OTHER)
BLOB, OTHER_BLOB = f"/v2/{APP}/blobs/{LAYER_DIGEST}", f"/v2/{OTHER}/blobs/{LAYER_DIGEST}"


@dataclass(frozen=True)
class Built:
    """An image in two repositories; in the first one an index of it too, and an artifact that refers to it."""

    image: Pushed
    index: Pushed
    artifact: Pushed

    @property
    def record(self) -> str:
        """The key of the image's record."""
        return layout.manifest_key(APP, Digest.parse(self.image.digest))

    @property
    def entry(self) -> str:
        """The key of the artifact's referrer entry."""
        return layout.referrer_key(APP, Digest.parse(self.image.digest), Digest.parse(self.artifact.digest))


async def build(api: Api) -> Built:
    """Push all of it."""
    content = image(descriptor(CONFIG), [descriptor(LAYER)])
    for name in (APP, OTHER):
        await api.blob(name, LAYER)
        await api.blob(name, CONFIG)
        pushed = await api.manifest(name, "1", content)
    together = await api.manifest(APP, "all", index([manifest_descriptor(content)]))
    artifact = await api.artifact(APP, manifest_descriptor(content), "application/x.signature")
    return Built(pushed, together, artifact)


async def bytes_key(memory: MemoryStore) -> str:
    """The data key of the layer: of its only instance."""
    [at] = await keys(memory, layout.instances_prefix(LAYER_DIGEST))
    return layout.data_key(layout.parse_instance_key(at)[1])


async def unserved(api: Api, built: Built) -> list[str]:
    """All that the gateway does not serve as it was pushed."""
    wrong = []
    for name, reference, pushed in [
        (APP, "1", built.image),
        (OTHER, "1", built.image),
        (APP, "all", built.index),
        (APP, built.artifact.digest, built.artifact),
    ]:
        if (await api.get(f"/v2/{name}/manifests/{reference}")).content != pushed.content:
            wrong.append(f"{name}:{reference}")
        for blob in json.loads(pushed.content).get("layers", []):
            answer = await api.get(f"/v2/{name}/blobs/{blob['digest']}")
            if answer.status_code != 200 or str(Digest.of(answer.content)) != blob["digest"]:
                wrong.append(f"{name}@{blob['digest']}")
    if await api.tags(APP) != ["1", "all"]:
        wrong.append("tags")
    if [each["digest"] for each in await api.referrers(APP, built.image.digest)] != [built.artifact.digest]:
        wrong.append("referrers")
    if (await api.get("/v2/_catalog")).json()["repositories"] != [OTHER, APP]:
        wrong.append("catalog")
    return wrong
