"""Runs what a compose file describes without containers: each service as a process of this machine, out of the file's own blocks.

tests/deploy/compose, the reference implementation of the Compose specification, reads the file. A service listens on a free port instead of the
one it has in its container, and everything that names that port is rewritten: environments, commands, health checks. Services are
started in the order that `depends_on` demands, each once the health checks of those before it succeed.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from tests.deploy.dockerfile import Dockerfile
from tests.parts.gateway import ROOT
from tests.parts.servers import free_ports, running, wait_until
from tests.parts.tools import tool

HEALTHY_WITHIN = 180.0  # seconds
# The ports that each image listens on and that the files name; the first is where it serves.
PORTS = {"localstack/localstack": (4566,), "chrislusf/seaweedfs": (8333, 8888), "moorage": (5000,)}
# LocalStack's image has this; here it is the one command of it that the hook runs.
_AWSLOCAL = """#!{python}
import sys
import boto3
*command, bucket = sys.argv[1:]
assert command == ["s3api", "create-bucket", "--bucket"], sys.argv
boto3.client("s3", "us-east-1", endpoint_url="{endpoint}", aws_access_key_id="test", aws_secret_access_key="test").create_bucket(Bucket=bucket)
"""
_AWSLOCAL_SAID = "awslocal: a program of ours over boto3, with the one command that the init hook runs"


def read(file: Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Read `file` as `docker compose config` does, with these variables alone; the output is the project in JSON."""
    return subprocess.run(
        [tool("compose"), file], env=dict(environment or {}), capture_output=True, text=True, timeout=60, check=False
    )


@dataclass(frozen=True)
class Service:
    """A service of the file, on its way to a process: `ports` are its own on this machine, by those that it has in its container."""

    name: str
    image: str
    ports: dict[int, int]
    directory: Path
    model: dict[str, Any] = field(repr=False)

    @property
    def host(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{next(iter(self.ports.values()))}"


@dataclass(frozen=True)
class Topology:
    """All services of a file, and the rewriting that they share: addresses, and the bucket's name where it must be one of its own."""

    services: dict[str, Service]
    bucket: str

    def here(self, text: str) -> str:
        """`text` out of the file, with addresses of this machine."""
        for service in self.services.values():
            for there, port in service.ports.items():
                text = re.sub(rf"\b(127\.0\.0\.1|0\.0\.0\.0|{service.name}):{there}\b", f"127.0.0.1:{port}", text)
        return re.sub(r"^(s3:/|-bucket=|http:.*)(/?)moorage(/?)$", rf"\g<1>\g<2>{self.bucket}\g<3>", text)

    def environment(self, service: Service) -> dict[str, str]:
        """The environment of the service, and what a process needs besides."""
        given = {name: self.here(str(value)) for name, value in service.model.get("environment", {}).items()}
        if "BUCKET" in given:
            given["BUCKET"] = self.bucket
        return {"PATH": f"{service.directory}/bin:{os.environ['PATH']}", "HOME": str(service.directory)} | given

    def healthy(self, service: Service) -> bool:
        """Run its health check."""
        check = service.model["healthcheck"]["test"]
        assert check[0] == "CMD", check
        command = [self.here(argument) for argument in check[1:]]
        environment = self.environment(service)
        if command[0] == "python":
            command[0] = sys.executable
        return subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False).returncode == 0


@contextmanager
def up(file: Path, directory: Path, *, bucket: str, environment: Mapping[str, str] | None = None) -> Iterator[Topology]:
    """Run all services of `file` while the block runs; they are healthy when it begins. `bucket` stands for the file's."""
    done = read(file, environment)
    assert done.returncode == 0, done.stderr
    models = json.loads(done.stdout)["services"]
    services = {name: _service(name, model, directory) for name, model in models.items()}
    topology = Topology(services, bucket)
    needs = {name: model.get("depends_on", {}) for name, model in models.items()}
    assert all(need["condition"] == "service_healthy" for each in needs.values() for need in each.values())
    with ExitStack() as stack:
        for name in TopologicalSorter(needs).static_order():
            service = services[name]
            service.directory.mkdir(parents=True)
            (service.directory / "bin").mkdir()
            command, more = _STARTERS[service.image](topology, service)
            log = service.directory / "log"
            process = stack.enter_context(running(command, log, environment=topology.environment(service) | more))
            wait_until(process, log, partial(topology.healthy, service), HEALTHY_WITHIN)
        yield topology


def _service(name: str, model: dict[str, Any], directory: Path) -> Service:
    """The service of a model; what is built takes from the Dockerfile what the image would bring."""
    image = "moorage" if "build" in model else model["image"].split(":")[0]
    if image == "moorage":
        built = Dockerfile.read(ROOT / "Dockerfile")
        model = {
            "command": [*built.entrypoint, *built.command],
            "healthcheck": {"test": ["CMD", *built.healthcheck]},
            **{name: value for name, value in model.items() if value is not None},
            "environment": built.environment | model["environment"],
        }
    with free_ports(len(PORTS[image])) as ports:
        return Service(name, image, dict(zip(PORTS[image], ports, strict=True)), directory / name, model)


def _localstack(topology: Topology, service: Service) -> tuple[list[str | Path], dict[str, str]]:
    """LocalStack, which finds below its root what the file mounts into its container, and runs the init hook itself."""
    root = service.directory / "root"
    for volume in service.model["volumes"]:
        target = root / volume["target"].lstrip("/")
        target.parent.mkdir(parents=True)
        target.symlink_to(volume["source"])
    awslocal = service.directory / "bin" / "awslocal"
    awslocal.write_text(_AWSLOCAL.format(python=sys.executable, endpoint=f"http://{service.host}"))
    awslocal.chmod(0o755)
    more = {
        "FILESYSTEM_ROOT": str(root),
        "OVERRIDE_IN_DOCKER": "0",
        "GATEWAY_LISTEN": service.host,
        "GATEWAY_SERVER": "hypercorn",
        "DNS_ADDRESS": "0",
        "TMPDIR": str(service.directory),
    }
    print(_AWSLOCAL_SAID)
    return [tool("localstack")], more


def _seaweedfs(topology: Topology, service: Service) -> tuple[list[str | Path], dict[str, str]]:
    """SeaweedFS, whose other ports are free ones too, and whose health check finds BusyBox's wget, as in its image."""
    (service.directory / "bin" / "wget").symlink_to(tool("busybox"))
    (service.directory / "data").mkdir()
    roles = ("master.port", "volume.port", "admin.port")
    grpc = [f"{role}.grpc" for role in (*roles, "filer.port", "s3.port")]
    with free_ports(len(roles) + len(grpc)) as ports:
        others = [f"-{role}={port}" for role, port in zip([*roles, *grpc], ports, strict=True)]
    named = {"s3.port": 8333, "filer.port": 8888}
    native = {
        "-dir=/data": f"-dir={service.directory}/data",
        f"-ip={service.name}": "-ip=127.0.0.1",
        "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1",
        **{f"-{role}={port}": f"-{role}={service.ports[port]}" for role, port in named.items()},
    }
    command = service.model["command"]
    assert set(native) <= set(command), command
    return [tool("weed"), *(topology.here(native.get(each, each)) for each in command), *others], {}


def _moorage(topology: Topology, service: Service) -> tuple[list[str | Path], dict[str, str]]:
    program, *arguments = service.model["command"]
    assert program == "moorage"
    more = {"PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true", "MOORAGE_DRAIN_DELAY": "0s"}
    return [sys.executable, "-m", "gateway.cli", *arguments], more


_STARTERS = {"localstack/localstack": _localstack, "chrislusf/seaweedfs": _seaweedfs, "moorage": _moorage}
