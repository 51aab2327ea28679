"""Large layers over plain sockets: as little of a client as can be, so that the gateway is what is measured."""

import hashlib
import http.client
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

MIB = 1024 * 1024
_NOISE = os.urandom(MIB)


class Layer:
    """A layer of `size` MiB that nobody has to hold: each mebibyte differs from the others and from those of other seeds."""

    def __init__(self, size: int, seed: int = 0) -> None:
        self.size = size * MIB
        self._seed = seed
        self._hash = hashlib.sha256()

    def chunks(self) -> Iterator[bytes]:
        """The bytes, hashed on their way."""
        for index in range(self.size // MIB):
            chunk = self._seed.to_bytes(8) + index.to_bytes(8) + _NOISE[16:]
            self._hash.update(chunk)
            yield chunk

    @property
    def digest(self) -> str:
        """The digest, once `chunks` has been read to its end."""
        return f"sha256:{self._hash.hexdigest()}"


def push(url: str, repository: str, layer: Layer) -> None:
    """Push a layer as docker does: POST, one PATCH without a length, an empty PUT."""
    connection = _connect(url)
    location = _location(connection, 202, "POST", f"/v2/{repository}/blobs/uploads/")
    connection.request("PATCH", location, layer.chunks(), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    location = _answered(connection, 202)
    assert location
    _location(connection, 201, "PUT", f"{location}?digest={layer.digest}")
    connection.close()


def pull(url: str, repository: str, digest: str) -> str:
    """Read a blob through the gateway and give the digest of what came."""
    connection = _connect(url)
    connection.request("GET", f"/v2/{repository}/blobs/{digest}")
    response = connection.getresponse()
    assert response.status == 200, response.read()
    found = hashlib.sha256()
    while chunk := response.read(MIB):
        found.update(chunk)
    connection.close()
    return f"sha256:{found.hexdigest()}"


def _connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)


def _location(connection: http.client.HTTPConnection, status: int, method: str, path: str) -> str:
    connection.request(method, path, headers={"Content-Length": "0"})
    return _answered(connection, status)


def _answered(connection: http.client.HTTPConnection, status: int) -> str:
    response = connection.getresponse()
    body = response.read()
    assert response.status == status, body
    return response.headers["Location"]
