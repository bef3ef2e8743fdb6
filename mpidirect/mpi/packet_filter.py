"""A packet filter that closes listening sockets to other hosts.

Open MPI and MPICH listen on all interfaces without any authentication. A stranger who connects to such a port
and sends nothing can block MPI's progress for seconds. Neither MPI can be told to listen only on the
loopback. So each rank attaches a packet filter (classic BPF) to its listening sockets: the kernel drops
packets whose source is another host.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
from collections.abc import Iterable

_ATTACH_FILTER = 26  # Linux's SO_ATTACH_FILTER; the module socket does not name it

# Opcodes of classic BPF, and the offset at which it finds the IP header (linux/filter.h).
_LOAD_BYTE, _LOAD_WORD, _AND, _SHIFT_RIGHT, _TO_X = 0x30, 0x20, 0x54, 0x74, 0x07
_IF_EQUAL, _IF_EQUAL_TO_X, _RETURN = 0x15, 0x1D, 0x06
_IP = -0x100000 & 0xFFFFFFFF
_ACCEPT, _DROP = 0xFFFFFFFF, 0

_IPV4_SOURCE, _IPV4_DESTINATION = _IP + 12, _IP + 16
_IPV6_SOURCE, _IPV6_DESTINATION = _IP + 8, _IP + 24
_LOOPBACK, _LOOPBACK_MASK = 0x7F000000, 0xFF000000


def _instructions() -> list[tuple[int, int, int, int]]:
    """Return the filter: a packet passes if its source is the loopback, or equals its destination.

    A packet of this host to one of its own addresses has that address as its source. The kernel drops packets
    from the network with such a source before any filter sees them.
    """
    ipv6: list[tuple[int, int, int, int]] = []
    for word in range(0, 16, 4):
        left = (12 - word) // 4 * 4  # instructions of the words that follow
        ipv6 += [
            (_LOAD_WORD, 0, 0, _IPV6_SOURCE + word),
            (_TO_X, 0, 0, 0),
            (_LOAD_WORD, 0, 0, _IPV6_DESTINATION + word),
            (_IF_EQUAL_TO_X, 0, left + 1, 0),
        ]
    ipv4 = [
        (_LOAD_WORD, 0, 0, _IPV4_SOURCE),
        (_TO_X, 0, 0, 0),
        (_AND, 0, 0, _LOOPBACK_MASK),
        (_IF_EQUAL, len(ipv6) + 2, 0, _LOOPBACK),
        (_LOAD_WORD, 0, 0, _IPV4_DESTINATION),
        (_IF_EQUAL_TO_X, len(ipv6), len(ipv6) + 1, 0),
    ]
    version = [(_LOAD_BYTE, 0, 0, _IP), (_SHIFT_RIGHT, 0, 0, 4), (_IF_EQUAL, 0, len(ipv4), 4)]
    return [*version, *ipv4, *ipv6, (_RETURN, 0, 0, _ACCEPT), (_RETURN, 0, 0, _DROP)]


_CODE = b"".join(struct.pack("=HBBI", *instruction) for instruction in _instructions())
_MEMORY = ctypes.create_string_buffer(_CODE, len(_CODE))
_PROGRAM = struct.pack("@HP", len(_CODE) // 8, ctypes.addressof(_MEMORY))


def close_to_other_hosts(listeners: Iterable[socket.socket]) -> None:
    """Refuse other hosts at listening TCP sockets, which may have duplicates in other processes.

    Parameters
    ----------
    listeners : iterable of socket.socket
        The sockets.
    """
    for listener in listeners:
        with contextlib.suppress(OSError):  # A system other than Linux.
            listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, _PROGRAM)
