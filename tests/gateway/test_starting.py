"""What a start costs: what is imported, and how often the store is probed."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gateway.cli import main
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server, wait_for
from tests.parts.wire import Wire, wire

ROOT = Path(__file__).parents[2]
SERVING = {"prometheus_client", "starlette", "uvicorn"}
HEAVY = SERVING | {"boto3", "botocore", "structlog"}


@pytest.mark.parametrize("command", ["doctor", "gc", "retention", "scrub", "settings"])
def test_a_command_imports_nothing_that_it_does_not_need(command: str) -> None:
    """Only `serve` serves and logs, and nothing of S3 is imported before an S3 store is opened."""
    code = f"import sys; from gateway.cli import main; main([{command!r}, '--help'], standalone_mode=False); print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert HEAVY & set(output.split()) == set()


def test_every_command_is_found_and_no_other() -> None:
    """Each command goes by the name under which it is asked for."""
    assert isinstance(main, click.Group)
    context = click.Context(main)
    names = main.list_commands(context)
    assert {"collect-when-due", "doctor", "gc", "retention", "scrub", "serve", "settings"} == set(names)
    commands = [main.get_command(context, name) for name in names]
    assert [command.name for command in commands if command is not None and not command.hidden] == names[1:]
    assert main.get_command(context, "nope") is None


@pytest.mark.parametrize("workers", [1, 2])
async def test_the_store_is_probed_once(minio_server: S3Server, tmp_path: Path, workers: int) -> None:
    """However many workers open it: they are told what the process that starts them has found."""
    async with wire(minio_server.endpoint) as proxy:
        settings = {**minio_server.env, "AWS_ENDPOINT_URL_S3": proxy.endpoint}
        store = f"s3://{minio_server.bucket}/{tmp_path.name}"
        gateway = Gateway(tmp_path / "gateway", store, settings=settings, workers=workers)
        await asyncio.to_thread(gateway.start)
        try:
            await asyncio.to_thread(wait_for, lambda: _opened(proxy) == 1 + workers)
        finally:
            await asyncio.to_thread(gateway.stop)
    assert len({each.path for each in proxy.exchanges if each.path.endswith("/create")}) == 1


def _opened(proxy: Wire) -> int:
    """How often the registry was opened: each time its secret is read, and a first time that finds none."""
    return sum(each.method == "GET" and each.path.endswith("/keys/uploads") for each in proxy.exchanges) - 1
