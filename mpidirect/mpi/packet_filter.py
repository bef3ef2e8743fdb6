"""A packet filter that closes listening sockets to other hosts.

Open MPI and MPICH listen on all interfaces, and ask nobody for a key. A stranger who connects to such a port
and then is silent can block MPI's progress for seconds. Neither MPI can be told to listen on fewer addresses.
So each rank attaches a packet filter (classic BPF) to its listening sockets: the kernel drops packets whose
source is another host, or, in a job on several hosts, is not a host of the job.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import socket
import struct
from collections.abc import Collection, Iterable

_ATTACH_FILTER = 26  # Linux's SO_ATTACH_FILTER; the module socket does not name it

# Opcodes of classic BPF, and the offset at which it finds the IP header (linux/filter.h).
_LOAD_BYTE, _LOAD_WORD, _AND, _SHIFT_RIGHT, _TO_X = 0x30, 0x20, 0x54, 0x74, 0x07
_JUMP, _IF_EQUAL, _IF_EQUAL_TO_X, _RETURN = 0x05, 0x15, 0x1D, 0x06
_IP = -0x100000 & 0xFFFFFFFF
_ACCEPT, _DROP = (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)

_IPV4_SOURCE, _IPV4_DESTINATION = _IP + 12, _IP + 16
_IPV6_SOURCE, _IPV6_DESTINATION = _IP + 8, _IP + 24
_LOOPBACK, _LOOPBACK_MASK = 0x7F000000, 0xFF000000

_Instruction = tuple[int, int, int, int]  # Opcode, instructions to skip if true, if false, operand.


def _instructions(addresses: Iterable[str]) -> list[_Instruction]:
    """Return the filter: a packet passes if its source is one of the addresses, or is this host.

    The source is this host if it is the loopback, or equals the destination: a packet of this host to one of
    its own addresses has that address as its source. The kernel drops packets from the network with such a
    source before any filter sees them.
    """
    ipv4 = [
        (_LOAD_WORD, 0, 0, _IPV4_SOURCE),
        (_TO_X, 0, 0, 0),
        (_AND, 0, 0, _LOOPBACK_MASK),
        (_IF_EQUAL, 0, 1, _LOOPBACK),
        _ACCEPT,
        (_LOAD_WORD, 0, 0, _IPV4_DESTINATION),
        (_IF_EQUAL_TO_X, 0, 1, 0),
        _ACCEPT,
        (_LOAD_WORD, 0, 0, _IPV4_SOURCE),
    ]
    ipv6: list[_Instruction] = []
    for word in range(0, 16, 4):
        ipv6 += [
            (_LOAD_WORD, 0, 0, _IPV6_SOURCE + word),
            (_TO_X, 0, 0, 0),
            (_LOAD_WORD, 0, 0, _IPV6_DESTINATION + word),
            (_IF_EQUAL_TO_X, 0, 13 - word, 0),  # Of the words that follow, and the end.
        ]
    ipv6.append(_ACCEPT)
    for text in addresses:
        address = ipaddress.ip_address(text)
        address = getattr(address, "ipv4_mapped", None) or address
        words = struct.unpack(f"!{len(address.packed) // 4}I", address.packed)
        if address.version == 4:
            ipv4 += [(_IF_EQUAL, 0, 1, words[0]), _ACCEPT]
            continue
        for number, word in enumerate(words):
            left = 2 * (3 - number) + 1
            ipv6 += [(_LOAD_WORD, 0, 0, _IPV6_SOURCE + 4 * number), (_IF_EQUAL, 0, left, word)]
        ipv6.append(_ACCEPT)
    ipv4.append(_DROP)
    version = [(_LOAD_BYTE, 0, 0, _IP), (_SHIFT_RIGHT, 0, 0, 4), (_IF_EQUAL, 1, 0, 4)]
    return [*version, (_JUMP, 0, 0, len(ipv4)), *ipv4, *ipv6, _DROP]


def close_to_other_hosts(listeners: Iterable[socket.socket], addresses: Collection[str] = ()) -> None:
    """Refuse other hosts at listening TCP sockets, which may have duplicates in other processes.

    Parameters
    ----------
    listeners : iterable of socket.socket
        The sockets.
    addresses : collection of str
        IP addresses of other hosts that are not refused.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in _instructions(addresses))
    memory = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(memory))
    for listener in listeners:
        with contextlib.suppress(OSError):  # A system other than Linux.
            listener.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
