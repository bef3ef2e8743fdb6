"""The connection file: the addresses of a controller, and the keys of its clients.

A client needs nothing else, so the file is private: mode 0600, in a directory of mode 0700.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ClusterNotFound, ConnectionFailed
from .regular import open_regular


class ConnectionInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The contents of a connection file.

    Attributes
    ----------
    cluster : str
        The cluster's id, new with each start.
    addresses : list of str
        The controller's addresses, ``ipc://`` and ``tcp://``, the preferred ones first.
    server_key, client_key, client_secret : str
        CURVE keys (Z85): the controller's public key, and the key pair of this cluster's clients.
    host : str
        The controller's host name.
    ends : float
        The end of the walltime, in seconds since the epoch; 0 without a walltime.
    warning : float
        Seconds before that end at which clients warn.
    """

    cluster: str
    addresses: list[str]
    server_key: str
    client_key: str
    client_secret: str
    host: str
    pid: int = 0
    engines: int = 0
    profile: str = ""
    job: str = ""
    mpi: str = ""
    started: float = 0.0
    ends: float = 0.0
    warning: float = 300.0

    def __repr__(self) -> str:  # never shows the secret
        return f"<ConnectionInfo {self.cluster} at {', '.join(self.addresses)}>"


def write(info: ConnectionInfo, path: Path) -> None:
    """Write `info` to `path` atomically, readable only by the owner."""
    write_private(path, msgspec.json.format(msgspec.json.encode(info), indent=2))


def read(path: Path) -> ConnectionInfo:
    """Return the contents of a connection file.

    Raises
    ------
    ClusterNotFound
        When there is no such file.
    ConnectionFailed
        When others can read the file, or it is no connection file.
    """
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            data = file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise ClusterNotFound(f"There is no connection file {path}. {START_ONE}") from None
    except PermissionError:
        raise ConnectionFailed(f"{path} cannot be read: it belongs to another user.") from None
    except OSError as e:
        raise ConnectionFailed(f"{path} cannot be read: {e.strerror}.") from None
    if status.st_uid not in (os.getuid(), 0):  # the writer of the file could send pickles to this process
        raise ConnectionFailed(f"{path} belongs to another user, so the cluster may be anyone's.")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ConnectionFailed(
            f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o}), so its keys are not "
            f"secret. Restart the cluster if that may have happened; else: chmod 600 {path}"
        )
    try:
        return msgspec.json.decode(data, type=ConnectionInfo)
    except msgspec.MsgspecError as e:
        raise ConnectionFailed(f"{path} is not a connection file of mpidirect: {e}") from None


def from_mapping(values: dict[str, Any]) -> ConnectionInfo:
    """Return the contents of a connection file that are given as a mapping."""
    try:
        return msgspec.convert(values, type=ConnectionInfo)
    except msgspec.MsgspecError as e:
        raise ConnectionFailed(f"These are not the contents of a connection file: {e}") from None


START_ONE = "Start a cluster first:  mpidirect start -n 4"


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 atomically: under a temporary name, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
        os.fsync(descriptor)
        temporary.replace(path)
    except BaseException as e:
        temporary.unlink(missing_ok=True)
        if isinstance(e, OSError):
            raise OSError(e.errno, e.strerror, str(path)) from None
        raise
    finally:
        os.close(descriptor)
