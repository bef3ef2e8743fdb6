"""ZeroMQ's sockets, at the least cost: half of a small call is spent in them."""

from __future__ import annotations

import socket as system
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import zmq
from zmq.backend import Socket as Bare

from .addresses import url
from .base import Closed, Empty, Unreachable
from .curve import Credentials, KeyPair, authenticate, serve
from .gate import Gate

if TYPE_CHECKING:
    from typing_extensions import Self

SCHEME = "ipc://"  # of an address on this host: in a directory that only its owner can enter

HEARTBEAT = 5.0  # seconds between ZeroMQ's heartbeats, which its own thread sends and answers
SILENCE = 20.0  # seconds after which a peer that answers none of them is given up
HANDSHAKE = 10.0  # seconds that a peer has to show its key
KEEPALIVE = 600  # seconds that an engine waits for a controller whose host is silent
PROBE = 30  # seconds between questions to that host
LARGEST = 128 * 1024 * 1024  # bytes of one frame: what a task printed is in a header
COPIED = 64 * 1024  # bytes up to which a copy is cheaper than keeping track of the original
NEVER = 24 * 3600 * 1000  # milliseconds: a connection that has ended is replaced long before

_EVENT = struct.Struct("=Hi")
_EVENTS, _MORE = int(zmq.EVENTS), int(zmq.RCVMORE)
_POLLIN, _NOBLOCK, _SNDMORE = int(zmq.POLLIN), int(zmq.NOBLOCK), int(zmq.SNDMORE)

ENDED = (
    zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


def event_of(monitor: zmq.Socket[Any]) -> tuple[int, int]:
    """The next event of a socket's monitor, and the descriptor of its connection or an error number."""
    event, _ = monitor.recv_multipart()
    return _EVENT.unpack(event)  # pyzmq's own way to read it imports asyncio


class Context(zmq.Context):
    """What sockets are made in; whoever makes one also calls its `destroy`."""

    def __del__(self) -> None:
        """Do nothing: pyzmq would wait, for ever if sockets are garbage at the same time."""


class Socket(zmq.Socket):
    """A ZeroMQ socket, with ways that go past enumerations and past an exception for each empty socket."""

    ends: zmq.Socket[Any] | None = None  # its monitor, once it is watched
    _spoiled = False  # whether a signal's handler raised in the middle of a message

    @classmethod
    def of(cls, context: zmq.Context[Any], kind: int, linger: int, largest: int) -> Self:
        """Make one that drops nothing silently and takes frames up to `largest` bytes.

        `linger` is how many milliseconds it has to send what waits when it is closed.
        """
        self = cast("Self", context.socket(kind, cls))
        self.setsockopt(zmq.LINGER, linger)
        self.setsockopt(zmq.SNDHWM, 0)
        self.setsockopt(zmq.RCVHWM, 0)
        self.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE * 1000))
        self.setsockopt(zmq.MAXMSGSIZE, largest)
        return self

    def beat(self) -> None:
        """Ask the other side now and then whether it is there, and end the connection if it is not."""
        self.setsockopt(zmq.HEARTBEAT_IVL, int(HEARTBEAT * 1000))
        self.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(SILENCE * 1000))

    def watch(self, events: int) -> Self:
        """Have the monitor `ends` tell these events."""
        self.ends = self.get_monitor_socket(events)
        self.ends.setsockopt(zmq.LINGER, 0)
        return self

    def readable(self) -> bool:
        """Whether a message waits; the socket's descriptor tells what comes after this was asked."""
        return bool(Bare.get(self, _EVENTS) & _POLLIN)  # type: ignore[operator]

    def first(self, *, wait: bool = False) -> bytes:
        """The first frame of the next message; `Empty` if there is none and this is not to `wait`."""
        try:
            return Bare.recv(self, 0 if wait else _NOBLOCK)
        except zmq.Again:
            raise Empty from None

    def rest(self, *, copied: bool = True) -> list[Any]:
        """The frames that follow the first: as bytes, or, for large ones, where they are."""
        frames: list[Any] = []
        try:
            while Bare.get(self, _MORE):
                frames.append(Bare.recv(self, 0, copied))
        except BaseException:
            self._spoiled = True
            raise
        return frames

    def put(self, frames: Sequence[Any], *, wait: bool = False) -> None:
        """Send one message; `Closed` if it can't leave now and this is not to `wait`."""
        flags = 0 if wait else _NOBLOCK
        last = len(frames) - 1
        try:
            for k, frame in enumerate(frames):
                Bare.send(self, frame, flags | _SNDMORE if k < last else flags, len(frame) < COPIED)
        except zmq.Again:
            raise Closed from None
        except BaseException:  # what is sent next would go on with this message
            self._spoiled = True
            raise

    def close(self, linger: int | None = None) -> None:
        """Close it, and its monitor."""
        if self.ends is not None:
            self.disable_monitor()
            self.ends.close(0)
            self.ends = None
        super().close(linger)


class Dealer(Socket):
    """The end that asked for the connection."""

    descriptors: list[int] = []  # readable when a message has come or the connection has ended

    @classmethod
    def of_client(
        cls, context: zmq.Context[Any], address: str, name: bytes, credentials: Credentials | None
    ) -> Dealer:
        """Connect a client once: it learns when the connection has ended, and makes another socket then.

        A connection that ZeroMQ made again would go on in the middle of the numbered messages.

        Raises
        ------
        zmq.ZMQError
            When `credentials` or `address` are none.
        """
        self = cls.of(context, zmq.DEALER, 0, LARGEST)
        try:
            self.setsockopt(zmq.ROUTING_ID, name)
            # Not -1: a broken pipe would then be closed between two frames of a message that is being read,
            # and libzmq aborts the process (`!_more` in fq.cpp).
            self.setsockopt(zmq.RECONNECT_IVL, NEVER)
            self.setsockopt(zmq.HANDSHAKE_IVL, 0)  # a controller that is frozen has not refused anybody
            self.beat()
            ends = self.watch(ENDED).ends
            assert ends is not None
            self.descriptors = [self.fileno(), ends.fileno()]  # for threads that may not touch the sockets
            self._connect(address, credentials)
        except BaseException:
            self.close(0)
            raise
        return self

    @classmethod
    def of_engine(
        cls, context: zmq.Context[Any], address: str, name: bytes, credentials: Credentials | None
    ) -> Dealer:
        """Connect an engine, which outlasts a controller that is frozen: it sends no heartbeats.

        The kernel closes the connection when the controller's process ends, and answers for one that is
        stopped.  Between hosts it also asks whether the other one is there, for `KEEPALIVE` seconds.
        """
        self = cls.of(context, zmq.DEALER, 1000, LARGEST)
        self.setsockopt(zmq.ROUTING_ID, name)
        self.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self.setsockopt(zmq.TCP_KEEPALIVE_IDLE, PROBE)
        self.setsockopt(zmq.TCP_KEEPALIVE_INTVL, PROBE)
        self.setsockopt(zmq.TCP_KEEPALIVE_CNT, KEEPALIVE // PROBE - 1)
        self.setsockopt(zmq.TCP_MAXRT, KEEPALIVE * 1000)
        self._connect(address, credentials)
        return self

    def _connect(self, address: str, credentials: Credentials | None) -> None:
        if credentials is not None:
            authenticate(self, credentials)
        self.setsockopt(zmq.IPV6, "[" in address)
        self.connect(address)

    def ended(self) -> bool:
        """Whether the connection has ended."""
        return self._spoiled or self.ends is None or bool(self.ends.poll(0))

    def why(self) -> int:
        """The event that has ended the connection, if ZeroMQ told one."""
        return event_of(self.ends)[0] if self.ends is not None and self.ends.poll(0) else 0


class Router(Socket):
    """The end that accepts connections, and notices which of them have ended."""

    departures = False  # the monitor tells
    _gate: Gate | None = None  # for those that connect through a network
    _used = True  # whether it was, since it was asked for the last time whether something waits

    @classmethod
    def bound(cls, context: zmq.Context[Any], address: str, largest: int = LARGEST) -> Router:
        """Accept connections of this host: at an address in a directory that only its owner can enter."""
        self = cls._made(context, largest).watch(zmq.EVENT_DISCONNECTED)
        self.bind(address)
        return self

    @classmethod
    def listening(
        cls,
        context: zmq.Context[Any],
        listener: system.socket,
        keys: KeyPair,
        domain: bytes,
        largest: int = LARGEST,
    ) -> Router:
        """Accept connections at a TCP socket that listens, encrypted with CURVE; takes the socket over."""
        self = cls._made(context, largest).watch(zmq.EVENT_DISCONNECTED | zmq.EVENT_ACCEPTED)
        serve(self, keys, domain)
        self._gate = Gate(listener)
        host, port = listener.getsockname()[:2]
        listener.setblocking(False)
        self.setsockopt(zmq.IPV6, ":" in host)
        self.setsockopt(zmq.USE_FD, listener.detach())
        self.bind(url(host, port))
        return self

    @classmethod
    def _made(cls, context: zmq.Context[Any], largest: int) -> Router:
        self = cls.of(context, zmq.ROUTER, 500, largest)
        self.beat()
        self.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.setsockopt(zmq.ROUTER_HANDOVER, 1)
        return self

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when there is something to do: of the messages, then of the departures."""
        assert self.ends is not None
        return [self.fileno(), self.ends.fileno()]

    @property
    def waiting(self) -> bool:
        """Whether messages wait that the descriptor does not tell, as the socket was used since they came."""
        if self._used:
            self._used = self.readable()
        return self._used

    def first(self, *, wait: bool = False) -> bytes:
        """The next frame: the name of the sender, then the first frame of the message; else `Empty`."""
        self._used = True
        return super().first(wait=wait)

    def number(self) -> int:
        """The number of the connection that the message came by; drops the rest of the message.

        It is the descriptor, as the monitor tells it; a second frame has to follow, of which ZeroMQ tells it.
        """
        if not Bare.get(self, _MORE):
            raise ValueError("the frame that tells the connection is missing")
        told = Bare.recv(self, 0, False)
        self.rest()
        return told.get(zmq.SRCFD)

    def send_to(self, name: bytes, frames: Sequence[Any]) -> None:
        """Send one message to the connection with this name; else `Unreachable`."""
        self._used = True
        try:
            self.put([name, *frames])
        except zmq.ZMQError as e:
            if e.errno != zmq.EHOSTUNREACH:
                raise
            self._spoiled = False  # the name alone was refused
            raise Unreachable from None
        except Closed:
            raise Unreachable from None

    def departed(self) -> list[int]:
        """The numbers of the connections that have ended since the last call."""
        gone = []
        while self.ends is not None and self.ends.poll(0):
            event, number = event_of(self.ends)
            if event == zmq.EVENT_DISCONNECTED:
                gone.append(number)
            if self._gate is not None:
                self._gate.look()
        return gone

    def close(self, linger: int | None = None) -> None:
        """Close it, its monitor, and its port."""
        super().close(linger)
        if self._gate is not None:
            self._gate.close()
