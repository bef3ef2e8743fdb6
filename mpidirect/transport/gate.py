"""A listening socket that takes nobody in while this process is short of descriptors.

libzmq accepts everybody, and each connection has a descriptor until its handshake has failed, for seconds.
When none is left and somebody connects by `ipc`, libzmq ends the process: strangers must not take them all.
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

_ATTACH, _DETACH = (
    26,
    27,
)  # SO_ATTACH_FILTER, SO_DETACH_FILTER of Linux, which the module socket does not name
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
            self._closed += 1
            if is_worth_a_line(self._closed):
                log.warning(
                    "few descriptors are left: nobody else can connect for now (%d so far)", self._closed
                )
        elif not self._open and free > _AGAIN:
            self._listener.setsockopt(socket.SOL_SOCKET, _DETACH, 0)
            self._open = True

    def _free(self) -> int:
        """How many descriptors are free beyond those that are to be spare."""
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if most == resource.RLIM_INFINITY:
            return SPARE
        try:
            lowest = os.dup(self._listener.fileno())  # the lowest number that is free
        except OSError:
            return -SPARE
        os.close(lowest)
        return most - lowest - min(SPARE, most // 4)

    def close(self) -> None:
        """Close the copy."""
        self._listener.close()
