"""Keys, and ZeroMQ's sockets for engines: CURVE between hosts (`directories` for what no network reaches)."""

from __future__ import annotations

import hmac
import logging
from typing import Any, NamedTuple, TypeVar

import zmq
import zmq.utils.z85

from .addresses import only_ipv6

log = logging.getLogger(__name__)

AnySocket = TypeVar("AnySocket", bound="zmq.Socket[Any]")

HEARTBEAT = 5.0  # seconds between ZeroMQ's own heartbeats, by which the controller notices frozen engines
SILENCE = 20.0  # seconds after which a peer that answers none of them is given up
PATIENCE = 600  # seconds that an engine waits for a controller whose host is silent
PROBE = 30  # seconds between questions to that
DOMAIN = b"engines"  # that the doorman is asked at all
LARGEST = 128 * 1024 * 1024  # bytes of one frame: what a task printed is in a header; known before any key is


class KeyPair(NamedTuple):
    """An X25519 key pair, Z85: for CURVE, and for the handshake of clients (`handshake`)."""

    public: bytes
    secret: bytes


def new_keys() -> KeyPair:
    """Make a key pair."""
    return KeyPair(*zmq.curve_keypair())


def tune(socket: AnySocket, *, linger: int = 0) -> AnySocket:
    """What every ZeroMQ socket has: no silent drops at a high-water mark, a finite linger."""
    socket.setsockopt(zmq.LINGER, linger)
    socket.setsockopt(zmq.SNDHWM, 0)
    socket.setsockopt(zmq.RCVHWM, 0)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 10_000)
    socket.setsockopt(zmq.MAXMSGSIZE, LARGEST)
    return socket


def serve(socket: AnySocket, keys: KeyPair | None) -> AnySocket:
    """Make `socket` a CURVE server, or, without keys, one that only a private directory protects.

    It gives up who is silent.
    """
    socket.setsockopt(zmq.HEARTBEAT_IVL, int(HEARTBEAT * 1000))
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(SILENCE * 1000))
    if keys is not None:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
        socket.setsockopt(zmq.IPV6, only_ipv6())
    return socket


def authenticate(socket: AnySocket, server_key: bytes, mine: KeyPair) -> AnySocket:
    """Make `socket` a CURVE client of the server with this public key."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, mine.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, mine.secret)
    socket.setsockopt(zmq.IPV6, only_ipv6())
    return socket


def wait_for_server(socket: AnySocket) -> AnySocket:
    """Have a client's socket outlast a server that is frozen: no heartbeats.

    The kernel closes the connection when the server's process ends, and answers for one that is stopped.
    Between hosts it also asks whether the other one is there, for `PATIENCE` seconds.
    """
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, PROBE)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, PROBE)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, PATIENCE // PROBE - 1)
    socket.setsockopt(zmq.TCP_MAXRT, PATIENCE * 1000)
    return socket


def is_worth_a_line(count: int) -> bool:
    """Of many of a kind the 1st, 2nd, 4th, 8th, …: a flood fills no disk."""
    return count & (count - 1) == 0


class Doorman:
    """ZeroMQ's authentication protocol (RFC 27): lets in who has the key that is allowed.

    Call `answer` when the descriptor of its `socket` becomes readable; without one, whoever knew a public
    key could connect.

    Parameters
    ----------
    context : zmq.Context
        That of the sockets.
    allowed : bytes
        The one public key (Z85) that may come in.
    """

    def __init__(self, context: zmq.Context, allowed: bytes) -> None:
        self.allowed = zmq.utils.z85.decode(allowed)
        self.refused = 0
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind("inproc://zeromq.zap.01")

    def answer(self) -> None:
        """Answer all requests that wait."""
        while self.socket.poll(0):
            self._answer(self.socket.recv_multipart())

    def _answer(self, frames: list[bytes]) -> None:
        request_id = frames[1] if len(frames) > 1 else b""
        welcome = (
            len(frames) == 7
            and frames[0] == b"1.0"
            and frames[5] == b"CURVE"
            and frames[2] == DOMAIN
            and hmac.compare_digest(frames[6], self.allowed)
        )
        if not welcome:
            self.refused += 1
            if is_worth_a_line(self.refused):
                where = frames[3].decode(errors="replace") if len(frames) > 3 else "?"
                log.warning("refused a key from %s (%d so far)", where, self.refused)
        code, text = (b"200", b"OK") if welcome else (b"400", b"not a key of this cluster")
        self.socket.send_multipart([b"1.0", request_id, code, text, b"", b""])
