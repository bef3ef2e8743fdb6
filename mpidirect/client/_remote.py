"""Connections to a controller on another host: encrypted, and both sides know each other."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time
from urllib.parse import urlsplit

from .. import errors
from ..wire.connection_file import ConnectionInfo
from ..wire.connections import NOSIGNAL
from ..wire.sealed import GREETING, HELLO, REFUSED, Sealed, raw, tuned

LOOK = 200  # milliseconds between looks whether the client was closed meanwhile


class Refused(Exception):
    """The other side does not know our key."""


class Stranger(Exception):
    """The other side is not the controller that is looked for."""


class Patience:
    """How long to wait.

    Parameters
    ----------
    seconds : float
        So long.
    closing : threading.Event
        Set when there is nothing to wait for any more.
    """

    def __init__(self, seconds: float, closing: threading.Event) -> None:
        self._deadline = time.monotonic() + seconds
        self._closing = closing

    def until(self, connection: socket.socket, writable: bool = False) -> None:
        """Wait until it is readable, or writable, or for a moment; TimeoutError when it is enough."""
        left = self._deadline - time.monotonic()
        if left <= 0 or self._closing.is_set():
            raise TimeoutError
        poll = select.poll()
        poll.register(connection, select.POLLIN | (select.POLLOUT if writable else 0))
        poll.poll(min(LOOK, int(left * 1000) + 1))


def connected(address: str, info: ConnectionInfo, patience: Patience) -> Sealed:
    """A connection to the controller at ``tcp://host:port`` that has the keys of `info`.

    Raises
    ------
    AuthenticationFailed
        When there are no keys.
    Refused, Stranger
        When the keys don't fit.
    TimeoutError, OSError
        When nobody answers.
    """
    try:
        keys = raw(info.client_secret), raw(info.server_key)
        if [len(key) for key in keys] != [32, 32]:
            raise ValueError
    except (LookupError, TypeError, ValueError, struct.error):
        raise errors.AuthenticationFailed("The connection file holds no usable keys.") from None
    try:
        from ..wire.handshake import Initiator  # cryptography is for connections to other hosts alone

        initiator = Initiator(*keys, GREETING)
    except Exception as e:  # it is missing, or not allowed to do this here
        raise Stranger(
            f"the package cryptography can't be used here ({e!r}): pip install cryptography"
        ) from None
    connection = _reached(address, patience)
    try:
        _say(connection, initiator.message, patience)
        if _hear(connection, len(GREETING), patience) != GREETING:
            raise Stranger("what listens there is no controller of this version of mpidirect")
        reply = _hear(connection, HELLO, patience)
        if reply == REFUSED:
            raise Refused
        try:
            return Sealed(connection, initiator.finish(reply))
        except ValueError:
            raise Stranger(
                "what listens there does not know these keys, which may be of an earlier cluster"
            ) from None
    except BaseException:
        connection.close()
        raise


def _reached(address: str, patience: Patience) -> socket.socket:
    try:
        parts = urlsplit(address)
        found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except (OSError, ValueError) as e:
        raise Stranger(f"it is no address from here: {e}") from None
    family, kind, protocol, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)
    connection = tuned(socket.socket(family, kind, protocol))
    try:
        error = connection.connect_ex(place)
        if error not in (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR):
            raise OSError(error, os.strerror(error))
        while True:
            patience.until(connection, writable=True)
            if error := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(error, os.strerror(error))
            try:
                connection.getpeername()
                return connection
            except OSError:  # not yet
                continue
    except BaseException:
        connection.close()
        raise


def _say(connection: socket.socket, data: bytes, patience: Patience) -> None:
    while data:
        try:
            data = data[connection.send(data, NOSIGNAL) :]
        except BlockingIOError:
            patience.until(connection, writable=True)


def _hear(connection: socket.socket, size: int, patience: Patience) -> bytes:
    """So many bytes, or what comes until the end; EOFError if that is nothing."""
    heard = b""
    while len(heard) < size:
        try:
            came = connection.recv(size - len(heard))
        except BlockingIOError:
            patience.until(connection)
            continue
        except ConnectionError:  # what was said before counts
            came = b""
        if not came:
            break
        heard += came
    if not heard:
        raise EOFError
    return heard
