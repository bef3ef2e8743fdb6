"""ZeroMQ's sockets with little overhead, because they take half of the time of a small call."""

from __future__ import annotations

import socket as system
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import zmq
from zmq.backend import Socket as Bare
from zmq.backend import zmq_poll

from ..protocol.frames import Frame
from .addresses import url
from .base import Closed, Empty, Unreachable
from .curve import Credentials, KeyPair, authenticate, serve
from .gate import Gate

if TYPE_CHECKING:
    from typing_extensions import Self

SCHEME = "ipc://"  # of addresses on this host, in a directory that only its owner can enter

HEARTBEAT = 5.0  # seconds between ZeroMQ's heartbeats, which its own thread sends and answers
SILENCE = 20.0  # seconds without a heartbeat after which a connection ends
HANDSHAKE = 10.0  # seconds that a peer has to show its key
_KEEPALIVE = 600  # seconds that an engine waits for a controller whose host is silent
_PROBE = 30  # seconds between keep-alive probes of that host
LARGEST = 128 * 1024 * 1024  # bytes of one frame; a header holds a task's output
_COPY_LIMIT = 64 * 1024  # bytes up to which a copy is cheaper than tracking the original
_NEVER = 24 * 3600 * 1000  # milliseconds: much longer than a client keeps a connection that has ended

_EVENT = struct.Struct("=Hi")
_MORE = int(zmq.RCVMORE)
_POLLIN, _NOBLOCK, _SNDMORE = int(zmq.POLLIN), int(zmq.NOBLOCK), int(zmq.SNDMORE)

_END_EVENTS = (
    zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
)


def _has_message(socket: zmq.Socket[Any]) -> bool:
    """Return whether a message waits. pyzmq's other functions for this create an enumeration object."""
    return bool(zmq_poll([(socket, _POLLIN)], 0))


def event_of(monitor: zmq.Socket[Any]) -> tuple[int, int]:
    """Return the next event of a socket's monitor, and the descriptor of a connection or an error number."""
    event, _ = monitor.recv_multipart()
    kind, value = _EVENT.unpack(event)  # pyzmq's own function for this imports asyncio
    return int(kind), int(value)


class Context(zmq.Context["zmq.Socket[bytes]"]):
    """The context of sockets; its creator must call `destroy`."""

    def __del__(self) -> None:
        """Do nothing: pyzmq would wait for its sockets, for ever if they are collected at the same time."""


class Socket(zmq.Socket[bytes]):
    """A ZeroMQ socket with methods that use no enumerations, and no exceptions for an empty socket."""

    # pyzmq's method compares each name with all options of ZeroMQ, at each assignment.
    __setattr__ = object.__setattr__  # type: ignore[assignment]

    event_socket: zmq.Socket[Any] | None = None  # the monitor, after `watch`
    _spoiled = False  # whether an exception of a signal handler has interrupted a message

    @classmethod
    def create(cls, context: zmq.Context[Any], kind: int, linger: int, largest: int) -> Self:
        """Make a socket that drops no message and takes frames up to `largest` bytes.

        When the socket is closed, waiting messages are sent for up to `linger` milliseconds.
        """
        self = cast("Self", context.socket(kind, cls))
        self.setsockopt(zmq.LINGER, linger)
        self.setsockopt(zmq.SNDHWM, 0)
        self.setsockopt(zmq.RCVHWM, 0)
        self.setsockopt(zmq.HANDSHAKE_IVL, int(HANDSHAKE * 1000))
        self.setsockopt(zmq.MAXMSGSIZE, largest)
        return self

    def enable_heartbeats(self) -> None:
        """Send heartbeats, and end the connection if the peer answers none."""
        self.setsockopt(zmq.HEARTBEAT_IVL, int(HEARTBEAT * 1000))
        self.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(SILENCE * 1000))

    def watch(self, events: int) -> Self:
        """Let the monitor report these events."""
        self.event_socket = self.get_monitor_socket(events)
        self.event_socket.setsockopt(zmq.LINGER, 0)
        return self

    def readable(self) -> bool:
        """Whether a message waits. The socket's descriptor reports only later messages."""
        return _has_message(self)

    def first(self, *, wait: bool = False) -> bytes:
        """Return the first frame of the next message; raise `Empty` if there is none and `wait` is false."""
        try:
            return Bare.recv(self, 0 if wait else _NOBLOCK)
        except zmq.Again:
            raise Empty from None

    def rest(self, *, copied: bool = True) -> list[Frame]:
        """Return the frames after the first, as bytes; if not `copied`, large ones without a copy."""
        frames: list[Any] = []  # the type of pyzmq's frames does not say that they are buffers
        try:
            while Bare.get(self, _MORE):
                frames.append(Bare.recv(self, 0, copied))
        except BaseException:
            self._spoiled = True
            raise
        return frames

    def put(self, frames: Sequence[Frame], *, wait: bool = False) -> None:
        """Send one message; raise `Closed` if it can't be sent now and `wait` is false."""
        flags = 0 if wait else _NOBLOCK
        last = len(frames) - 1
        try:
            for k, frame in enumerate(frames):
                Bare.send(self, frame, flags | _SNDMORE if k < last else flags, len(frame) < _COPY_LIMIT)  # type: ignore[call-overload]
        except zmq.Again:
            raise Closed from None
        except BaseException:  # the next message would be part of the interrupted one
            self._spoiled = True
            raise

    def close(self, linger: int | None = None) -> None:
        """Close the socket and its monitor."""
        if self.event_socket is not None:
            self.disable_monitor()
            self.event_socket.close(0)
            self.event_socket = None
        super().close(linger)


class Dealer(Socket):
    """The end that asked for the connection."""

    descriptors: list[int] = []  # of the messages, and of the monitor

    @classmethod
    def of_client(
        cls, context: zmq.Context[Any], address: str, name: bytes, credentials: Credentials | None
    ) -> Dealer:
        """Connect a client once: when the connection has ended, the client makes another socket.

        If ZeroMQ made the connection again, it would continue in the middle of the numbered messages.

        Raises
        ------
        zmq.ZMQError
            When `credentials` or `address` are malformed.
        """
        self = cls.create(context, zmq.DEALER, 0, LARGEST)
        try:
            self.setsockopt(zmq.ROUTING_ID, name)
            # With -1, ZeroMQ would close a broken pipe between two frames of a message that is being read,
            # and libzmq would abort the process (`!_more` in fq.cpp).
            self.setsockopt(zmq.RECONNECT_IVL, _NEVER)
            self.setsockopt(zmq.HANDSHAKE_IVL, 0)  # a frozen controller must not look like a refusal
            self.enable_heartbeats()
            self.setsockopt(zmq.HEARTBEAT_TTL, int(SILENCE * 1000))  # the router sends clients no heartbeats
            monitor = self.watch(_END_EVENTS).event_socket
            assert monitor is not None
            self.descriptors = [self.fileno(), monitor.fileno()]  # for threads that must not use the sockets
            self._connect(address, credentials)
        except BaseException:
            self.close(0)
            raise
        return self

    @classmethod
    def of_engine(
        cls, context: zmq.Context[Any], address: str, name: bytes, credentials: Credentials | None
    ) -> Dealer:
        """Connect an engine without heartbeats, so that the engine outlasts a frozen controller.

        The kernel closes the connection when the controller's process ends, and answers for a stopped
        process.  Between hosts the kernel also probes whether the other host is there, for `_KEEPALIVE`
        seconds.
        """
        self = cls.create(context, zmq.DEALER, 1000, LARGEST)
        self.setsockopt(zmq.ROUTING_ID, name)
        self.setsockopt(zmq.TCP_KEEPALIVE, 1)
        self.setsockopt(zmq.TCP_KEEPALIVE_IDLE, _PROBE)
        self.setsockopt(zmq.TCP_KEEPALIVE_INTVL, _PROBE)
        self.setsockopt(zmq.TCP_KEEPALIVE_CNT, _KEEPALIVE // _PROBE - 1)
        self.setsockopt(zmq.TCP_MAXRT, _KEEPALIVE * 1000)
        self._connect(address, credentials)
        return self

    def _connect(self, address: str, credentials: Credentials | None) -> None:
        if credentials is not None:
            authenticate(self, credentials)
        self.setsockopt(zmq.IPV6, "[" in address)
        self.connect(address)

    def ended(self) -> bool:
        """Whether the connection has ended."""
        return self._spoiled or self.event_socket is None or _has_message(self.event_socket)

    def end_event(self) -> int:
        """Return the event that has ended the connection; 0 if ZeroMQ reported none."""
        return (
            event_of(self.event_socket)[0]
            if self.event_socket is not None and _has_message(self.event_socket)
            else 0
        )


class Router(Socket):
    """The end that accepts connections, and notices their ends."""

    departures = False  # the monitor's descriptor reports departures
    _gate: Gate | None = None  # for connections through a network
    _used = True  # whether the socket was used since the last query of `waiting`

    @classmethod
    def bound(
        cls, context: zmq.Context[Any], address: str, largest: int = LARGEST, *, of_clients: bool = False
    ) -> Router:
        """Accept connections of this host, at an address in a directory that only its owner can enter."""
        self = cls._create_router(context, largest, of_clients).watch(zmq.EVENT_DISCONNECTED)
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
        *,
        of_clients: bool = False,
    ) -> Router:
        """Accept connections at a listening TCP socket, encrypted with CURVE; the router owns the socket."""
        self = cls._create_router(context, largest, of_clients)
        self.watch(zmq.EVENT_DISCONNECTED | zmq.EVENT_ACCEPTED)
        serve(self, keys, domain)
        self._gate = Gate(listener)
        host, port = listener.getsockname()[:2]
        listener.setblocking(False)
        self.setsockopt(zmq.IPV6, ":" in host)
        self.setsockopt(zmq.USE_FD, listener.detach())
        self.bind(url(host, port))
        return self

    @classmethod
    def _create_router(cls, context: zmq.Context[Any], largest: int, of_clients: bool) -> Router:
        """Create a router. It sends heartbeats to engines. Clients send heartbeats to it.

        If a client takes over the name of its earlier connection, libzmq stops to read that connection. When
        it ends, the next heartbeat on it would abort the process (`!_io_error` in stream_engine_base.cpp).
        Engines never make a second connection.
        """
        self = cls.create(context, zmq.ROUTER, 500, largest)
        if not of_clients:
            self.enable_heartbeats()
        self.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.setsockopt(zmq.ROUTER_HANDOVER, 1)
        return self

    @property
    def descriptors(self) -> list[int]:
        """The descriptors that become readable: first the one for messages, then the one for departures."""
        assert self.event_socket is not None
        return [self.fileno(), self.event_socket.fileno()]

    @property
    def waiting(self) -> bool:
        """Whether messages wait that the descriptor does not report, since the socket was used later."""
        return self._used and self.readable()

    def readable(self) -> bool:
        """Whether a message waits. The socket's descriptor reports only later messages."""
        self._used = super().readable()
        return self._used

    def first(self, *, wait: bool = False) -> bytes:
        """Return the next frame: the sender's name, then the first frame; raise `Empty` if there is none."""
        self._used = True
        return super().first(wait=wait)

    def number(self) -> int:
        """Return the number of the connection of the message, and drop the rest of the message.

        The number is the connection's descriptor, as the monitor reports it. ZeroMQ attaches the descriptor
        to each frame after the first.
        """
        if not Bare.get(self, _MORE):
            raise ValueError("the frame that tells the connection is missing")
        second = Bare.recv(self, 0, False)
        self.rest()
        return int(second.get(zmq.SRCFD))

    def send_to(self, name: bytes, frames: Sequence[Frame]) -> None:
        """Send one message to the connection with this name; raise `Unreachable` if there is none."""
        self._used = True
        try:
            self.put([name, *frames])
        except zmq.ZMQError as e:
            if e.errno != zmq.EHOSTUNREACH:
                raise
            self._spoiled = False  # only the name was refused, and no message begun
            raise Unreachable from None
        except Closed:
            raise Unreachable from None

    def departed(self) -> list[int]:
        """Return the numbers of the connections that have ended since the last call."""
        gone = []
        while self.event_socket is not None and _has_message(self.event_socket):
            event, number = event_of(self.event_socket)
            if event == zmq.EVENT_DISCONNECTED:
                gone.append(number)
            if self._gate is not None:
                self._gate.update()
        return gone

    def close(self, linger: int | None = None) -> None:
        """Close the socket, its monitor and its gate."""
        super().close(linger)
        if self._gate is not None:
            self._gate.close()
