"""Behind nginx and Caddy, with the files of deploy/: layers of any size stream through, and every Location leads back to the proxy."""

import hashlib
import json
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil

from tests.clients.commands import Commands
from tests.clients.images import CONFIG, MANIFEST, Image, assert_same, digest_of
from tests.deploy.proxies import Proxy, caddy, nginx
from tests.load.traffic import MIB, Layer
from tests.parts.gateway import Gateway
from tests.parts.tools import tool

GIB = 1024 * MIB


def test_a_gibibyte_through_nginx(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """1 GiB pushed and pulled by crane over TLS: nothing on nginx's disk, and bounded memory in both."""
    layout, digest = _large_layout(tmp_path / "large")
    (tmp_path / "nginx").mkdir()
    with (
        Gateway(tmp_path / "gateway", f"file:{tmp_path}/store") as gateway,
        nginx(tmp_path / "nginx", gateway.host) as proxy,
    ):
        before = gateway.peak_rss()
        said = _crane(tmp_path, proxy, "push", layout, f"{proxy.host}/team/large:1")
        assert f"pushed blob: {digest}" in said
        _crane(tmp_path, proxy, "pull", "--format=oci", f"{proxy.host}/team/large:1", tmp_path / "pulled")
        grown, workers = gateway.peak_rss() - before, _children_rss(proxy)
        assert _digest_of_file(tmp_path / "pulled" / "blobs" / digest.replace(":", "/")) == digest
    record_property(
        "1 GiB through nginx", f"peak RSS of the gateway + {grown // MIB} MiB, RSS of nginx {workers // MIB} MiB"
    )
    record_property("the push through nginx", said.replace("\n", " | "))
    assert grown <= 128 * MIB
    assert workers <= 64 * MIB
    # nginx warns of each body that it does not stream.
    assert "buffered to a temporary file" not in proxy.log.read_text()


def test_locations_lead_through_nginx(tmp_path: Path) -> None:
    """A gateway that knows neither the name nor the port nor the scheme that clients use MUST send them nowhere else."""
    (tmp_path / "nginx").mkdir()
    with Gateway(tmp_path / "gateway", "memory:") as gateway, nginx(tmp_path / "nginx", gateway.host) as proxy:
        context = ssl.create_default_context(cafile=str(proxy.certificate))
        with httpx.Client(base_url=f"https://{proxy.host}", verify=context, trust_env=False) as client:
            _push_and_follow(client)


def test_caddy(tmp_path: Path, image: Image, commands: Commands) -> None:
    """Caddy accepts the file, and passes pushes, pulls and Locations on."""
    with Gateway(tmp_path / "gateway", "memory:") as gateway, caddy(tmp_path, gateway.host) as proxy:
        with httpx.Client(base_url=f"http://{proxy.host}", trust_env=False) as client:
            _push_and_follow(client)
        commands.run(tool("crane"), "push", "--insecure", image.directory, f"{proxy.host}/team/app:1")
        commands.run(tool("crane"), "pull", "--insecure", "--format=oci", f"{proxy.host}/team/app:1", "pulled")
        assert_same(commands.home / "pulled", image)


def test_the_caddyfile_is_valid_and_formatted(commands: Commands) -> None:
    """As it is, name and all."""
    file = Path(__file__).parents[2] / "deploy" / "Caddyfile"
    commands.run(tool("caddy"), "adapt", "--validate", "--config", file)
    assert commands.read(tool("caddy"), "fmt", file) == file.read_text().strip()


def _push_and_follow(client: httpx.Client) -> None:
    """Push a blob in chunks and a manifest, following each Location as clients do, and resolve it against the proxy alone."""
    content, name = (
        b"content of a layer in many chunks",
        "/v2/team/app",
    )  # the longest Location there is: its session has 32 segments
    answer = client.post(f"{name}/blobs/uploads/")
    for byte in content:
        answer = client.patch(_next(client, answer, 202), content=bytes([byte]))
    answer = client.put(_next(client, answer, 202), params={"digest": digest_of(content)})
    assert client.get(_next(client, answer, 201)).content == content
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": digest_of(content), "size": len(content)},
        "layers": [],
    }
    manifest = json.dumps(document).encode()
    answer = client.put(f"{name}/manifests/1", content=manifest, headers={"Content-Type": MANIFEST})
    assert client.get(_next(client, answer, 201)).content == manifest


def _next(client: httpx.Client, answer: httpx.Response, status: int) -> httpx.URL:
    """Where the answer leads, which MUST be the proxy."""
    assert answer.status_code == status, answer.text
    url = answer.url.join(answer.headers["Location"])
    assert (url.scheme, url.netloc) == (client.base_url.scheme, client.base_url.netloc)
    return url


def _large_layout(directory: Path) -> tuple[Path, str]:
    """An OCI layout whose one layer has 1 GiB, and the layer's digest."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer, written = Layer(1024), blobs / "large"
    with written.open("wb") as file:
        file.writelines(layer.chunks())
    written.rename(blobs / layer.digest.removeprefix("sha256:"))

    def kept(media_type: str, content: bytes) -> dict[str, object]:
        (directory / "blobs" / digest_of(content).replace(":", "/")).write_bytes(content)
        return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}

    config = kept(
        CONFIG,
        b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["'
        + layer.digest.encode()
        + b'"]}}',
    )
    layers = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer.digest, "size": GIB}]
    manifest = kept(
        MANIFEST, json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}).encode()
    )
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [manifest]}))
    return directory, layer.digest


def _crane(home: Path, proxy: Proxy, *arguments: str | Path) -> str:
    """Run crane, which trusts the proxy's certificate."""
    return Commands(home).run("env", f"SSL_CERT_FILE={proxy.certificate}", tool("crane"), *arguments)


def _digest_of_file(file: Path) -> str:
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _children_rss(proxy: Proxy) -> int:
    process = psutil.Process(proxy.pid)
    return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])
