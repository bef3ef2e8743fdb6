"""How two sides that know each other's public key find keys for one connection: Noise KK.

The pattern is ``Noise_KK_25519_AESGCM_SHA256`` of the Noise Protocol Framework, revision 34
(https://noiseprotocol.org/noise.html): both sides are authenticated by their X25519 keys, and keys of this
connection alone are made, so that a key that is stolen later opens nothing that was recorded.  Curve and
cipher are those of the package cryptography, which is OpenSSL; the hash is Python's.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NAME = b"Noise_KK_25519_AESGCM_SHA256"
_KEY = 32  # bytes
_LAST = (1 << 64) - 1  # the nonce with which a key makes its successor
_RENEW = 1 << 16  # messages under one key


class Cipher:
    """One direction of a connection: what is sealed here is opened there, in the same order.

    Parameters
    ----------
    key : bytes
        32 of them.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aes = AESGCM(key)
        self._number = 0

    def seal(self, data: bytes | memoryview) -> bytes:
        """Encrypt, with a tag of 16 bytes at the end."""
        nonce = self._next()  # which may change the key
        return self._aes.encrypt(nonce, data, None)

    def open(self, data: bytes | memoryview) -> bytes:
        """Decrypt; ValueError if this is not what was sealed, or not the next of it."""
        nonce = self._next()
        try:
            return self._aes.decrypt(nonce, data, None)
        except InvalidTag:
            raise ValueError("what its key has not sealed") from None

    def _next(self) -> bytes:
        if self._number == _RENEW:  # as Noise's REKEY
            self._key = self._aes.encrypt(_nonce(_LAST), bytes(_KEY), None)[:_KEY]
            self._aes, self._number = AESGCM(self._key), 0
        self._number += 1
        return _nonce(self._number - 1)


class Ciphers(NamedTuple):
    """Those of a connection, as one side has them."""

    sending: Cipher
    receiving: Cipher


def _nonce(number: int) -> bytes:
    return bytes(4) + number.to_bytes(8, "big")


class _Transcript:
    """What both sides have said, and the keys that follow from it: Noise's SymmetricState."""

    def __init__(self, prologue: bytes, initiator: bytes, responder: bytes) -> None:
        self._said = self._chain = _NAME.ljust(_KEY, b"\0")
        self._secret = b""
        for known in (prologue, initiator, responder):
            self.say(known)

    def say(self, data: bytes) -> None:
        self._said = hashlib.sha256(self._said + data).digest()

    def mix(self, mine: X25519PrivateKey, theirs: bytes) -> None:
        shared = mine.exchange(X25519PublicKey.from_public_bytes(theirs))  # ValueError if it is all zeros
        self._chain, self._secret = _derived(self._chain, shared)

    def seal(self, payload: bytes) -> bytes:
        sealed = AESGCM(self._secret).encrypt(_nonce(0), payload, self._said)
        self.say(sealed)
        return sealed

    def open(self, sealed: bytes) -> bytes:
        try:
            payload = AESGCM(self._secret).decrypt(_nonce(0), sealed, self._said)
        except InvalidTag:
            raise ValueError("a key that is not known") from None
        self.say(sealed)
        return payload

    def split(self) -> tuple[Cipher, Cipher]:
        first, second = _derived(self._chain, b"")
        return Cipher(first), Cipher(second)


def _derived(chain: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Noise's HKDF with two outputs."""
    start = hmac.digest(chain, secret, "sha256")
    first = hmac.digest(start, b"\x01", "sha256")
    return first, hmac.digest(start, first + b"\x02", "sha256")


class Initiator:
    """The side that begins.

    Parameters
    ----------
    secret : bytes
        Its own X25519 key.
    theirs : bytes
        The public key of the other side.
    prologue : bytes
        What both sides must have in common besides.

    Attributes
    ----------
    message : bytes
        What it says first.
    """

    def __init__(
        self, secret: bytes, theirs: bytes, prologue: bytes, *, payload: bytes = b"", ephemeral: bytes = b""
    ) -> None:
        self._own = X25519PrivateKey.from_private_bytes(secret)
        self._ephemeral = _fresh(ephemeral)
        self._transcript = _Transcript(prologue, _public(self._own), theirs)
        public = _public(self._ephemeral)
        self._transcript.say(public)
        self._transcript.mix(self._ephemeral, theirs)
        self._transcript.mix(self._own, theirs)
        self.message = public + self._transcript.seal(payload)

    def finish(self, reply: bytes) -> Ciphers:
        """Read the answer; ValueError if it is not that of the other side."""
        public, sealed = reply[:_KEY], reply[_KEY:]
        self._transcript.say(public)
        self._transcript.mix(self._ephemeral, public)
        self._transcript.mix(self._own, public)
        self._transcript.open(sealed)
        return Ciphers(*self._transcript.split())


class Responder:
    """The side that is called, which knows one key that may.

    Parameters
    ----------
    secret : bytes
        Its own X25519 key.
    theirs : bytes
        The public key of those who may come.
    prologue : bytes
        What both sides must have in common besides.
    """

    def __init__(self, secret: bytes, theirs: bytes, prologue: bytes) -> None:
        self._own = X25519PrivateKey.from_private_bytes(secret)
        self._theirs = theirs
        self._prologue = prologue

    def answer(
        self, message: bytes, *, payload: bytes = b"", ephemeral: bytes = b""
    ) -> tuple[bytes, Ciphers]:
        """What to say to a first message, and the keys; ValueError if it is not of who may come.

        It may be an old one, played again: only who can seal with the keys is there.
        """
        public, sealed = message[:_KEY], message[_KEY:]
        transcript = _Transcript(self._prologue, self._theirs, _public(self._own))
        transcript.say(public)
        transcript.mix(self._own, public)
        transcript.mix(self._own, self._theirs)
        transcript.open(sealed)
        fresh = _fresh(ephemeral)
        mine = _public(fresh)
        transcript.say(mine)
        transcript.mix(fresh, public)
        transcript.mix(fresh, self._theirs)
        reply = mine + transcript.seal(payload)
        receiving, sending = transcript.split()
        return reply, Ciphers(sending, receiving)


def _fresh(given: bytes) -> X25519PrivateKey:
    """A key for this once; one that is given is for tests."""
    return X25519PrivateKey.from_private_bytes(given) if given else X25519PrivateKey.generate()


def _public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()
