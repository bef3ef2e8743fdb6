"""The TCP sockets of a process of this user, and the users at the other ends of connections."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator

_PIDFD_GETFD = 438  # The number of the system call, the same on all architectures but Alpha.
_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY, the type of the request and of its answer
_REQUEST = 1  # NLM_F_REQUEST
_ANY = 0xFFFFFFFF
_ESTABLISHED = 1  # TCP_ESTABLISHED

_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_QUERY = struct.Struct("=BBBxI")  # inet_diag_req_v2 up to its inet_diag_sockid
_PORTS = struct.Struct("!HH")  # inet_diag_sockid: the ports; then both addresses, each of 16 bytes
_REST = struct.Struct("=III")  # inet_diag_sockid: the interface and the cookie
_ANSWER = struct.Struct("=xB2x48x12xI")  # inet_diag_msg: state and user


class ProcessSockets:
    """The TCP sockets of a process, as duplicates.

    Parameters
    ----------
    pid : int, optional
        The process; this process if not given.

    Raises
    ------
    OSError
        If there is no such process.
    """

    def __init__(self, pid: int | None = None) -> None:
        self._directory = f"/proc/{pid or 'self'}/fd"
        self._pidfd = -1 if pid is None else os.pidfd_open(pid)
        self._seen: set[int] = set()

    def new(self) -> Iterator[socket.socket]:
        """Yield the TCP sockets that appeared since the last call. The receiver closes them."""
        present: set[int] = set()
        for name in os.listdir(self._directory):  # noqa: PTH208
            inode = self._inode(name)
            if (
                inode not in self._seen
                and inode not in present
                and (duplicate := self._duplicate(int(name))) is not None
            ):
                inode = os.fstat(duplicate.fileno()).st_ino  # The descriptor may have been reused.
                yield duplicate
            present.add(inode)
        self._seen = present

    def see_again(self, one: socket.socket) -> None:
        """Let the next call of `new` yield a socket again."""
        self._seen.discard(os.fstat(one.fileno()).st_ino)

    def _inode(self, name: str) -> int:
        """Return the inode of a socket; 0 if the descriptor is no socket."""
        try:
            kind, _, inode = os.readlink(f"{self._directory}/{name}").partition(":")  # noqa: PTH115
        except OSError:  # The descriptor was closed.
            return 0
        return int(inode[1:-1]) if kind == "socket" else 0

    def _duplicate(self, number: int) -> socket.socket | None:
        try:
            duplicate = os.dup(number) if self._pidfd < 0 else _lent(self._pidfd, number)
        except OSError:
            return None
        with contextlib.suppress(OSError):  # The descriptor is no longer a socket.
            found = socket.socket(fileno=duplicate)
            if found.family in (socket.AF_INET, socket.AF_INET6) and found.type == socket.SOCK_STREAM:
                return found
            found.detach()
        os.close(duplicate)
        return None


def _lent(pidfd: int, number: int) -> int:
    """Return a duplicate of another process's descriptor."""
    libc = ctypes.CDLL(None, use_errno=True)
    duplicate: int = libc.syscall(_PIDFD_GETFD, pidfd, number, 0)
    if duplicate < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return duplicate


def listens(one: socket.socket) -> bool:
    """Return whether a socket accepts connections."""
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def user_at_other_end(connection: socket.socket) -> int | None:
    """Return the user whose process has the other end of a connection.

    Returns
    -------
    int or None
        None if the other end is not on this host, or is closed.
    """
    family = connection.family
    try:
        near, far = connection.getsockname(), connection.getpeername()
        addresses = b"".join(socket.inet_pton(family, end[0]).ljust(16, b"\0") for end in (far, near))
        query = _QUERY.pack(family, socket.IPPROTO_TCP, 0, _ANY)
        query += _PORTS.pack(far[1], near[1]) + addresses + _REST.pack(0, _ANY, _ANY)
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as kernel:
            kernel.send(_HEADER.pack(_HEADER.size + len(query), _BY_FAMILY, _REQUEST, 1, 0) + query)
            answer = kernel.recv(4096)
    except (OSError, ValueError):
        return None
    if _HEADER.unpack_from(answer)[1] != _BY_FAMILY:  # An error: no such socket.
        return None
    state, user = _ANSWER.unpack_from(answer, _HEADER.size)
    return user if state == _ESTABLISHED else None
