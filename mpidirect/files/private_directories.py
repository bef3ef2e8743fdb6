"""Directories that only their owner can enter, for local sockets and files with keys."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from pathlib import Path

from ..errors import ConfigError
from .regular import read_regular

_LONGEST_ADDRESS = 100  # bytes of a local socket's address that every system accepts
_SHORT_PARENT = "/tmp"  # for sockets if the temporary directory has too long a name
SUCCESSION_LIMIT = 200.0  # Seconds that a successor of a controller may take to start.
_LONGEST_ID, _LONGEST_NAME = 18, 16  # bytes of a cluster's id and of a socket's name


def socket_directory(cluster: str) -> Path:
    """Return the directory of a cluster's local sockets, short enough for a socket's address."""
    name = f"mpidirect-{os.getuid()}-"
    parent = tempfile.gettempdir()
    if len(os.fsencode(f"{parent}/{name}/")) + _LONGEST_ID + _LONGEST_NAME > _LONGEST_ADDRESS:
        parent = _SHORT_PARENT
    return Path(parent) / f"{name}{cluster}"


def successor_file(cluster: str) -> Path:
    """Return the file in which the controllers of a cluster follow each other.

    A controller that has a successor leaves the file empty; the successor writes its process number.
    """
    return socket_directory(cluster) / "successor"


def successor(cluster: str) -> int | None:
    """Return the process number of the controller that followed the first one on this host.

    The number is 0 while a successor is about to start; None means that there is no successor.
    """
    file = successor_file(cluster)
    # Another user could make this directory after the cluster has removed its own.
    if not is_private(file.parent):
        return None
    try:
        pid = int(read_regular(file) or 0)
        return pid if pid or time.time() - file.stat().st_mtime < SUCCESSION_LIMIT else None
    except (OSError, ValueError):
        return None


def private_directory(path: Path) -> Path:
    """Make `path` a directory of mode 0700, or check an existing one, and return it.

    Raises
    ------
    ConfigError
        When it belongs to another user, is a link, or is open to others.
    """
    if not path.parent.exists():
        private_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise ConfigError(f"{path} is not a directory of this user; remove it or choose another.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConfigError(
            f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o}): chmod 700 {path}"
        )
    return path


def is_private(path: Path) -> bool:
    """Whether `path` is a directory that only this user can enter."""
    try:
        status = path.lstat()
    except OSError:
        return False
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return ours and not stat.S_IMODE(status.st_mode) & 0o077
