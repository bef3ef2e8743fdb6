"""The protocols of both transports: connections, and listeners that accept them.

A message is a list of frames. The first frame is small and describes the others. So a receiver asks for the
first frame, and then for the others in the way that the message requires.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..protocol.frames import Frame


class Empty(Exception):
    """No message waits."""


class Closed(Exception):
    """The connection has ended."""


class Unreachable(Exception):
    """No connection has this name."""


class Connection(Protocol):
    """The end that asked for the connection, for example an engine's main thread."""

    def poll(self, milliseconds: int, /) -> int:
        """Wait for a message or the end of the connection; return 0 if neither has come."""

    def first(self, *, wait: bool = False) -> bytes:
        """Return the first frame of the next message; raise `Empty` if there is none and `wait` is false."""

    def rest(self) -> list[Frame]:
        """Return the frames after the first."""

    def put(self, frames: Sequence[Frame], *, wait: bool = False) -> None:
        """Send one message; raise `Closed` if the connection has ended."""

    def close(self, linger: int = 0) -> None:
        """Send the waiting messages within `linger` milliseconds, and close the connection."""


class Listener(Protocol):
    """The end that accepts connections, and knows each by its name."""

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that become readable: first the one for messages, then the one for departures."""

    @property
    def waiting(self) -> bool:
        """Whether messages wait that make no descriptor readable."""

    @property
    def departures(self) -> bool:
        """Whether connections have ended, and all their messages were received."""

    def readable(self) -> bool:
        """Whether another message waits."""

    def first(self) -> bytes:
        """Return the next frame: the sender's name, then the first frame; raise `Empty` if there is none."""

    def rest(self, *, copied: bool = True) -> list[Frame]:
        """Return the frames after the first; large ones without a copy if `copied` is false."""

    def number(self) -> int:
        """Return the number of the connection of the message, and drop the rest of the message."""

    def send_to(self, name: bytes, frames: Sequence[Frame]) -> None:
        """Send one message to the connection with this name; raise `Unreachable` if there is none."""

    def departed(self) -> list[int]:
        """Return the numbers of the connections that have ended since the last call."""

    def close(self, linger: int = 0) -> None:
        """Send the waiting messages within `linger` milliseconds, and close all connections."""


def should_log(count: int) -> bool:
    """Whether to log event number `count`: the 1st, 2nd, 4th, 8th …, so that a flood fills no disk."""
    return count & (count - 1) == 0
