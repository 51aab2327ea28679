"""rclone as an S3 server: one that takes conditional requests and ignores the conditions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts.servers import S3Server, answers_to_s3, free_ports, running, wait_until
from tests.parts.tools import tool


@contextmanager
def rclone(directory: Path) -> Iterator[S3Server]:
    """`rclone serve s3` over a directory; each directory in that is a bucket."""
    with free_ports(1) as (port,):
        server = S3Server(f"http://127.0.0.1:{port}")
    (directory / "data" / server.bucket).mkdir(parents=True)
    command: list[str | Path] = [
        tool("rclone"), "serve", "s3", "--config=", f"--addr=127.0.0.1:{port}",
        f"--auth-key={server.access_key},{server.secret_key}", directory / "data",
    ]  # fmt: skip
    log = directory / "rclone.log"
    with running(command, log, environment={"HOME": str(directory)}) as process:
        wait_until(process, log, lambda: answers_to_s3(server))
        yield server
