"""CURVE: the keys of connections through a network, and the check of a client's key.

The mechanism is libzmq's own (RFC 26, CurveZMQ). This module makes keys and checks whether a key may connect
(RFC 27, ZAP). Without the check, CURVE accepts everybody who knows the public key of the server.
"""

from __future__ import annotations

import hmac
import logging
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import zmq
import zmq.utils.z85

from .base import should_log

log = logging.getLogger(__name__)

_KEY_SIZE = 32  # bytes of a key of Curve25519
CLIENTS, ENGINES = b"clients", b"engines"  # ZAP domains: each port has its own


class KeyPair(NamedTuple):
    """A CURVE key pair, in Z85."""

    public: bytes
    secret: bytes


class Credentials(NamedTuple):
    """The keys of a client: the public key of the server, and the client's own pair."""

    server: bytes
    mine: KeyPair

    @property
    def usable(self) -> bool:
        """Whether these are well-formed keys."""
        try:
            return all(len(zmq.utils.z85.decode(key)) == _KEY_SIZE for key in (self.server, *self.mine))
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
    """Make `socket` a CURVE client; raise `zmq.ZMQError` for malformed keys."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, credentials.server)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, credentials.mine.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, credentials.mine.secret)


class ZapAuthenticator:
    """Answers ZeroMQ's requests whether a key may connect: in each domain, one key may.

    Call `answer` when the descriptor of its `socket` becomes readable.

    Parameters
    ----------
    context : zmq.Context
        The context of the servers' sockets.
    allowed : mapping of bytes to bytes
        The public key (Z85) that may connect, for each domain.
    """

    def __init__(self, context: zmq.Context[Any], allowed: Mapping[bytes, bytes]) -> None:
        self.allowed = {domain: zmq.utils.z85.decode(key) for domain, key in allowed.items()}
        self.refused = 0
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind("inproc://zeromq.zap.01")

    def answer(self) -> None:
        """Answer all waiting requests."""
        while self.socket.poll(0):
            self._answer(self.socket.recv_multipart())

    def _answer(self, frames: list[bytes]) -> None:
        request_id = frames[1] if len(frames) > 1 else b""
        accepted = (
            len(frames) == 7
            and frames[0] == b"1.0"
            and frames[5] == b"CURVE"
            and frames[2] in self.allowed
            and hmac.compare_digest(frames[6], self.allowed[frames[2]])
        )
        if not accepted:
            self.refused += 1
            if should_log(self.refused):
                where = frames[3].decode(errors="replace") if len(frames) > 3 else "?"
                log.warning("refused a key from %s (%d so far)", where, self.refused)
        code, text = (b"200", b"OK") if accepted else (b"400", b"not a key of this cluster")
        self.socket.send_multipart([b"1.0", request_id, code, text, b"", b""])
