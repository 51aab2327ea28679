"""Runs wrk, which costs a fraction of what it measures: https://github.com/wg/wrk."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.client import Failed
from bench.heads import SEED
from tests.parts.tools import tool

SCRIPT = Path(__file__).with_name("gets.lua")


class Load(msgspec.Struct, frozen=True):
    """What wrk did; percentiles in microseconds."""

    requests: int
    microseconds: int
    failed: int
    p50: int
    p99: int


def wrk(address: str, paths: Sequence[str], *, seconds: int, accept: str = "*/*", connections: int = 16) -> Load:
    """GET the paths, chosen at random by `SEED`, over connections that are kept alive; raises Failed if any is not answered with 200."""
    flags = ["--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "30s"]
    command: list[str | Path] = [tool("wrk"), *flags, "--header", f"Accept: {accept}", "--script", SCRIPT]
    command += [f"http://{address}", "--", str(SEED), *paths]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)  # noqa: S603 - found in PATH
    load = msgspec.json.decode(done.stdout.splitlines()[-1], type=Load)
    if load.failed:
        raise Failed(f"{load.failed} of {load.requests} requests for {paths[0]} failed")
    return load
