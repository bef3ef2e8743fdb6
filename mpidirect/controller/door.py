"""Where clients connect, and on one host engines."""

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

from ..wire.connections import SCHEME, pack
from ..wire.sockets import is_worth_a_line
from .reception import Guest, Reception

log = logging.getLogger(__name__)

_NAME = 255  # bytes of a name at most
_PAUSE = 0.001  # seconds, that the loop does not spin
_AT_ONCE = 16  # pieces of a large frame that are taken before others have their turn
_BYTES = 1024 * 1024  # the same
_ACCEPTED = 64  # connections that are


class Door:
    """The end that accepts connections: all of them, each by its name, as ZeroMQ's ROUTER.

    Parameters
    ----------
    listener : socket.socket
        Bound.
    largest : int
        Bytes of one message at most.
    reception : Reception, optional
        Where strangers can connect.
    """

    def __init__(self, listener: socket.socket, largest: int, reception: Reception | None = None) -> None:
        self._largest = largest
        self._reception = reception
        self._troubles = 0
        self._listener = listener
        self._listener.listen(4096)
        self._listener.setblocking(False)
        self._spare = os.open(os.devnull, os.O_RDONLY)  # a descriptor for when there is none
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._guests: dict[int, Guest] = {}  # by descriptor
        self._named: dict[bytes, Guest] = {}
        self._ready: deque[tuple[Guest, list[Any]]] = deque()
        self._current: list[Any] = []  # what has not been asked for of the message that is read
        self._speaker = 0
        self._frames: Sequence[Any] = ()  # the small message that was sent last
        self._packed: bytes | None = None
        self._departed: list[int] = []
        self._numbers = itertools.count(1)

    @classmethod
    def local(cls, path: Path, largest: int) -> Door:
        """For processes of this host: in a directory that only its owner can enter."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        return cls(listener, largest)

    @property
    def address(self) -> str:
        """Where the door is."""
        name = self._listener.getsockname()
        return f"{SCHEME}{name}" if isinstance(name, str) else f"tcp://{name[0]}:{name[1]}"

    @property
    def pollables(self) -> list[Any]:
        """What becomes readable when there is something to do."""
        return [self._epoll.fileno()]

    @property
    def waiting(self) -> bool:
        """Whether there is something to do of which no descriptor tells."""
        return bool(self._ready) or bool(self._overdue())

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

    def _overdue(self) -> list[Guest]:
        reception = self._reception
        return [] if reception is None else reception.overdue(self._guests.values())

    def _look(self) -> None:
        for guest in self._overdue():
            self._drop(guest)
        for descriptor, events in self._epoll.poll(0):
            known = self._guests.get(descriptor)
            if known is None:
                self._accept()
                continue
            try:
                self._attend(known, events)
            except Exception:  # one guest must not end the cluster
                log.exception("closed the connection of %r", known.name)
                if self._guests.get(descriptor) is known:
                    self._drop(known)

    def _attend(self, guest: Guest, events: int) -> None:
        if events & select.EPOLLOUT:
            guest.flush()
            if not guest.pending:
                guest.watched = False
                self._epoll.modify(guest.connection, select.EPOLLIN)
        if events & ~select.EPOLLOUT:
            self._listen(guest)

    def _accept(self) -> None:
        try:
            for _ in range(_ACCEPTED):
                connection, _ = self._listener.accept()
                connection.setblocking(False)
                guest = Guest(connection, self._largest, next(self._numbers))
                self._guests[connection.fileno()] = guest
                self._epoll.register(connection, select.EPOLLIN)
                oldest = None if self._reception is None else self._reception.greet(guest)
                if oldest is not None:
                    self._drop(oldest)
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
            with connection:
                if self._reception is not None:
                    self._reception.turn_away(connection)
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:  # another thread was faster
            time.sleep(_PAUSE)

    def _listen(self, guest: Guest) -> None:
        if guest.known or self._reception is None:
            self._read(guest)
        else:
            self._reception.shake(guest)
        if guest.ended:
            self._drop(guest)

    def _read(self, guest: Guest) -> None:
        enough = guest.received + _BYTES
        try:
            for _ in range(_AT_ONCE):
                if not (guest.fill() and guest.amid and guest.received < enough):
                    break
        except ValueError as e:
            self._close(guest, f"which sent {e}")
        while guest.coming:
            frames = guest.coming.popleft()
            if guest.name:
                self._ready.append((guest, frames))
            elif len(frames) == 1 and 0 < len(frames[0]) <= _NAME:
                self._named_is(guest, bytes(frames[0]))
            else:
                self._close(guest, "which did not begin with a name")
                break

    def _close(self, guest: Guest, why: str) -> None:
        if guest.name or self._reception is None:
            log.warning("closed the connection of %r, %s", guest.name, why)
            guest.ended = True
        else:
            self._reception.refuse(guest, why)

    def _named_is(self, guest: Guest, name: bytes) -> None:
        before = self._named.get(name)
        if before is not None:  # it has come back before it was missed
            self._drop(before)
        guest.name = name
        self._named[name] = guest
        if self._reception is not None:
            self._reception.left(guest)

    def _drop(self, guest: Guest) -> None:
        descriptor = guest.connection.fileno()
        self._epoll.unregister(descriptor)
        del self._guests[descriptor]
        if self._named.get(guest.name) is guest:
            del self._named[guest.name]
        if self._reception is not None:
            self._reception.left(guest)
        guest.close()
        self._departed.append(guest.number)

    def close(self, linger: int = 0) -> None:
        """Send what waits, within so many milliseconds, and close all."""
        if self._epoll.closed:
            return
        deadline = time.monotonic() + linger / 1000
        for guest in self._guests.values():
            guest.drain(deadline)
            guest.close()
        self._listener.close()
        self._epoll.close()
        if self._spare >= 0:
            os.close(self._spare)
