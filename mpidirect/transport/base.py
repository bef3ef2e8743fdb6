"""What both transports offer: connections, and listeners that accept them.

A message is a list of frames.  The first one is small and says what the others are, so a receiver asks for it
first, and then for the rest as the message needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Empty(Exception):
    """No message waits."""


class Closed(Exception):
    """The connection has ended."""


class Unreachable(Exception):
    """No connection has this name."""


class Connection(Protocol):
    """The end that asked for the connection: that of an engine's main thread, say."""

    def poll(self, milliseconds: int, /) -> int:
        """Wait for a message or the end; not 0 if one of them is there."""

    def first(self, *, wait: bool = False) -> bytes:
        """The first frame of the next message; `Empty` if there is none and this is not to `wait`."""

    def rest(self) -> list[Any]:
        """The frames that follow the first."""

    def put(self, frames: Sequence[Any], *, wait: bool = False) -> None:
        """Send one message; `Closed` when the connection has ended."""

    def close(self, linger: int = 0) -> None:
        """Send what waits, within so many milliseconds, and close the connection."""


class Listener(Protocol):
    """The end that accepts connections: all of them, each by its name."""

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when there is something to do: of the messages, then of the departures."""

    @property
    def waiting(self) -> bool:
        """Whether there is something to do that no descriptor tells."""

    @property
    def departures(self) -> bool:
        """Whether connections have ended, and all that they sent was asked for."""

    def readable(self) -> bool:
        """Whether another message waits after one was taken."""

    def first(self) -> bytes:
        """The next frame: the name of the sender, then the first frame of the message; else `Empty`."""

    def rest(self, *, copied: bool = True) -> list[Any]:
        """The frames that follow; without a copy where they are large."""

    def number(self) -> int:
        """The number of the connection that the message came by; drops the rest of the message."""

    def send_to(self, name: bytes, frames: Sequence[Any]) -> None:
        """Send one message to the connection with this name; else `Unreachable`."""

    def departed(self) -> list[int]:
        """The numbers of the connections that have ended since the last call."""

    def close(self, linger: int = 0) -> None:
        """Send what waits, within so many milliseconds, and close all connections."""


def is_worth_a_line(count: int) -> bool:
    """Whether to log an event: of many the 1st, 2nd, 4th, 8th …, so that no flood fills a disk."""
    return count & (count - 1) == 0
