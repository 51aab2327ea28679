"""The large bodies of the embedded store: one file each, named by a nonce, never changed once complete.

    partial/<name>        being written
    files/<hh>/<name>     complete and on disk; the body of an object once a row of the index says so

What root makes belongs to the owner of the store's directory, as SQLite has it for the files beside its own: root may do maintenance where
another user serves.

Everything here blocks, and raises OSError.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from storage.errors import Invalid


class BodyFiles:
    """The files below one directory."""

    def __init__(self, directory: Path) -> None:
        self._home = directory
        self._partial = directory / "partial"
        self._files = directory / "files"

    def prepare(self) -> None:
        """Create what is missing of the two trees."""
        _make_directory(self._partial, self._home)
        _make_directory(self._files, self._home)

    def draft(self, name: str) -> "Draft":
        """A body about to be written; nothing is created yet."""
        return Draft(self._home, self._partial / name, self._complete(name))

    def open(self, name: str) -> BinaryIO:
        """Open a complete body, which stays readable when it is removed meanwhile."""
        return self._complete(name).open("rb")

    def is_complete(self, name: str) -> bool:
        """Whether the body is where objects may refer to it."""
        return self._complete(name).exists()

    def remove(self, name: str) -> None:
        """Remove a body, complete or not; a missing one is no error."""
        for path in (self._partial / name, self._complete(name)):
            path.unlink(missing_ok=True)

    def has(self, name: str) -> bool:
        """Whether there is anything of this body."""
        return (self._partial / name).exists() or self.is_complete(name)

    def untouched_since(self, moment: float) -> Iterator[str]:
        """The names of all bodies, complete or not, that were last written to before `moment`."""
        for folder in (self._partial, *self._files.iterdir()):
            with os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # completed or removed since the scan began
                        if entry.stat().st_mtime < moment:
                            yield entry.name

    def _complete(self, name: str) -> Path:
        return self._files / name[:2] / name


class Draft:
    """A body while it is written: appended to, then completed or discarded. Its file appears with the first append."""

    def __init__(self, home: Path, partial: Path, complete: Path) -> None:
        self.name = partial.name
        self.size = 0
        self.announced = False
        self.published = False
        self._home = home
        self._partial = partial
        self._complete = complete
        self._file: BinaryIO | None = None

    def append(self, block: bytes | bytearray) -> None:
        """Write `block` after what is there."""
        if self._file is None:
            self._file = self._partial.open("xb")
            _hand_over(self._file.fileno(), self._home)
        self._file.write(block)
        self._file.flush()
        self.size += len(block)

    def complete(self, block: bytes | bytearray) -> None:
        """Append the last block and bring all to disk under its final name: whatever dies from now on, the bytes are there."""
        self.append(block)
        assert self._file is not None  # noqa: S101 - append has opened it
        os.fsync(self._file.fileno())
        self._file.close()
        _make_directory(self._complete.parent, self._home)
        self._partial.rename(self._complete)
        sync_directory(self._complete.parent)

    def discard(self) -> None:
        """Remove what was written, wherever it got to; an index that may name the body keeps it."""
        if self._file is None or self.published:
            return
        with suppress(OSError):  # a full disk makes close fail too; what stays behind is swept a day later
            self._file.close()
        for path in (self._partial, self._complete):
            with suppress(OSError):
                path.unlink()


def make_home(directory: Path) -> None:
    """Create a store's directory, for nobody else to read, if it is missing; Invalid if a file is in its place."""
    try:
        directory.mkdir(0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise Invalid(f"{directory} cannot be a store's directory: a file is in its place") from error


def make_file(path: Path, mode: int = 0o666) -> None:
    """Create an empty file in a store's directory, if it is missing."""
    with suppress(FileExistsError):
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        try:
            _hand_over(descriptor, path.parent)
        finally:
            os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Let one process at a time in; the lock goes with the process, however it ends."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Bring the names in `directory` to disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directory(directory: Path, home: Path) -> None:
    if directory.is_dir():
        return
    directory.mkdir(exist_ok=True)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _hand_over(descriptor, home)
    finally:
        os.close(descriptor)
    sync_directory(directory.parent)


def _hand_over(descriptor: int, home: Path) -> None:
    """Give what root has just made to the owner of `home`; where root may not do that, it stays root's."""
    if os.geteuid() == 0:
        with suppress(OSError):
            owner = home.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
