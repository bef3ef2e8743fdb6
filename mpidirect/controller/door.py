"""Where processes of this host connect."""

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

import zmq

from ..wire.local import SCHEME, Stream, pack

log = logging.getLogger(__name__)

_NAME = 255  # bytes of a name at most
_PAUSE = 0.001  # seconds, that the loop does not spin
_AT_ONCE = 16  # pieces of a large frame that are taken before others have their turn


class _Guest(Stream):
    """A connection that was accepted."""

    def __init__(self, connection: socket.socket, largest: int, number: int) -> None:
        super().__init__(connection, largest)
        self.number = number
        self.name = b""  # until it has said it
        self.watched = False  # whether it is told when more can be sent


class Door:
    """The end that accepts connections: all of them, each by its name, as ZeroMQ's ROUTER.

    Parameters
    ----------
    path : Path
        Of the socket, in a directory that only its owner can enter.
    largest : int
        Bytes of one message at most.
    """

    def __init__(self, path: Path, largest: int) -> None:
        self.address = f"{SCHEME}{path}"
        self._largest = largest
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(4096)
        self._listener.setblocking(False)
        self._spare = os.open(os.devnull, os.O_RDONLY)  # a descriptor for when there is none
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._guests: dict[int, _Guest] = {}  # by descriptor
        self._named: dict[bytes, _Guest] = {}
        self._ready: deque[tuple[_Guest, list[Any]]] = deque()
        self._current: list[Any] = []  # what has not been asked for of the message that is read
        self._speaker = 0
        self._frames: Sequence[Any] = ()  # the small message that was sent last
        self._packed: bytes | None = None
        self._departed: list[int] = []
        self._numbers = itertools.count(1)

    @property
    def pollables(self) -> list[Any]:
        """What becomes readable when there is something to do."""
        return [self._epoll.fileno()]

    @property
    def waiting(self) -> bool:
        """Whether messages have been taken in that nobody has asked for yet."""
        return bool(self._ready)

    def readable(self) -> bool:
        """Whether there is another message of those that were taken in."""
        return bool(self._ready)

    def first(self) -> bytes:
        """The next frame: who sent a message, then what it begins with; `zmq.Again` if there is none."""
        if self._current:
            return bytes(self._current.pop(0))
        if not self._ready:
            self._look()
            if not self._ready:
                raise zmq.Again
        guest, self._current = self._ready.popleft()
        self._speaker = guest.number
        return guest.name

    def rest(self) -> list[Any]:
        """The frames that follow."""
        frames, self._current = self._current, []
        return frames

    rest_uncopied = rest

    def descriptor(self) -> int:
        """Of which connection the message is: `departed` names them in the same way."""
        self.rest()
        return self._speaker

    def send_to(self, name: bytes, frames: Sequence[Any]) -> None:
        """Send one message to the connection with this name; `zmq.ZMQError` if there is none."""
        guest = self._named.get(name)
        if guest is None:
            raise zmq.ZMQError(zmq.EHOSTUNREACH)
        if frames is not self._frames:  # what many get is packed once
            self._packed = pack(frames)
            self._frames = frames if self._packed else ()
        if self._packed:
            guest.send_packed(self._packed)
        else:
            guest.send(frames)
        if guest.pending and not guest.watched:
            guest.watched = True
            self._epoll.modify(guest.connection, select.EPOLLIN | select.EPOLLOUT)

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
            guest = self._guests.get(descriptor)
            if guest is None:
                self._accept()
                continue
            if events & select.EPOLLOUT:
                guest.flush()
                if not guest.pending:
                    guest.watched = False
                    self._epoll.modify(descriptor, select.EPOLLIN)
            if events & ~select.EPOLLOUT:
                self._listen(guest)

    def _accept(self) -> None:
        try:
            while True:
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                guest = _Guest(connection, self._largest, next(self._numbers))
                self._guests[connection.fileno()] = guest
                self._epoll.register(connection, select.EPOLLIN)
        except BlockingIOError:
            pass
        except OSError as e:
            log.warning("a connection could not be accepted: %s", e)
            if e.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away()

    def _turn_away(self) -> None:
        """No descriptor is left: who waits is to try again, instead of keeping the loop awake."""
        if self._spare >= 0:
            os.close(self._spare)
            self._spare = -1
        with contextlib.suppress(OSError):
            self._listener.accept()[0].close()
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:  # another thread was faster
            time.sleep(_PAUSE)

    def _listen(self, guest: _Guest) -> None:
        try:
            for _ in range(_AT_ONCE):
                if not (guest.fill() and guest.amid):
                    break
        except ValueError as e:
            log.warning("closed the connection of %r, which sent %s", guest.name, e)
            guest.ended = True
        while guest.coming:
            frames = guest.coming.popleft()
            if guest.name:
                self._ready.append((guest, frames))
            elif len(frames) == 1 and 0 < len(frames[0]) <= _NAME:
                self._named_is(guest, bytes(frames[0]))
            else:
                log.warning("closed a connection that did not begin with a name")
                guest.ended = True
                break
        if guest.ended:
            self._drop(guest)

    def _named_is(self, guest: _Guest, name: bytes) -> None:
        before = self._named.get(name)
        if before is not None:  # it has come back before it was missed
            self._drop(before)
        guest.name = name
        self._named[name] = guest

    def _drop(self, guest: _Guest) -> None:
        descriptor = guest.connection.fileno()
        self._epoll.unregister(descriptor)
        del self._guests[descriptor]
        if self._named.get(guest.name) is guest:
            del self._named[guest.name]
        guest.close()
        self._departed.append(guest.number)

    def close(self, linger: int = 0) -> None:
        """Send what waits, within so many milliseconds, and close all."""
        if self._epoll.closed:
            return
        deadline = time.monotonic() + linger / 1000
        for guest in self._guests.values():
            if guest.pending and (left := deadline - time.monotonic()) > 0:
                guest.connection.settimeout(left)
                guest.flush()
            guest.close()
        self._listener.close()
        self._epoll.close()
        if self._spare >= 0:
            os.close(self._spare)
