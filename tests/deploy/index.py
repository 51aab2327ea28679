"""A package index over a directory of wheels, as PEP 503 has it, for `docker build` where nothing can be downloaded."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


@contextmanager
def package_index(wheels: Path) -> Iterator[str]:
    """Serve the wheels in `wheels` on 127.0.0.1 while the block runs; gives the URL, as PIP_INDEX_URL takes it."""

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """A page for each project, /simple/NAME/, and the files, /NAME.whl."""
            *_, directory, name = self.path.split("/")
            page = "".join(f'<a href="/{file.name}">{file.name}</a>\n' for file in _wheels_of(wheels, directory))
            found = page.encode() if not name else _read(wheels / name)
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html" if not name else "application/octet-stream")
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _wheels_of(wheels: Path, project: str) -> list[Path]:
    return [file for file in sorted(wheels.glob("*.whl")) if _normal(file.name.split("-")[0]) == _normal(project)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""
