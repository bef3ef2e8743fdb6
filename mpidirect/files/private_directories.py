"""Directories that only their owner can look into: where local sockets and files with keys live."""

from __future__ import annotations

import os
import stat
import tempfile
import time
from pathlib import Path

from ..errors import ConfigError

LONGEST = 100  # bytes of a local socket's address that every system takes
ELSEWHERE = "/tmp"  # for sockets, where the temporary directory has too long a name
RESTARTING = 200.0  # seconds after which no controller follows any more
_ID, _SOCKET = 18, 16  # how long a cluster's id and a socket's name are at most


def socket_directory(cluster: str) -> Path:
    """Where the local sockets of cluster `cluster` live: short enough for a socket's address."""
    name = f"mpidirect-{os.getuid()}-"
    parent = tempfile.gettempdir()
    if len(os.fsencode(f"{parent}/{name}/")) + _ID + _SOCKET > LONGEST:
        parent = ELSEWHERE
    return Path(parent) / f"{name}{cluster}"


def restarts(sockets: Path) -> Path:
    """Return the file that is in a socket directory while another controller follows the one that ended."""
    return sockets / "restarts"


def restarting(cluster: str) -> bool:
    """Return whether another controller of `cluster` is about to follow on this host."""
    try:
        return time.time() - restarts(socket_directory(cluster)).stat().st_mtime < RESTARTING
    except OSError:
        return False


def private_directory(path: Path) -> Path:
    """Make `path` a directory of mode 0700, or check that it is one and ours.

    Raises
    ------
    ConfigError
        When it is someone else's, a link, or open to others.
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
    """Whether `path` is a directory that only we can look into."""
    try:
        status = path.lstat()
    except OSError:
        return False
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return ours and not stat.S_IMODE(status.st_mode) & 0o077
