"""Unix sockets: a message takes a quarter of the time that it takes by ZeroMQ.

ZeroMQ hands each message to a thread of its own and back, on both sides.  Here the caller sends and reads.
There is no key and no cipher: the socket is in a directory that only its owner can enter.
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
from typing import Any

from ._stream import MessageStream, pack
from .base import Closed, Empty, Unreachable, is_worth_a_line

log = logging.getLogger(__name__)

SCHEME = "unix://"

MOMENT = 0.01  # seconds that a message may take to leave before its sender goes on
_NAME = 255  # bytes of a name at most
_PAUSE = 0.001  # seconds to back off when no descriptor is left
_AT_ONCE = 16  # pieces of a large frame that are taken before others have their turn
_ACCEPTED = 64  # connections that are accepted in one turn


class UnixConnection(MessageStream):
    """The end that asked for the connection.

    Parameters
    ----------
    address : str
        ``unix://`` and the path of the socket.
    name : bytes
        What the other side shall call this one.
    largest : int
        Bytes of one message at most.
    blocking : bool
        Whether reading waits, and sending until all is out.
    """

    def __init__(self, address: str, name: bytes, largest: int, blocking: bool = True) -> None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(address.removeprefix(SCHEME))
            connection.setblocking(blocking)
            super().__init__(connection, largest)
            self._current: list[Any] = []
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
        """The first frame of the next message; `Empty` if there is none and this is not to `wait`.

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

    def rest(self) -> list[Any]:
        """The frames that follow the first."""
        frames, self._current = self._current, []
        return frames

    def put(self, frames: Sequence[Any], *, wait: bool = False) -> None:
        """Send one message; `Closed` if the connection has ended and this is not to `wait`."""
        if self.ended and not wait:
            raise Closed
        self.send(frames)

    def flush(self) -> None:
        """Send what waits, as far as it goes now, or in a moment while the other side takes much."""
        super().flush()
        if self.pending:
            poll = select.poll()
            poll.register(self.connection, select.POLLOUT)
            end = time.monotonic() + MOMENT
            while self.pending and time.monotonic() < end and poll.poll(1):
                super().flush()

    def poll(self, milliseconds: int) -> bool:
        """Wait for a message or the end; whether one of them is there."""
        if self.coming:
            return True
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        return bool(poll.poll(milliseconds))

    def close(self, linger: int = 0) -> None:
        """Send what waits, within so many milliseconds, and close the connection."""
        if self.pending and linger and not self.ended:
            self.drain(time.monotonic() + linger / 1000)
        super().close()


class _Accepted(MessageStream):
    """A connection that was accepted."""

    def __init__(self, connection: socket.socket, largest: int, number: int) -> None:
        super().__init__(connection, largest)
        self.number = number
        self.name = b""  # until it has said it
        self.watched = False  # whether it is told when more can be sent


class UnixListener:
    """The end that accepts connections: all of them, each by its name, as ZeroMQ's ROUTER.

    Parameters
    ----------
    path : Path
        Where the socket is to be: in a directory that only its owner can enter.
    largest : int
        Bytes of one message at most.
    """

    def __init__(self, path: Path, largest: int) -> None:
        self.address = f"{SCHEME}{path}"
        self._largest = largest
        self._troubles = 0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(4096)
        self._listener.setblocking(False)
        self._spare = os.open(os.devnull, os.O_RDONLY)  # a descriptor for when there is none
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._accepted: dict[int, _Accepted] = {}  # by descriptor
        self._named: dict[bytes, _Accepted] = {}
        self._ready: deque[tuple[_Accepted, list[Any]]] = deque()
        self._current: list[Any] = []  # what has not been asked for of the message that is read
        self._speaker = 0
        self._frames: Sequence[Any] = ()  # the small message that was sent last
        self._packed: bytes | None = None
        self._departed: list[int] = []
        self._numbers = itertools.count(1)

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when there is something to do: here one tells all of it."""
        return [self._epoll.fileno()]

    @property
    def waiting(self) -> bool:
        """Whether there is something to do that no descriptor tells."""
        return bool(self._ready)

    def readable(self) -> bool:
        """Whether there is another message of those that were taken in."""
        return bool(self._ready)

    def first(self) -> bytes:
        """The next frame: who sent a message, then what it begins with; else `Empty`."""
        if self._current:
            return bytes(self._current.pop(0))
        if not self._ready:
            self._look()
            if not self._ready:
                raise Empty
        each, self._current = self._ready.popleft()
        self._speaker = each.number
        return each.name

    def rest(self, *, copied: bool = True) -> list[Any]:
        """The frames that follow; none of them is copied again."""
        frames, self._current = self._current, []
        return frames

    def number(self) -> int:
        """The number of the connection that the message came by; drops the rest of the message."""
        self.rest()
        return self._speaker

    def send_to(self, name: bytes, frames: Sequence[Any]) -> None:
        """Send one message to the connection with this name; else `Unreachable`."""
        each = self._named.get(name)
        if each is None:
            raise Unreachable
        if frames is not self._frames:  # what many get is packed once
            self._packed = pack(frames)
            self._frames = frames if self._packed else ()
        if self._packed:
            each.send_packed(self._packed)
        else:
            each.send(frames)
        if each.pending and not each.watched:
            each.watched = True
            self._epoll.modify(each.connection, select.EPOLLIN | select.EPOLLOUT)

    @property
    def departures(self) -> bool:
        """Whether connections have ended, and all that they sent was asked for."""
        return bool(self._departed) and not self._ready

    def departed(self) -> list[int]:
        """The connections that have ended since the last call, once all that they sent was asked for."""
        if self._ready:
            return []
        departed, self._departed = self._departed, []
        return departed

    def _look(self) -> None:
        for descriptor, events in self._epoll.poll(0):
            known = self._accepted.get(descriptor)
            if known is None:
                self._accept()
                continue
            try:
                self._attend(known, events)
            except Exception:  # one connection must not end the cluster
                log.exception("closed the connection of %r", known.name)
                if self._accepted.get(descriptor) is known:
                    self._drop(known)

    def _attend(self, each: _Accepted, events: int) -> None:
        if events & select.EPOLLOUT:
            each.flush()
            if not each.pending:
                each.watched = False
                self._epoll.modify(each.connection, select.EPOLLIN)
        if events & ~select.EPOLLOUT:
            self._listen(each)

    def _accept(self) -> None:
        try:
            for _ in range(_ACCEPTED):
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                each = _Accepted(connection, self._largest, next(self._numbers))
                self._accepted[connection.fileno()] = each
                self._epoll.register(connection, select.EPOLLIN)
        except BlockingIOError:
            pass
        except OSError as e:
            self._troubles += 1
            if is_worth_a_line(self._troubles):
                log.warning("a connection could not be accepted: %s (%d so far)", e, self._troubles)
            if e.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away()

    def _turn_away(self) -> None:
        """No descriptor is left: who waits is to try again, instead of keeping the loop awake."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.close()
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:  # another thread was faster
            time.sleep(_PAUSE)

    def _listen(self, each: _Accepted) -> None:
        self._read(each)
        if each.ended:
            self._drop(each)

    def _read(self, each: _Accepted) -> None:
        try:
            for _ in range(_AT_ONCE):
                if not (each.fill() and each.amid):
                    break
        except ValueError as e:
            self._close(each, f"which sent {e}")
        while each.coming:
            frames = each.coming.popleft()
            if each.name:
                self._ready.append((each, frames))
            elif len(frames) == 1 and 0 < len(frames[0]) <= _NAME:
                self._named_is(each, bytes(frames[0]))
            else:
                self._close(each, "which did not begin with a name")
                break

    def _close(self, each: _Accepted, why: str) -> None:
        log.warning("closed the connection of %r, %s", each.name, why)
        each.ended = True

    def _named_is(self, each: _Accepted, name: bytes) -> None:
        before = self._named.get(name)
        if before is not None:  # it has come back before it was missed
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
        """Send what waits, within so many milliseconds, and close all."""
        if self._epoll.closed:
            return
        deadline = time.monotonic() + linger / 1000
        for each in self._accepted.values():
            each.drain(deadline)
            each.close()
        self._listener.close()
        self._epoll.close()
        if self._spare >= 0:
            os.close(self._spare)
