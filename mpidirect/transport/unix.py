"""Unix sockets: a message takes a quarter of ZeroMQ's time.

ZeroMQ hands each message to a thread of its own and back, on both sides. Here the calling thread sends and
reads. There are no keys and no encryption: the socket is in a directory that only its owner can enter.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from ..protocol.frames import Frame
from ._stream import MessageStream, pack
from .base import Closed, Empty, Unreachable, should_log

log = logging.getLogger(__name__)

SCHEME = "unix://"

FLUSH_TIMEOUT = 0.01  # seconds that `flush` waits for a peer that still reads
_LONGEST_NAME = 255  # bytes
_PAUSE = 0.001  # seconds of back-off when no descriptor is left
_PIECES_PER_TURN = 16  # pieces of a large frame that are read before the other connections' turn
_ACCEPTS_PER_TURN = 64


class UnixConnection(MessageStream):
    """The end that asked for the connection.

    Parameters
    ----------
    address : str
        ``unix://`` and the path of the socket.
    name : bytes
        The name by which the listener knows this connection.
    largest : int
        The maximum bytes of one message.
    blocking : bool
        Whether reads and sends wait.
    """

    def __init__(self, address: str, name: bytes, largest: int, blocking: bool = True) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(address.removeprefix(SCHEME))
            connection.setblocking(blocking)
            super().__init__(connection, largest)
            self._current: list[Frame] = []
            self.send([name])
        except BaseException:
            connection.close()
            raise

    def readable(self) -> bool:
        """Whether a message waits."""
        try:
            while not self.coming and self.fill():
                pass
        except ValueError:
            self.ended = True
        return bool(self.coming)

    def first(self, *, wait: bool = False) -> bytes:
        """Return the first frame of the next message; raise `Empty` if there is none and `wait` is false.

        Raises
        ------
        Closed
            When the connection has ended.
        """
        if not self.coming and not self.readable():
            if self.ended:
                raise Closed
            raise Empty
        first, *self._current = self.coming.popleft()
        return bytes(first)

    def rest(self) -> list[Frame]:
        """Return the frames after the first."""
        frames, self._current = self._current, []
        return frames

    def put(self, frames: Sequence[Frame], *, wait: bool = False) -> None:
        """Send one message; raise `Closed` if the connection has ended and `wait` is false."""
        if self.ended and not wait:
            raise Closed
        self.send(frames)

    def flush(self) -> None:
        """Send waiting messages: within `FLUSH_TIMEOUT`, as much as the socket takes."""
        super().flush()
        if self.pending:
            poll = select.poll()
            poll.register(self.connection, select.POLLOUT)
            end = time.monotonic() + FLUSH_TIMEOUT
            while self.pending and time.monotonic() < end and poll.poll(1):
                super().flush()

    def poll(self, milliseconds: int) -> bool:
        """Wait for a message or the end of the connection; return whether one of them has come."""
        if self.coming:
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def close(self, linger: int = 0) -> None:
        """Send the waiting messages within `linger` milliseconds, and close the connection."""
        if self.pending and linger and not self.ended:
            self.drain(time.monotonic() + linger / 1000)
        super().close()


class _Accepted(MessageStream):
    """An accepted connection."""

    def __init__(self, connection: socket.socket, largest: int, number: int) -> None:
        super().__init__(connection, largest)
        self.number = number
        self.name = b""  # empty until the peer has sent its name
        self.watched = False  # whether epoll reports that more can be sent


class UnixListener:
    """The end that accepts connections, and knows each by its name, like ZeroMQ's ROUTER.

    Parameters
    ----------
    path : Path
        The path of the socket, in a directory that only its owner can enter.
    largest : int
        The maximum bytes of one message.
    """

    def __init__(self, path: Path, largest: int) -> None:
        self.address = f"{SCHEME}{path}"
        self._largest = largest
        self._accept_failures = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(4096)
        self._listener.setblocking(False)
        # closed to free a descriptor for accepting if no other is free
        self._spare = os.open(os.devnull, os.O_RDONLY)
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._accepted: dict[int, _Accepted] = {}  # by descriptor
        self._named: dict[bytes, _Accepted] = {}
        self._ready: deque[tuple[_Accepted, list[Frame]]] = deque()
        self._current: list[Frame] = []  # the remaining frames of the current message
        self._sender = 0  # the number of the current message's connection
        self._last_frames: Sequence[Frame] = ()  # the small message that was last sent
        self._last_packed: bytes | None = None
        self._departed: list[int] = []
        self._numbers = itertools.count(1)

    @property
    def descriptors(self) -> list[int]:
        """The one descriptor that becomes readable for messages and for departures."""
        return [self._epoll.fileno()]

    @property
    def waiting(self) -> bool:
        """Whether messages wait that make no descriptor readable."""
        return bool(self._ready)

    def readable(self) -> bool:
        """Whether another message waits."""
        return bool(self._ready)

    def first(self) -> bytes:
        """Return the next frame: the sender's name, then the first frame; raise `Empty` if there is none."""
        if self._current:
            return bytes(self._current.pop(0))
        if not self._ready:
            self._receive()
            if not self._ready:
                raise Empty
        each, self._current = self._ready.popleft()
        self._sender = each.number
        return each.name

    def rest(self, *, copied: bool = True) -> list[Frame]:
        """Return the frames after the first; none is copied again."""
        frames, self._current = self._current, []
        return frames

    def number(self) -> int:
        """Return the number of the connection of the message, and drop the rest of the message."""
        self.rest()
        return self._sender

    def send_to(self, name: bytes, frames: Sequence[Frame]) -> None:
        """Send one message to the connection with this name; raise `Unreachable` if there is none."""
        each = self._named.get(name)
        if each is None:
            raise Unreachable
        if frames is not self._last_frames:  # a message to many engines is packed once
            self._last_packed = pack(frames)
            self._last_frames = frames if self._last_packed else ()
        if self._last_packed:
            each.send_packed(self._last_packed)
        else:
            each.send(frames)
        if each.pending and not each.watched:
            each.watched = True
            self._epoll.modify(each.connection, select.EPOLLIN | select.EPOLLOUT)

    @property
    def departures(self) -> bool:
        """Whether connections have ended, and all their messages were received."""
        return bool(self._departed) and not self._ready

    def departed(self) -> list[int]:
        """Return the connections that have ended since the last call, after all their messages."""
        if self._ready:
            return []
        departed, self._departed = self._departed, []
        return departed

    def _receive(self) -> None:
        """Accept connections, read messages, and send waiting ones, as far as possible now."""
        for descriptor, events in self._epoll.poll(0):
            known = self._accepted.get(descriptor)
            if known is None:
                self._accept()
                continue
            try:
                self._handle_events(known, events)
            except Exception:  # one connection must not end the cluster
                log.exception("closed the connection of %r", known.name)
                if self._accepted.get(descriptor) is known:
                    self._drop(known)

    def _handle_events(self, each: _Accepted, events: int) -> None:
        if events & select.EPOLLOUT:
            each.flush()
            if not each.pending:
                each.watched = False
                self._epoll.modify(each.connection, select.EPOLLIN)
        if events & ~select.EPOLLOUT:
            self._read_or_drop(each)

    def _accept(self) -> None:
        try:
            for _ in range(_ACCEPTS_PER_TURN):
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                each = _Accepted(connection, self._largest, next(self._numbers))
                self._accepted[connection.fileno()] = each
                self._epoll.register(connection, select.EPOLLIN)
        except BlockingIOError:
            pass
        except OSError as e:
            self._accept_failures += 1
            if should_log(self._accept_failures):
                log.warning("a connection could not be accepted: %s (%d so far)", e, self._accept_failures)
            if e.errno in (errno.EMFILE, errno.ENFILE):
                self._refuse_connection()

    def _refuse_connection(self) -> None:
        """Refuse a connection if no descriptor is free: the peer tries again, and the loop can sleep."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.close()
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:  # another thread has taken the descriptor
            time.sleep(_PAUSE)

    def _read_or_drop(self, each: _Accepted) -> None:
        self._read(each)
        if each.ended:
            self._drop(each)

    def _read(self, each: _Accepted) -> None:
        try:
            for _ in range(_PIECES_PER_TURN):
                if not (each.fill() and each.amid):
                    break
        except ValueError as e:
            self._reject(each, f"which sent {e}")
        while each.coming:
            frames = each.coming.popleft()
            if each.name:
                self._ready.append((each, frames))
            elif len(frames) == 1 and 0 < len(frames[0]) <= _LONGEST_NAME:
                self._set_name(each, bytes(frames[0]))
            else:
                self._reject(each, "which did not begin with a name")
                break

    def _reject(self, each: _Accepted, reason: str) -> None:
        log.warning("closed the connection of %r, %s", each.name, reason)
        each.ended = True

    def _set_name(self, each: _Accepted, name: bytes) -> None:
        before = self._named.get(name)
        if before is not None:  # the peer has connected again before its end was noticed
            self._drop(before)
        each.name = name
        self._named[name] = each

    def _drop(self, each: _Accepted) -> None:
        descriptor = each.connection.fileno()
        self._epoll.unregister(descriptor)
        del self._accepted[descriptor]
        if self._named.get(each.name) is each:
            del self._named[each.name]
        each.close()
        self._departed.append(each.number)

    def close(self, linger: int = 0) -> None:
        """Send the waiting messages within `linger` milliseconds, and close all connections."""
        if self._epoll.closed:
            return
        self._epoll.close()
        deadline = time.monotonic() + linger / 1000
        for each in self._accepted.values():
            each.drain(deadline)
            each.close()
        self._listener.close()
        if self._spare >= 0:
            os.close(self._spare)
