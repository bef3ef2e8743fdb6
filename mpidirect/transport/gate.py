"""A listening socket that accepts no connection while this process has few free file descriptors.

libzmq accepts every connection, and each connection has a descriptor for the seconds until its handshake
has failed. If no descriptor is free for a connection by `ipc`, libzmq aborts the process; so strangers must
not take all descriptors.  libzmq's thread may accept many connections before this process can react.  So the
limit of the process is kept below the limit of the system, and is raised while the gate is closed.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import socket
import struct

from .base import should_log

log = logging.getLogger(__name__)

_RESERVE = 512  # number of descriptors that stay free, but at most a quarter of all
_REOPEN = 64  # free descriptors beyond the reserve at which the gate opens again

_ATTACH, _DETACH = 26, 27  # Linux's SO_ATTACH_FILTER, SO_DETACH_FILTER; the module socket does not name them
_DROP = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0), 8)  # a program of BPF: `ret #0`
_PROGRAM = struct.pack("@HP", 1, ctypes.addressof(_DROP))


class Gate:
    """Closes and opens a listening socket by the number of free descriptors.

    Parameters
    ----------
    listener : socket.socket
        The listening socket; the gate keeps a duplicate.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener.dup()
        self._closures = 0
        self._open = True
        self._supported = True  # whether the system has socket filters
        self._open_limit = 0  # the limit of descriptors while the gate is open

    def update(self) -> None:
        """Close the gate when descriptors are scarce, and open the gate when there are enough again.

        While the gate is closed, the kernel drops the packets of new connections, and the peer's system tries
        again by itself. Existing connections continue.
        """
        try:
            self._apply(self._free_descriptors())
        except OSError as e:  # a system without socket filters
            log.warning("new connections can't be refused while few descriptors are left: %s", e)
            self._supported = False

    def _apply(self, free: int) -> None:
        """Close or open the gate for a number of free descriptors beyond the reserve."""
        if not self._supported:
            return
        if self._open and free < 0:
            self._listener.setsockopt(socket.SOL_SOCKET, _ATTACH, _PROGRAM)
            self._open = False
            self._open_limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            self._closures += 1
            if should_log(self._closures):
                log.warning(
                    "few descriptors are left: no new connections for now (%d so far)", self._closures
                )
        elif not self._open and free > _REOPEN:
            self._listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
            self._open = True
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._open_limit, hard))

    def _free_descriptors(self) -> int:
        """Return the number of free descriptors beyond the reserve."""
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if self._open else self._open_limit
        if limit == resource.RLIM_INFINITY:
            return _RESERVE
        try:
            lowest = os.dup(self._listener.fileno())  # the lowest free number
        except OSError:
            return -_RESERVE
        os.close(lowest)
        return limit - lowest - reserve(limit)

    def close(self) -> None:
        """Close the duplicate."""
        self._listener.close()


def reserve(limit: int) -> int:
    """Return how many of `limit` descriptors are kept free."""
    return min(_RESERVE, limit // 4)
