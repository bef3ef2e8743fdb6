"""CURVE: who may connect through a network, and the encryption of what follows.

The mechanism is libzmq's own (RFC 26, CurveZMQ); here are the keys, and the answer to whether a key may come
in (RFC 27, ZAP).  Without that answer, CURVE would let in everybody who knows the public key of the server.
"""

from __future__ import annotations

import hmac
import logging
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import zmq
import zmq.utils.z85

from .base import is_worth_a_line

log = logging.getLogger(__name__)

_KEY = 32  # bytes of a key of Curve25519
CLIENTS, ENGINES = b"clients", b"engines"  # ZAP domains: each port has its own


class KeyPair(NamedTuple):
    """A CURVE key pair, in Z85."""

    public: bytes
    secret: bytes


class Credentials(NamedTuple):
    """What a client of a CURVE server needs: the public key of the server, and a pair of its own."""

    server: bytes
    mine: KeyPair

    @property
    def usable(self) -> bool:
        """Whether these are keys at all."""
        try:
            return all(len(zmq.utils.z85.decode(key)) == _KEY for key in (self.server, *self.mine))
        except (LookupError, TypeError, ValueError, struct.error):
            return False


def new_keys() -> KeyPair:
    """Make a key pair."""
    return KeyPair(*zmq.curve_keypair())


def serve(socket: zmq.Socket[Any], keys: KeyPair, domain: bytes) -> None:
    """Make `socket` a CURVE server; the `ZapAuthenticator` decides by `domain` about the clients' keys."""
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
    socket.setsockopt(zmq.ZAP_DOMAIN, domain)


def authenticate(socket: zmq.Socket[Any], credentials: Credentials) -> None:
    """Make `socket` a CURVE client; `zmq.ZMQError` for what are no keys."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, credentials.server)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, credentials.mine.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, credentials.mine.secret)


class ZapAuthenticator:
    """Answers ZeroMQ's question whether a key may connect: one key in each domain may.

    Call `answer` when the descriptor of its `socket` becomes readable.

    Parameters
    ----------
    context : zmq.Context
        That of the servers' sockets.
    allowed : mapping of bytes to bytes
        For each domain the public key (Z85) that may connect.
    """

    def __init__(self, context: zmq.Context[Any], allowed: Mapping[bytes, bytes]) -> None:
        self.allowed = {domain: zmq.utils.z85.decode(key) for domain, key in allowed.items()}
        self.refused = 0
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind("inproc://zeromq.zap.01")

    def answer(self) -> None:
        """Answer all questions that wait."""
        while self.socket.poll(0):
            self._answer(self.socket.recv_multipart())

    def _answer(self, frames: list[bytes]) -> None:
        request_id = frames[1] if len(frames) > 1 else b""
        welcome = (
            len(frames) == 7
            and frames[0] == b"1.0"
            and frames[5] == b"CURVE"
            and frames[2] in self.allowed
            and hmac.compare_digest(frames[6], self.allowed[frames[2]])
        )
        if not welcome:
            self.refused += 1
            if is_worth_a_line(self.refused):
                where = frames[3].decode(errors="replace") if len(frames) > 3 else "?"
                log.warning("refused a key from %s (%d so far)", where, self.refused)
        code, text = (b"200", b"OK") if welcome else (b"400", b"not a key of this cluster")
        self.socket.send_multipart([b"1.0", request_id, code, text, b"", b""])
