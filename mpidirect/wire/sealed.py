"""TCP connections that nobody else can read or write on: AES-256-GCM under keys of their own.

Both sides say who they are by the handshake of `handshake`.  The one that accepts greets first, so that the
other side knows what it talks to.  Then everything travels in records: the size, and what was sealed.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq.utils.z85

if TYPE_CHECKING:
    from .handshake import Ciphers

GREETING = b"mpidirect/1\n"  # the prologue of the handshake, too
HELLO = 48  # bytes of each of the two messages of the handshake
REFUSED = b"unknown key\n"  # instead of the second

RECORD = 512 * 1024  # bytes that are sealed at once: they fit the caches; measured
_TAG = 16  # bytes that sealing adds
_HEAD = struct.Struct("<I")

PROBES = 3  # unanswered, after which the other side is given up
SILENCE = 20  # seconds after which it is


def raw(key: bytes | str) -> bytes:
    """A key (Z85, as CURVE has them) as bytes: it is one of X25519."""
    return zmq.utils.z85.decode(key)


def tuned(connection: socket.socket) -> socket.socket:
    """A connection that sends at once, does not block, and ends when the other side's host is silent."""
    connection.setblocking(False)
    pause = SILENCE // (PROBES + 1)
    idle = getattr(socket, "TCP_KEEPIDLE", getattr(socket, "TCP_KEEPALIVE", None))  # the latter on macOS
    options = {
        socket.TCP_NODELAY: 1,
        idle: pause,
        getattr(socket, "TCP_KEEPINTVL", None): pause,
        getattr(socket, "TCP_KEEPCNT", None): PROBES,
        getattr(socket, "TCP_USER_TIMEOUT", None): SILENCE * 1000,  # while something is to be sent
    }
    with contextlib.suppress(OSError):  # it has ended already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in options.items():
            if option is not None:
                connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return connection


class Sealed(socket.socket):
    """A connection after its handshake: used as a socket that does not block, with whole records.

    Parameters
    ----------
    connection : socket.socket
        Is taken over.
    ciphers : Ciphers
        The keys.
    """

    def __init__(self, connection: socket.socket, ciphers: Ciphers) -> None:
        super().__init__(fileno=connection.detach())
        self.setblocking(False)
        self._sending, self._receiving = ciphers
        self._record: list[memoryview] = []  # what is left to send of it
        self._consumed = 0  # bytes of the plain text in it
        self._head = memoryview(bytearray(_HEAD.size))
        self._body = memoryview(b"")
        self._size = 0  # of the record that is coming, once it is known
        self._have = 0
        self.received = 0  # bytes, in all

    def send(self, data: Any, flags: int = 0, /) -> int:
        """As `sendmsg`."""
        return self.sendmsg([data], (), flags)

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /) -> int:
        """Send a part of what is given, and tell how much.

        After a `BlockingIOError` give the same again, and more if there is more: a part of it has gone.
        """
        if not self._record:
            plain = _beginning(buffers)
            sealed = self._sending.seal(plain)
            self._consumed = len(plain)
            head = _HEAD.pack(len(sealed))
            if len(sealed) < _JOINED:
                self._record = [memoryview(head + sealed)]
            else:
                self._record = [memoryview(head), memoryview(sealed)]
        record = self._record
        while record:
            sent = super().sendmsg(record, (), flags)
            while record and sent >= len(record[0]):
                sent -= len(record.pop(0))
            if sent:
                record[0] = record[0][sent:]
        return self._consumed

    def recv(self, size: int = 0, flags: int = 0, /) -> bytes:
        """What is in the next record, however much it is; nothing at the end."""
        return self._next()

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """The same, to a place that has room for it."""
        plain = self._next()
        if len(plain) > len(buffer):
            raise ValueError("more than it has announced")
        buffer[: len(plain)] = plain
        return len(plain)

    def _next(self) -> bytes:
        if not self._size:
            if not self._fill(self._head, _HEAD.size):
                return b""
            (size,) = _HEAD.unpack(self._head)
            if not _TAG < size <= RECORD + _TAG:
                raise ValueError(f"a record of {size} bytes")
            self._size, self._have = size, 0
            if len(self._body) < size:
                self._body = memoryview(bytearray(size))
        if not self._fill(self._body, self._size):
            return b""
        record = self._body[: self._size]
        self._size = self._have = 0
        return self._receiving.open(record)

    def _fill(self, room: memoryview, size: int) -> bool:
        """Receive until `size` bytes are there; False at the end."""
        while self._have < size:
            came = super().recv_into(room[self._have : size])
            if not came:
                return False
            self._have += came
            self.received += came
        return True


_JOINED = 64 * 1024  # bytes up to which copying is cheaper than sending two pieces


def _beginning(buffers: Sequence[Any]) -> Any:
    """What goes into the next record: small pieces together, but the end of a large one is the end of one.

    Large ones are received straight to where they belong, and nothing may follow them there.
    """
    first = buffers[0]
    if isinstance(first, memoryview) or len(first) >= RECORD or len(buffers) == 1:
        return memoryview(first)[:RECORD]
    small, size = [], 0
    for piece in buffers:
        size += len(piece)
        if size > RECORD or isinstance(piece, memoryview):
            break
        small.append(piece)
    return b"".join(small)
