"""ZeroMQ's sockets, for engines: between hosts, and their control connections; at the least cost."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import zmq
from zmq.backend import Socket as Bare

if TYPE_CHECKING:
    from typing_extensions import Self

COPIED = 64 * 1024  # bytes up to which a copy is cheaper than keeping track of one

_EVENT = struct.Struct("=Hi")
_EVENTS, _MORE = int(zmq.EVENTS), int(zmq.RCVMORE)
_POLLIN, _NOBLOCK, _SNDMORE = int(zmq.POLLIN), int(zmq.NOBLOCK), int(zmq.SNDMORE)


def told(monitor: zmq.Socket[Any]) -> tuple[int, int]:
    """What a socket's monitor tells next: an event, and the descriptor of its connection or an error."""
    event, _ = monitor.recv_multipart()
    return _EVENT.unpack(event)  # pyzmq's own way to read it imports asyncio


class Socket(zmq.Socket):
    """A ZeroMQ socket, with ways that go past enumerations and past an exception for each empty socket."""

    pending = False  # what is sent is out of our hands

    @classmethod
    def of(cls, context: zmq.Context[Any], kind: int) -> Self:
        """A new one."""
        return cast("Self", context.socket(kind, cls))

    def readable(self) -> bool:
        """Whether a message waits; the socket's descriptor tells of what comes after this was asked."""
        return bool(Bare.get(self, _EVENTS) & _POLLIN)  # type: ignore[operator]

    def first(self, *, wait: bool = False) -> bytes:
        """The first frame of the next message; `zmq.Again` if there is none and this is not to `wait`."""
        return Bare.recv(self, 0 if wait else _NOBLOCK)

    def rest(self) -> list[bytes]:
        """The frames that follow the first, copied: for small ones."""
        frames = []
        while Bare.get(self, _MORE):
            frames.append(Bare.recv(self))
        return frames

    def descriptor(self) -> int:
        """Of which connection the message is, whose first frame was taken: an empty frame that follows tells.

        A socket's monitor names connections in the same way.
        """
        if not Bare.get(self, _MORE):
            raise ValueError("the frame that tells the connection is missing")
        told = Bare.recv(self, 0, False)
        self.rest()
        return told.get(zmq.SRCFD)

    def put(self, frames: Sequence[Any], *, wait: bool = False) -> None:
        """Send one message; `zmq.Again` if it can't leave now and this is not to `wait`."""
        flags = 0 if wait else _NOBLOCK
        last = len(frames) - 1
        for k, frame in enumerate(frames):
            Bare.send(self, frame, flags | _SNDMORE if k < last else flags, len(frame) < COPIED)


class Router(Socket):
    """A bound ROUTER that notices which of its connections have ended."""

    ends: zmq.Socket[Any] | None = None  # its monitor, once it is watched
    departures = False  # the monitor tells
    _used = True  # whether it was, since it was asked for the last time whether something waits

    def watch(self, events: int) -> Self:
        """Have `ends` tell of these events."""
        self.ends = self.get_monitor_socket(events)
        self.ends.setsockopt(zmq.LINGER, 0)
        return self

    @property
    def pollables(self) -> list[int]:
        """Descriptors that become readable when there is something to do."""
        assert self.ends is not None
        return [self.fileno(), self.ends.fileno()]

    @property
    def waiting(self) -> bool:
        """Whether messages wait of which the descriptor does not tell, as it was used since they came."""
        if self._used:
            self._used = self.readable()
        return self._used

    def first(self, *, wait: bool = False) -> bytes:
        """The first frame of the next message; `zmq.Again` if there is none and this is not to `wait`."""
        self._used = True
        return super().first(wait=wait)

    def send_to(self, name: bytes, frames: Sequence[Any]) -> None:
        """Send one message to the connection with this name; `zmq.ZMQError` if there is none."""
        self._used = True
        self.put([name, *frames])

    def departed(self) -> list[int]:
        """The connections that have ended since the last call, named as by `descriptor`."""
        gone = []
        while self.ends is not None and self.ends.poll(0):
            gone.append(told(self.ends)[1])
        return gone

    def close(self, linger: int | None = None) -> None:
        """Close it, and its monitor."""
        if self.ends is not None:
            self.disable_monitor()
            self.ends.close(0)
            self.ends = None
        super().close(linger)
