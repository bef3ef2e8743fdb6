"""The client's end of one connection to a controller."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import zmq

from .. import errors
from ..wire.connection_file import ConnectionInfo
from ..wire.frames import Watched, told
from ..wire.sockets import KeyPair, authenticate, tune

NEVER = 24 * 3600 * 1000  # milliseconds: a link that is broken is replaced long before

_BROKEN = (
    zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


class Peer(Protocol):
    """One end of a connection to a controller: `Dealer`, or `Dialed` on its own host."""

    @property
    def pending(self) -> bool:
        """Whether something waits to be sent."""

    @property
    def descriptors(self) -> list[int]:
        """Readable when something has come or the connection has ended."""

    @property
    def silent(self) -> bool:
        """Whether a message may wait of which the descriptors do not tell."""

    def readable(self) -> bool:
        """Whether a message waits."""

    def more(self) -> bool:
        """Whether another one waits after one was read; the descriptors tell of what this overlooks."""

    def swallowed(self) -> bool:
        """Whether a message waits of which the descriptors tell no more, after one was sent."""

    def first(self) -> bytes:
        """Its first frame."""

    def rest(self) -> list[Any]:
        """The frames that follow, copied: for small ones."""

    def rest_uncopied(self) -> list[Any]:
        """The frames that follow, for large ones."""

    def put(self, frames: Sequence[Any]) -> None:
        """Send a message; `zmq.Again` if the connection has ended."""

    def flush(self) -> None:
        """Send what waits, as far as it goes now."""

    def broken(self) -> bool:
        """Whether the connection has ended."""

    def close(self, linger: int = 0) -> None:
        """Close it, after so many milliseconds at most to send what waits."""


class Dealer(Watched):
    """A socket with one connection, by TCP: it is encrypted, and both sides know each other."""

    silent = True  # they tell of what comes after `readable` was asked
    descriptors: list[int] = []

    @classmethod
    def dialed(cls, context: zmq.Context, address: str, name: bytes, info: ConnectionInfo) -> Dealer:
        """Connect."""
        self = tune(cls.of(context, zmq.DEALER))
        self.setsockopt(zmq.ROUTING_ID, name)
        # Not by itself: a connection that ZeroMQ makes again would go on in the middle of the numbers.  But
        # not -1 either: a broken pipe would then be closed between two frames of a message that is being
        # read, and libzmq aborts the process (`!_more` in fq.cpp).
        self.setsockopt(zmq.RECONNECT_IVL, NEVER)
        ends = self.watch(_BROKEN).ends
        assert ends is not None
        self.descriptors = [self.fileno(), ends.fileno()]  # for threads that may not touch the sockets
        try:
            keys = KeyPair(info.client_key.encode(), info.client_secret.encode())
            try:
                authenticate(self, info.server_key.encode(), keys)
            except zmq.ZMQError:
                raise errors.AuthenticationFailed("The connection file holds no usable keys.") from None
            self.connect(address)
        except BaseException:
            self.close(0)
            raise
        return self

    def broken(self) -> bool:
        """Whether the connection has ended."""
        return self.ends is None or bool(self.ends.poll(0))

    def more(self) -> bool:
        """Whether another message waits."""
        return self.readable()

    swallowed = more

    def why(self) -> int:
        """How it has ended: an event of ZeroMQ's."""
        return 0 if self.ends is None else told(self.ends)[0]

    def flush(self) -> None:
        """A thread of ZeroMQ's does it."""
