"""The same budgets, counted between the gateway and a real S3 server: what it is that a bucket's owner pays for."""

import random
import secrets
import time
from collections.abc import AsyncGenerator, Callable

import pytest

from storage.objects.s3 import S3Store
from storage.references import Digest
from tests.parts.servers import S3Server
from tests.parts.wire import Wire
from tests.protocol.operations import Meter, measure, operations, table
from tests.protocol.serving import World

MIB = 1024 * 1024


@pytest.fixture
async def world(proxy: Wire, minio_server: S3Server) -> AsyncGenerator[World]:
    """Gateways on the other side of the wire, in a prefix of the bucket that nobody else uses."""
    prefix = f"budgets/{secrets.token_hex(8)}"
    store = S3Store(minio_server.bucket, prefix, clock=time.time, session=minio_server.session, endpoint=proxy.endpoint)
    made = World(store)
    made.clock.now = time.time()
    yield made
    await store.close()


async def test_no_operation_exceeds_its_budget_at_the_wire(
    world: World, proxy: Wire, record_property: Callable[[str, object], None]
) -> None:
    """What a MeteredStore counts is what is sent: cold and warm, every row of the table."""
    meter = Meter(lambda: proxy.counts().total(), proxy.reset)
    measured = [
        await measure(world, meter, operation, f"r{number}", redirect=True)
        for number, operation in enumerate(operations(redirect=True))
    ]
    record_property("budgets at the wire to MinIO", table(measured))
    assert [each.operation.name for each in measured if not each.is_within] == []


@pytest.mark.parametrize("with_patch", [True, False])
async def test_a_large_layer_crosses_the_wire_once(world: World, proxy: Wire, with_patch: bool) -> None:
    """I3: 20 MiB cost 20 MiB and small records, in requests and in answers: nothing is copied, nor read again."""
    content = random.Random(1).randbytes(20 * MIB)
    digest = str(Digest.of(content))
    async with world.gateway(redirect=True) as api:
        proxy.reset()
        location = await api.begin("a")
        if with_patch:
            answer = await api.patch(location, content=content)
            await api.finish(answer.headers["Location"], digest)
        else:
            await api.finish(location, digest, content)
        assert proxy.written() < len(content) + 64 * 1024
        assert {each.method for each in proxy.exchanges if "/data/" in each.path} <= {"PUT", "POST"}
        redirected = await api.get(f"/v2/a/blobs/{digest}")
        assert redirected.status_code == 307
    print(f"\n20 MiB: {proxy.written() - len(content)} bytes more, {dict(proxy.counts())}")
