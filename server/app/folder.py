"""The data folder: where each thing lies in it, and whether it can be used at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from server.app.config import Config
from signaling.tokens import SECRET_BYTES, load_or_make_secret


class FolderError(Exception):
    """The data folder, or a file that belongs to it, cannot be used; one line, fit for stderr."""


def lessons_file(data: Path) -> Path:
    return data / "lessons.db"


def catalog_file(data: Path) -> Path:
    return data / "library.db"


def archive_folder(data: Path) -> Path:
    return data / "archive"


def prepare(config: Config) -> None:
    """Make the folder and see that it can be written, by writing.

    :raises FolderError: it cannot
    """
    run = config.data / "run"
    try:
        config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.mkdir(mode=0o700, exist_ok=True)
        run.chmod(0o700)  # the tap's socket in it is guarded by this mode alone
        with tempfile.TemporaryFile(dir=config.data) as probe:
            probe.write(b"x")
            os.fsync(probe.fileno())
    except OSError as error:
        raise FolderError(f"data folder {config.data}: {error.strerror}") from error
    if config.tap_address.startswith("unix:"):
        socket = Path(config.tap_address.removeprefix("unix:"))
        try:
            socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = socket.parent.lstat()
        except OSError as error:
            raise FolderError(f"tap socket {socket}: {error.strerror}") from error
        # Where the data folder's path is too long for a socket, its folder lies in a place that others can write to.
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & 0o077:
            raise FolderError(f"tap socket {socket}: its folder must be ours alone (mode 0700)")


@contextlib.contextmanager
def held(config: Config) -> Iterator[None]:
    """The folder prepared, and ours alone where a recorder runs: two would take the tap's socket from one another.

    The kernel lets go of the lock when the process ends, however it ends; children do not inherit it.

    :raises FolderError: another process holds it, or the folder cannot be used
    """
    prepare(config)
    if config.role not in ("all", "recorder"):
        yield
        return
    path = config.data / "run" / "lock"
    try:
        lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise FolderError(f"{path}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderError(f"the data folder is in use by process {lock.read().strip() or 'unknown'}") from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def bureau_secret(config: Config) -> bytes:
    """The secret all roles share: from ``secret-file``, else the data folder's own, made at the first start.

    :raises FolderError: it cannot be read, made, or is too short
    """
    try:
        if config.secret_file is None:
            return load_or_make_secret(config.data)
        secret = config.secret_file.read_bytes()
    except OSError as error:
        raise FolderError(f"{config.secret_file or config.data}: {error.strerror or error}") from error
    if len(secret) < SECRET_BYTES:
        raise FolderError(f"{config.secret_file}: has {len(secret)} bytes, needs {SECRET_BYTES}")
    return secret


def turn_secret(config: Config) -> str:
    """:raises FolderError: the file cannot be read"""
    if config.turn_secret_file is None:
        return ""
    try:
        return config.turn_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(f"{config.turn_secret_file}: {getattr(error, 'strerror', None) or 'not text'}") from error
