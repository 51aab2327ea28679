"""The command line: what is wrong stops the start in one sentence."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli import main
from gateway.listening import listening
from gateway.settings import Settings, describe, load
from tests.parts.gateway import Gateway

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    ("arguments", "environment", "file", "words"),
    [
        (["--workers", "0"], {}, "", "--workers: "),
        (["--workers", "many"], {}, "", "--workers: "),
        (["--listen", "nowhere"], {}, "", "--listen: "),
        (["--upload-expiry", "1"], {}, "", "--upload-expiry: "),
        (["--store", "ftp:x"], {}, "", "--store ftp:x: a store is file:PATH, "),
        (["--store", "s3://"], {}, "", "--store "),
        (["--store", "s3://rv/pre"], {}, "", "--store s3://rv/pre: the name of a bucket is 3 to 63 letters"),
        (["--store", "memory:", "--workers", "2"], {}, "", "--workers: "),
        (["--store", "memory:", "--blob-delivery", "redirect"], {}, "", "--blob-delivery: "),
        (["--single-writer", "--workers", "2"], {}, "", "--single-writer: it takes --workers 1, "),
        (["--workers", "2"], {"MOORAGE_SINGLE_WRITER": "1"}, "", "--single-writer: it takes --workers 1, "),
        (["--config", "missing.toml"], {}, "", "missing.toml cannot be read: "),
        ([], {"MOORAGE_X": "1"}, "", "MOORAGE_X: there is no such setting"),
        ([], {"MOORAGE_WORKERS": "x"}, "", "MOORAGE_WORKERS: "),
        ([], {}, "x = 1", "x in moorage.toml: there is no such setting"),
        ([], {}, "workers = 0", "workers in moorage.toml: "),
        ([], {}, "{", "moorage.toml cannot be read: "),
        (["--store", "file:occupied"], {}, "", "--store file:occupied: occupied cannot be a store's directory"),
        (["--store", "file://data/x"], {}, "", "--store file://data/x: what follows file:// begins with /, unlike "),
        (["--store", "s3://bucket/../x"], {}, "", "--store s3://bucket/../x: a prefix is names of "),
        (["--store", "s3://BAD bucket!"], {}, "", "--store s3://BAD bucket!: the name of a bucket is "),
        (
            ["--store", "s3://bucket"],
            {"AWS_PROFILE": "nope"},
            "",
            "--store s3://bucket: s3://bucket: The config profile",
        ),
        (
            ["--store", "s3://bucket"],
            {"AWS_ENDPOINT_URL_S3": "nonsense", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
            "",
            "--store s3://bucket: s3://bucket: Invalid endpoint: nonsense",
        ),
        (
            ["--store", "memory:", "--cache-bytes", "1000TiB"],
            {},
            "",
            "--cache-bytes: 1099511627776000 bytes for each of 1 ",
        ),
        (["--public-s3-endpoint", "nonsense"], {}, "", "--public-s3-endpoint: a URL begins with http:// or https://"),
        (["--store", "memory:", "--listen", "192.0.2.1:5000"], {}, "", "--listen: cannot listen on 192.0.2.1:5000: "),
        (["--store", "memory:", "--listen", "\u00e9..x:5000"], {}, "", "--listen: cannot listen on \u00e9..x:5000: "),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    arguments: list[str], environment: dict[str, str], file: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 and one line that names the setting; no traceback, and nothing is served."""
    if file:
        Path("moorage.toml").write_text(file)
    Path("occupied").write_text("a file")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(main, ["serve", *arguments])
    assert result.exit_code == 1, result.output
    assert result.output.startswith(f"Error: {words}")
    assert result.output.count("\n") == 1
    assert isinstance(result.exception, SystemExit)


def test_an_unknown_flag() -> None:
    """Exit code 2, and the flag is named."""
    result = CliRunner().invoke(main, ["serve", "--nope", "1"])
    assert result.exit_code == 2
    assert "--nope" in result.output


def test_a_port_in_use() -> None:
    """Is said in a sentence too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(main, ["serve", "--store", "memory:", "--listen", address])
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: --listen: cannot listen on {address}: ")


def test_a_real_process_ends_in_a_sentence() -> None:
    """So it is for users: on standard error, and nothing else."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MOORAGE_"))}
    process = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "serve"],
        env={**inherited, "PYTHONPATH": str(ROOT), "MOORAGE_WRONG": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr == "Error: MOORAGE_WRONG: there is no such setting\n"


def test_every_setting_has_a_flag() -> None:
    """`moorage serve --help` lists each, with its variable; those that are true or false have a --no- form."""
    text = " ".join(CliRunner().invoke(main, ["serve", "--help"], terminal_width=10_000).output.split())
    for info in describe():
        assert info.flag in text
        assert info.variable in text
    assert "--no-allow-sparse" in text


@pytest.mark.parametrize(
    ("command", "sections"),
    [
        ("serve", ["Options:", "Settings:"]),
        ("doctor", ["Options:", "Settings:"]),
        ("gc", ["Options:", "Commands:", "Settings:"]),
        ("gc undo", ["Options:", "Settings:"]),
        ("scrub", ["Options:", "Commands:", "Settings:"]),
        ("retention", ["Options:", "Commands:"]),
        ("retention run", ["Options:", "Settings:"]),
    ],
)
def test_what_a_command_alone_has_comes_first_in_its_help(command: str, sections: list[str]) -> None:
    """The many flags of settings MUST NOT stand before its own few, nor before its subcommands."""
    text = CliRunner().invoke(main, [*command.split(), "--help"]).output
    assert [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")] == sections
    assert "--store" not in text.partition("Settings:")[0]


def test_the_table_of_settings_is_in_the_docs() -> None:
    """docs/settings.md holds what `moorage settings` prints, a row a setting."""
    table = CliRunner().invoke(main, ["settings"]).output
    assert table.count("\n") == len(Settings.__struct_fields__) + 2
    assert table in (ROOT / "docs" / "settings.md").read_text("utf-8")


def test_every_address_is_of_ipv4_too() -> None:
    """Who listens on [::] is reached by either protocol, as the health check of the image has it."""
    [listener], _ = listening(load({"listen": "[::]:0"}, {}, None))
    with listener:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, listener.getsockname()[1]), timeout=10).close()


@pytest.mark.parametrize(
    ("command", "name"), [(["gc", "journal"], "removals"), (["scrub", "quarantine"], "quarantine")]
)
def test_json_that_cannot_be_had_is_json(tmp_path: Path, command: list[str], name: str) -> None:
    """A store that cannot be opened is an error in the document, and a sentence as ever."""
    there = tmp_path / "file"
    there.write_bytes(b"no store")
    result = CliRunner().invoke(main, [*command, "--json", "--store", f"file:{there}"])
    document = json.loads(result.stdout)
    assert (result.exit_code != 0, document[name]) == (True, [])
    assert document["error"] in result.stderr


def test_serve_says_what_it_does_not_take_from_the_file(tmp_path: Path) -> None:
    """Before it says where it stores, so that a store that was meant is missed at once."""
    (tmp_path / "moorage.toml").write_text('store = "file:meant"\nallow_sparse = true\n')
    with Gateway(tmp_path, "memory:", settings={"MOORAGE_ALLOW_SPARSE": "1"}) as gateway:
        assert gateway.tail().splitlines()[:1] == ["--store overrides store in moorage.toml"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["serve"], 1),
        (["serve", "--workers", "2"], 1),
        (["gc"], 1),
        (["gc", "journal"], 1),
        (["retention", "list"], 1),
        (["scrub"], 2),
        (["scrub", "quarantine"], 2),
    ],
)
def test_a_store_that_may_not_be_opened(command: list[str], status: int) -> None:
    """The memory that its gateways share, too, is a sentence where it is another user's, say; and the doctor says so before."""
    with Gateway(Path("gateway"), f"file:{Path('data').absolute()}"):
        pass
    Path("data/epoch").unlink(missing_ok=True)
    Path("data/epoch").mkdir()
    result = CliRunner().invoke(main, ["doctor", "--store", "file:data"])
    assert (result.exit_code, "problem: data: [Errno 21] Is a directory: " in result.output) == (1, True)
    result = CliRunner().invoke(main, [*command, "--store", "file:data"])
    assert (result.exit_code, type(result.exception), result.output.count("\n")) == (status, SystemExit, 1)
    assert result.output.startswith("Error: --store file:data: data: [Errno 21] Is a directory: ")


@pytest.mark.parametrize("command", ["gc", "serve", "doctor"])
def test_a_directory_by_a_url_with_a_host(command: str) -> None:
    """It MUST NOT be taken for one at the root of the file system, and the sentence shows both that may have been meant."""
    result = CliRunner().invoke(main, [command, "--store", "file://data/x"])
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "write file:data/x or file:///data/x" in result.output


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["--help"], 1),
        (["serve", "--help"], 1),
        (["settings"], 1),
        (["doctor"], 1),
        (["gc"], 1),
        (["gc", "journal", "--json"], 1),
        (["scrub", "--json"], 2),
        (["scrub", "quarantine", "--help"], 2),
    ],
)
def test_what_cannot_be_printed_is_said_in_a_sentence(command: list[str], status: int) -> None:
    """Where standard output is a file on a full disk, the command fails as if it had not been run."""
    with Gateway(Path("gateway"), f"file:{Path('data').absolute()}"):
        pass
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "gateway.cli", *command],
            env={**os.environ, "PYTHONPATH": str(ROOT), "MOORAGE_STORE": "file:data"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    words = "Error: what there is to say cannot be written: No space left on device\n"
    assert (process.returncode, process.stderr) == (status, words)
