"""A listening socket that accepts no connection while this process is short of descriptors.

libzmq accepts every connection, and each one has a descriptor until its handshake has failed, for seconds.
When none is left and somebody connects by `ipc`, libzmq ends the process: strangers must not take them all.
libzmq's thread may accept many before this process can look.  So the process's limit is kept below what the
system allows, and is raised while the gate is closed.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import socket
import struct

from .base import is_worth_a_line

log = logging.getLogger(__name__)

SPARE = 512  # descriptors that are left free, or a quarter of all
_AGAIN = 64  # more of them are free when others may connect again

_ATTACH, _DETACH = 26, 27  # Linux's SO_ATTACH_FILTER, SO_DETACH_FILTER; the module socket does not name them
_DROP = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0), 8)  # a program of BPF: `ret #0`
_PROGRAM = struct.pack("@HP", 1, ctypes.addressof(_DROP))


class Gate:
    """Decides whether others can connect.

    Parameters
    ----------
    listener : socket.socket
        The socket that listens; a copy of it is kept.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener.dup()
        self._closed = 0  # how often
        self._open = True
        self._works = True
        self._usual = 0  # the limit of descriptors while the gate is open

    def look(self) -> None:
        """Close the gate when descriptors are scarce, and open it when there are enough again.

        While it is closed, the kernel drops the packets of those who want to connect; their system tries
        again by itself.  Connections that are there already are not concerned.
        """
        try:
            self._decide(self._free())
        except OSError as e:  # a system that does not know this
            log.warning("who wants to connect can't be kept out while descriptors are few: %s", e)
            self._works = False

    def _decide(self, free: int) -> None:
        if not self._works:
            return
        if self._open and free < 0:
            self._listener.setsockopt(socket.SOL_SOCKET, _ATTACH, _PROGRAM)
            self._open = False
            self._usual, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            self._closed += 1
            if is_worth_a_line(self._closed):
                log.warning(
                    "few descriptors are left: nobody else can connect for now (%d so far)", self._closed
                )
        elif not self._open and free > _AGAIN:
            self._listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
            self._open = True
            _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (self._usual, hard))

    def _free(self) -> int:
        """How many descriptors are free beyond those that are to be spare."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] if self._open else self._usual
        if most == resource.RLIM_INFINITY:
            return SPARE
        try:
            lowest = os.dup(self._listener.fileno())  # the lowest number that is free
        except OSError:
            return -SPARE
        os.close(lowest)
        return most - lowest - spare(most)

    def close(self) -> None:
        """Close the copy."""
        self._listener.close()


def spare(most: int) -> int:
    """How many of `most` descriptors are left free."""
    return min(SPARE, most // 4)
