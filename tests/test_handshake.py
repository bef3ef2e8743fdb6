"""The handshake against the vectors that implementations of Noise check each other with."""

from __future__ import annotations

import os

import pytest

from mpidirect.wire import handshake
from mpidirect.wire.handshake import Cipher, Initiator, Responder
from mpidirect.wire.sealed import HELLO, raw
from mpidirect.wire.sockets import new_keys

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

# Noise_KK_25519_AESGCM_SHA256 of the cacophony vectors.
PROLOGUE = bytes.fromhex("4a6f686e2047616c74")
INITIATOR = bytes.fromhex("e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1")
INITIATOR_EPHEMERAL = bytes.fromhex("893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a")
INITIATOR_PUBLIC = bytes.fromhex("6bc3822a2aa7f4e6981d6538692b3cdf3e6df9eea6ed269eb41d93c22757b75a")
RESPONDER = bytes.fromhex("4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893")
RESPONDER_EPHEMERAL = bytes.fromhex("bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b")
RESPONDER_PUBLIC = bytes.fromhex("31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62")
PAYLOADS = [
    b"Ludwig von Mises",
    b"Murray Rothbard",
    b"F. A. Hayek",
    b"Carl Menger",
    b"Jean-Baptiste Say",
]
SAID = [
    "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
    "8564738a841228e693caeec4c497a8bd562231c3e51a1f03c4fd45dfe3a67870",
    "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
    "b94504c4d83506f5dd2568b68490eba8ed6f9cf2cca194a273c56d7ae3c558",
    "6a5c10a201d4e3a08f79f64949e55731f774913a4d949bda3fcebf",
    "4e8a1bf06926fdd74e2f516e2b0c11cc1dc3387fadeb75389d4342",
    "c1df7194ca8ea51d4dd99059bc9b90288112d47237d8481f1773fb26a31629a05c",
]


def test_it_is_noise_kk():
    initiator = Initiator(
        INITIATOR, RESPONDER_PUBLIC, PROLOGUE, payload=PAYLOADS[0], ephemeral=INITIATOR_EPHEMERAL
    )
    responder = Responder(RESPONDER, INITIATOR_PUBLIC, PROLOGUE)
    assert initiator.message.hex() == SAID[0]
    reply, theirs = responder.answer(initiator.message, payload=PAYLOADS[1], ephemeral=RESPONDER_EPHEMERAL)
    assert reply.hex() == SAID[1]
    mine = initiator.finish(reply)
    sender, receiver = mine, theirs
    for payload, said in zip(PAYLOADS[2:], SAID[2:], strict=True):
        sealed = sender.sending.seal(payload)
        assert sealed.hex() == said
        assert receiver.receiving.open(sealed) == payload
        sender, receiver = receiver, sender


@pytest.fixture
def keys():
    return new_keys(), new_keys()


def met(client, server, prologue=b"both"):
    initiator = Initiator(raw(client.secret), raw(server.public), b"both")
    reply, theirs = Responder(raw(server.secret), raw(client.public), prologue).answer(initiator.message)
    return initiator.finish(reply), theirs


def test_keys_of_curve_serve(keys):
    mine, theirs = met(*keys)
    assert len(Initiator(raw(keys[0].secret), raw(keys[1].public), b"").message) == HELLO
    assert theirs.receiving.open(mine.sending.seal(b"hello")) == b"hello"
    assert mine.receiving.open(theirs.sending.seal(b"welcome")) == b"welcome"


@pytest.mark.parametrize("wrong", ["client", "server", "prologue"])
def test_who_has_another_key_or_says_something_else_is_refused(keys, wrong):
    client, server = keys
    initiator = Initiator(
        raw(new_keys().secret if wrong == "client" else client.secret),
        raw(new_keys().public if wrong == "server" else server.public),
        b"else" if wrong == "prologue" else b"both",
    )
    with pytest.raises(ValueError, match="not known"):
        Responder(raw(server.secret), raw(client.public), b"both").answer(initiator.message)


def test_a_false_server_is_noticed(keys):
    client, server = keys
    initiator = Initiator(raw(client.secret), raw(server.public), b"both")
    false = Responder(raw(new_keys().secret), raw(client.public), b"both")
    for reply in (os.urandom(HELLO), bytes(HELLO), b""):
        with pytest.raises(ValueError):
            Initiator(raw(client.secret), raw(server.public), b"both").finish(reply)
    with pytest.raises(ValueError, match="not known"):
        false.answer(initiator.message)


def test_a_first_message_that_is_played_again_gives_no_keys(keys):
    client, server = keys
    responder = Responder(raw(server.secret), raw(client.public), b"both")
    initiator = Initiator(raw(client.secret), raw(server.public), b"both")
    reply, _ = responder.answer(initiator.message)
    sealed = initiator.finish(reply).sending.seal(b"a request")
    _, again = responder.answer(initiator.message)
    with pytest.raises(ValueError):
        again.receiving.open(sealed)


@pytest.mark.parametrize("how", ["changed", "cut", "twice", "skipped", "returned"])
def test_what_was_sealed_is_opened_once_and_in_order(keys, how):
    mine, theirs = met(*keys)
    first, second = mine.sending.seal(b"first"), mine.sending.seal(b"second")
    assert how != "twice" or theirs.receiving.open(first)
    said = {
        "changed": bytes([first[0] ^ 1]) + first[1:],
        "cut": first[:-1],
        "twice": first,
        "skipped": second,
        "returned": theirs.sending.seal(b"first"),
    }[how]
    with pytest.raises(ValueError, match="not sealed"):
        theirs.receiving.open(said)


def test_keys_are_renewed(monkeypatch):
    monkeypatch.setattr(handshake, "_RENEW", 3)
    sending, receiving = Cipher(bytes(32)), Cipher(bytes(32))
    sealed = [sending.seal(b"the same") for _ in range(10)]
    assert len(set(sealed)) == 10
    assert [receiving.open(each) for each in sealed] == [b"the same"] * 10
