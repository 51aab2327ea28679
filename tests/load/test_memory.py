"""Uploads and proxied downloads stream: memory does not grow with what passes through."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.load.traffic import MIB, Layer, pull, push
from tests.parts.gateway import Gateway
from tests.parts.servers import minio

pytestmark = [pytest.mark.parts, pytest.mark.xdist_group("load")]


@pytest.fixture(params=["embedded", "minio"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that proxies, over a store of its own that goes with the test: gibibytes are pushed."""
    if request.param == "embedded":
        with Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as running:
            yield running
        return
    (tmp_path / "minio").mkdir()
    with minio(tmp_path / "minio") as server:
        settings = {**server.env, "MOORAGE_BLOB_DELIVERY": "proxy"}
        with Gateway(tmp_path / "gateway", f"s3://{server.bucket}", settings=settings) as running:
            yield running


def test_a_large_layer_takes_little_memory(gateway: Gateway, record_property: Callable[[str, object], None]) -> None:
    """4 GiB pushed as one PATCH and pulled back by proxy MUST grow the gateway's peak RSS by at most 128 MiB."""
    before = gateway.peak_rss()
    layer = Layer(4096)
    push(gateway.url, "large", layer)
    pushed = gateway.peak_rss()
    assert pull(gateway.url, "large", layer.digest) == layer.digest
    after = gateway.peak_rss()
    peaks = f"{before // MIB} MiB, {pushed // MIB} after the push, {after // MIB} after the pull"
    record_property(f"peak RSS, 4 GiB layer, {_kind(gateway)}", peaks)
    assert after - before <= 128 * MIB


def test_eight_layers_at_once_take_little_memory(
    gateway: Gateway, record_property: Callable[[str, object], None]
) -> None:
    """Eight uploads of 512 MiB at once MUST grow the gateway's peak RSS by at most 512 MiB."""
    before = gateway.peak_rss()
    layers = [Layer(512, seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda layer: push(gateway.url, "many", layer), layers))
    after = gateway.peak_rss()
    record_property(f"peak RSS, 8 of 512 MiB at once, {_kind(gateway)}", f"{before // MIB} MiB, {after // MIB} after")
    assert after - before <= 512 * MIB
    assert pull(gateway.url, "many", layers[-1].digest) == layers[-1].digest


def _kind(gateway: Gateway) -> str:
    return "MinIO" if gateway.store.startswith("s3:") else "embedded"
