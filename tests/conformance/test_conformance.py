"""The official conformance suite passes whole, over every kind of store and way of delivering blobs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.results import complaints
from tests.conformance.suite import run_suite
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server
from tests.parts.stores import STORES, marks

# What perfect runs count, without and with manifests whose content is missing.
PASSED = {False: 986, True: 1032}

PROXY = {"MOORAGE_BLOB_DELIVERY": "proxy"}
RUNS = [
    pytest.param(None, {}, False, id="embedded-whole"),
    pytest.param(None, {}, True, id="embedded-sparse"),
    *(pytest.param(name, {}, False, id=f"{name}-whole", marks=marks(name)) for name in STORES),
    pytest.param("minio", {}, True, id="minio-sparse", marks=marks("minio")),
    pytest.param("minio", PROXY, False, id="minio-proxy-whole", marks=marks("minio")),
    pytest.param("minio", PROXY, True, id="minio-proxy-sparse", marks=marks("minio")),
    pytest.param("seaweedfs", {}, True, id="seaweedfs-sparse", marks=marks("seaweedfs")),
]


@pytest.mark.parametrize(("server", "settings", "sparse"), RUNS)
def test_conformance(
    server: str | None,
    settings: dict[str, str],
    sparse: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """All tests of the suite pass: none fails, none is skipped, and each API and kind of data is reported as Pass."""
    store = "file:data"
    if server is not None:
        s3: S3Server = request.getfixturevalue(f"{server}_server")
        store, settings = f"s3://{s3.create_bucket(bucket_name(request))}", settings | s3.env
    if sparse:
        settings = settings | {"MOORAGE_ALLOW_SPARSE": "1"}
    with Gateway(tmp_path, store, settings=settings) as gateway:
        results = run_suite(gateway, tmp_path, sparse=sparse)
    counted = ", ".join(f"{count} {status}" for status, count in results.counts.items() if count and status != "Total")
    record_property(f"conformance, {request.node.callspec.id}", counted)
    wrong = complaints(results, passed=PASSED[sparse], sparse=sparse)
    assert not wrong, "\n".join([*wrong, gateway.tail()])


def test_conformance_of_a_single_writer(
    rclone_server: S3Server, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """On a store that ignores conditional writes all tests pass too, for a gateway that is its single writer."""
    settings = {"MOORAGE_SINGLE_WRITER": "1", **rclone_server.env}
    with Gateway(tmp_path, f"s3://{rclone_server.bucket}/conformance", settings=settings) as gateway:
        results = run_suite(gateway, tmp_path, sparse=False)
    record_property("conformance, rclone-single-writer-whole", results.counts)
    wrong = complaints(results, passed=PASSED[False], sparse=False)
    assert not wrong, "\n".join([*wrong, gateway.tail()])


def bucket_name(request: pytest.FixtureRequest) -> str:
    """A bucket name of the test's own."""
    return f"conformance-{request.node.callspec.id}"
