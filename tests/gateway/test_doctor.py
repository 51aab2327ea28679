"""`moorage doctor`: a table for people, one document for machines, and whether `serve` would start."""

import errno
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from storage import layout
from storage.objects.checkup import COSTS
from tests.parts.gateway import Gateway
from tests.parts.servers import S3Server, free_ports

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("elsewhere")


def doctor(*arguments: str, server: S3Server | None = None) -> Result:
    """What the command prints, and how it ends: without a traceback."""
    result = CliRunner().invoke(main, ["doctor", *arguments], env=server.env if server else {})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def test_a_store_that_is_well() -> None:
    """Exit code 0, a line a capability, and the times."""
    result = doctor("--store", "memory:")
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0] == "store: memory:"
    assert "presigned URLs            no     large blobs pass through the gateway" in result.output
    assert "conditional create        yes" in lines
    assert "forged URLs refused       -" in lines
    assert "clock: the store's agrees with this host's to a second" in lines
    assert any(line.startswith("round trip: GET ") for line in lines)
    assert lines[-1] == "moorage serve starts here"


def test_json(rclone_server: S3Server) -> None:
    """The same as one document; exit code 1 where `serve` would not start."""
    result = doctor("--json", "--store", f"s3://{rclone_server.bucket}/doctor", server=rclone_server)
    assert result.exit_code == 1
    document = json.loads(result.output)
    assert [each["name"] for each in document["found"]] == list(COSTS)
    assert [each["without"] for each in document["found"] if each["found"] is False] == [
        COSTS[each["name"]] for each in document["found"] if each["found"] is False
    ]
    assert (document["starts"], document["starts_with_single_writer"], document["problems"]) == (False, True, [])
    assert document["get_time"] > 0
    assert document["put_time"] > 0
    assert document["clock_skew"] in range(-2, 3)


def test_the_settings_of_serve(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes them from the file, the environment and flags, and says what they keep from starting."""
    Path("moorage.toml").write_text(f'store = "s3://{rclone_server.bucket}/doctor"')
    result = doctor(server=rclone_server)
    assert (result.exit_code, "starts here with --single-writer only" in result.output) == (1, True)
    monkeypatch.setenv("MOORAGE_SINGLE_WRITER", "1")
    assert doctor(server=rclone_server).exit_code == 0
    result = doctor("--workers", "2", server=rclone_server)
    assert (result.exit_code, "problem: --single-writer: it takes --workers 1" in result.output) == (1, True)
    result = doctor("--blob-delivery", "redirect", server=rclone_server)
    assert (result.exit_code, "problem: --blob-delivery: " in result.output) == (1, True)
    assert doctor("--workers", "x").output.startswith("Error: --workers: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--listen", "127.0.0.1:5000", "--metrics-listen", "127.0.0.2:5000"],
            "--metrics-listen: 127.0.0.2:5000 needs another",
        ),
        (["--listen", "192.0.2.1:5000"], "--listen: cannot listen on 192.0.2.1:5000: "),
        (["--metrics-listen", "192.0.2.1:5001"], "--metrics-listen: cannot listen on 192.0.2.1:5001: "),
    ],
)
def test_addresses_that_serve_refuses(arguments: list[str], words: str) -> None:
    """Where the gateway could not listen is found by both in the same words."""
    result = doctor("--store", "memory:", *arguments)
    assert (result.exit_code, f"problem: {words}" in result.output) == (1, True)
    result = CliRunner().invoke(main, ["serve", "--store", "memory:", *arguments])
    assert (result.exit_code, result.output.startswith(f"Error: {words}")) == (1, True)


def test_a_port_that_serve_may_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes a privilege is found by both in the same words, on whatever host this runs."""
    listen = socket.create_server

    def unprivileged(address: tuple[str, int], **options: Any) -> socket.socket:
        if address[1] == 80:
            raise PermissionError(errno.EACCES, "Permission denied")
        return listen(address, **options)

    monkeypatch.setattr(socket, "create_server", unprivileged)
    words = "--listen: cannot listen on 127.0.0.1:80: Permission denied"
    result = doctor("--store", "memory:", "--listen", "127.0.0.1:80")
    assert (result.exit_code, f"problem: {words}" in result.output) == (1, True)
    result = CliRunner().invoke(main, ["serve", "--store", "memory:", "--listen", "127.0.0.1:80"])
    assert (result.exit_code, result.output) == (1, f"Error: {words}\n")


def test_beside_a_gateway(tmp_path: Path) -> None:
    """A port in use is no problem: it is the gateway's own, whose store is examined while it serves."""
    with Gateway(tmp_path / "gateway", "memory:") as gateway:
        assert doctor("--store", "memory:", "--listen", gateway.host).exit_code == 0
    for same in ("127.0.0.1:0", "127.0.0.1:5000"):
        assert doctor("--store", "memory:", "--listen", same, "--metrics-listen", same).exit_code == 0


def test_no_room_for_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """`serve` refuses to start where none can be written, and the doctor says so before."""

    def nowhere() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    words = "no directory for temporary files can be written to: set TMPDIR to one"
    result = doctor("--store", "memory:")
    assert (result.exit_code, f"problem: {words}" in result.output) == (1, True)
    result = CliRunner().invoke(main, ["serve", "--store", "memory:", "--listen", "127.0.0.1:0"])
    assert (result.exit_code, result.output) == (1, f"Error: {words}\n")


def test_a_store_that_something_else_wrote() -> None:
    """What keeps the registry from being opened is found without writing to the store."""
    assert doctor("--store", "file:data").exit_code == 0
    with Gateway(Path("gateway"), f"file:{Path('data').absolute()}"):
        pass
    assert doctor("--store", "file:data").exit_code == 0
    with closing(sqlite3.connect("data/objects.sqlite")) as database, database:
        database.execute("DELETE FROM objects WHERE key = ?", (layout.FORMAT_KEY,))
    result = doctor("--store", "file:data")
    assert (result.exit_code, f"but no {layout.FORMAT_KEY}, so moorage did not write it" in result.output) == (1, True)
    Path("occupied").write_text("a file")
    result = doctor("--store", "file:occupied")
    assert (result.exit_code, "problem: occupied cannot be a store's directory" in result.output) == (1, True)


def test_both_say_the_same(rclone_server: S3Server) -> None:
    """`serve` refuses to start in the words of the doctor, in seconds, in one line; so does a store that is away."""
    with free_ports(1) as (port,):
        away = f"http://127.0.0.1:{port}"
    environment = {**os.environ, **rclone_server.env, "PYTHONPATH": str(ROOT)}
    for store, changes, words in [
        ("s3://shared", {"AWS_ENDPOINT_URL_S3": away}, f"nothing listens at {away}"),
        ("s3://no-such-bucket", {}, "there is no bucket no-such-bucket at"),
        ("s3://shared", {}, "the store ignores If-None-Match and If-Match on PutObject"),
    ]:
        began = time.monotonic()
        refused = subprocess.run(
            [sys.executable, "-m", "gateway.cli", "serve", "--store", store, "--listen", "127.0.0.1:0"],
            env=environment | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert time.monotonic() - began < 15
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
        assert refused.stderr.startswith(f"Error: --store {store}: {words}")
