"""Runs nginx and Caddy with the very files of deploy/, in which only names, ports and certificates are changed."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.parts.gateway import ROOT
from tests.parts.servers import answers, free_ports, running, wait_until
from tests.parts.tools import tool

_NGINX = """
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log info;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen {status};
        location / {{ return 200; }}
    }}
    include {directory}/moorage.conf;
}}
"""


@dataclass(frozen=True)
class Proxy:
    """A proxy in front of a gateway: where it listens, what certificate it shows if it ends TLS, its process and its log."""

    host: str
    certificate: Path
    pid: int
    log: Path


@contextmanager
def nginx(directory: Path, gateway: str) -> Iterator[Proxy]:
    """Run nginx with deploy/nginx.conf in front of `gateway`, HOST:PORT, while the block runs; it ends TLS."""
    with free_ports(2) as (port, status):
        host = f"127.0.0.1:{port}"
    certificate, key = _certificate(directory)
    site = _instance(
        "nginx.conf",
        {
            "server 127.0.0.1:5000;": f"server {gateway};",
            "listen 443 ssl http2;": f"listen {host} ssl http2;",
            "server_name registry.example.com;": "server_name 127.0.0.1;",
            "/etc/ssl/registry.example.com/fullchain.pem": str(certificate),
            "/etc/ssl/registry.example.com/privkey.pem": str(key),
        },
    )
    (directory / "moorage.conf").write_text(site)
    config, log = directory / "nginx.conf", directory / "nginx.log"
    config.write_text(_NGINX.format(directory=directory, status=f"127.0.0.1:{status}"))
    # Its workers are of the user `nobody` where it is started by root; that one must get to its sockets' temporary files.
    directory.chmod(0o755)
    command: list[str | Path] = [tool("nginx"), "-p", directory, "-e", log, "-c", config]
    with running(command, directory / "output", environment={"HOME": str(directory)}) as process:
        wait_until(process, log, lambda: answers(f"http://127.0.0.1:{status}/"))
        yield Proxy(host, certificate, process.pid, log)


@contextmanager
def caddy(directory: Path, gateway: str) -> Iterator[Proxy]:
    """Run Caddy with deploy/Caddyfile in front of `gateway`, HOST:PORT, while the block runs; it cannot obtain a certificate here."""
    with free_ports(1) as (port,):
        host = f"127.0.0.1:{port}"
    site = _instance("Caddyfile", {"registry.example.com {": f"http://{host} {{", "127.0.0.1:5000": gateway})
    config, log = directory / "Caddyfile", directory / "caddy.log"
    config.write_text("{\n\tadmin off\n}\n" + site)
    command: list[str | Path] = [tool("caddy"), "run", "--adapter", "caddyfile", "--config", config]
    with running(command, log, environment={"HOME": str(directory)}) as process:
        wait_until(process, log, lambda: answers(f"http://{host}/readyz"))
        yield Proxy(host, config, process.pid, log)


def _instance(name: str, changes: dict[str, str]) -> str:
    """The file `name` of deploy/ with these changes, each of which MUST be one."""
    text = (ROOT / "deploy" / name).read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    command: list[str | Path] = [
        tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc", "-days", "2",
        "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key,
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return certificate, key
