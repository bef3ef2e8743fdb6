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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from ..wire.connections import SCHEME, Stream, pack
from ..wire.sealed import GREETING, HELLO, REFUSED, tuned

if TYPE_CHECKING:
    from ..wire.handshake import Ciphers

    Answer = Callable[[bytes], tuple[bytes, Ciphers]]

log = logging.getLogger(__name__)

_NAME = 255  # bytes of a name at most
_PAUSE = 0.001  # seconds, that the loop does not spin
_AT_ONCE = 16  # pieces of a large frame that are taken before others have their turn
_HANDSHAKE = 10.0  # seconds that one may take


class _Guest(Stream):
    """A connection that was accepted."""

    def __init__(self, connection: socket.socket, largest: int, number: int) -> None:
        super().__init__(connection, largest)
        self.number = number
        self.name = b""  # until it has said it
        self.watched = False  # whether it is told when more can be sent
        self.known = True  # whether the handshake is over, where there is one
        self.said = b""  # in it
        self.until = 0.0  # when it must have ended

    def where(self) -> str:
        """Where it comes from."""
        try:
            return str(self.connection.getpeername()[0])
        except (OSError, IndexError):
            return "?"


class Door:
    """The end that accepts connections: all of them, each by its name, as ZeroMQ's ROUTER.

    Parameters
    ----------
    listener : socket.socket
        Bound.
    largest : int
        Bytes of one message at most.
    answer : callable, optional
        Where strangers can connect: gets the first message of a handshake, returns what to say and the keys;
        ValueError for a stranger.
    """

    def __init__(self, listener: socket.socket, largest: int, answer: Answer | None = None) -> None:
        self._largest = largest
        self._answer = answer
        self._strangers: dict[_Guest, None] = {}  # the oldest first
        self._refused = 0
        self._listener = listener
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
        return bool(self._ready) or (bool(self._strangers) and bool(self._late()))

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

    def _late(self) -> list[_Guest]:
        """Who has not said in time who it is."""
        now = time.monotonic()
        return list(itertools.takewhile(lambda guest: guest.until < now, self._strangers))

    def _look(self) -> None:
        for late in self._late():
            self._drop(late)
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
                if self._answer is not None:
                    self._greet(guest)
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
            connection, _ = self._listener.accept()
            if self._answer is not None:
                connection.send(GREETING)  # or it would look as if nobody were here
            connection.close()
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:  # another thread was faster
            time.sleep(_PAUSE)

    def _greet(self, guest: _Guest) -> None:
        tuned(guest.connection)
        guest.known = False
        guest.until = time.monotonic() + _HANDSHAKE
        self._strangers[guest] = None
        with contextlib.suppress(OSError):  # it is gone, and will be missed
            guest.connection.send(GREETING)

    def _shake(self, guest: _Guest, answer: Answer) -> None:
        """Go on with finding out who it is."""
        missing = HELLO - len(guest.said)
        try:
            came = guest.connection.recv(missing)
            guest.said += came
            if len(came) == missing:
                reply, ciphers = answer(guest.said)
                guest.connection.send(reply)
                guest.seal(ciphers)
                guest.known = True
            elif not came:
                guest.ended = True
        except BlockingIOError:
            pass
        except OSError:
            guest.ended = True
        except ValueError:
            self._refuse(guest)

    def _refuse(self, guest: _Guest) -> None:
        guest.ended = True
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:  # the 1st, 2nd, 4th, 8th, …: a flood fills no disk
            log.warning("refused a key from %s (%d so far)", guest.where(), self._refused)
        with contextlib.suppress(OSError):
            guest.connection.send(REFUSED)

    def _listen(self, guest: _Guest) -> None:
        if self._answer is not None and not guest.known:
            self._shake(guest, self._answer)
            if guest.ended:
                self._drop(guest)
            return
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
        self._strangers.pop(guest, None)

    def _drop(self, guest: _Guest) -> None:
        descriptor = guest.connection.fileno()
        self._epoll.unregister(descriptor)
        del self._guests[descriptor]
        if self._named.get(guest.name) is guest:
            del self._named[guest.name]
        self._strangers.pop(guest, None)
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
