"""Messages through sockets: whole, in order, whatever comes and whoever goes."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
import time

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpidirect.controller.door import Door
from mpidirect.controller.reception import Reception
from mpidirect.wire.connections import LARGE, Dialed, Stream
from mpidirect.wire.handshake import Initiator, Responder
from mpidirect.wire.sealed import GREETING, HELLO, Sealed, raw, tuned
from mpidirect.wire.sockets import new_keys

pytestmark = [pytest.mark.timeout(30), pytest.mark.openmpi_only]  # nothing here depends on the MPI

MOST = 1 << 30
LARGEST = 64 * 1024 * 1024


@pytest.fixture(params=["local", "sealed"])
def door(request, tmp_path, keys):
    server, client = keys
    if request.param == "local":
        door = Door.local(tmp_path / "door", LARGEST)
    else:
        responder = Responder(raw(server.secret), raw(client.public), GREETING)
        door = Door(socket.create_server(("127.0.0.1", 0)), LARGEST, Reception(responder.answer))
    yield door
    door.close()


@pytest.fixture
def keys():
    return new_keys(), new_keys()


@pytest.fixture
def dial(door, keys):
    dialed = []

    def dial(name=b"guest", blocking=False):
        if door.address.startswith("unix"):
            peer = Dialed.local(door.address, name, MOST, blocking)
        else:
            peer = Dialed(shaken(door, *keys), name, MOST)
        dialed.append(peer)
        return peer

    yield dial
    for peer in dialed:
        peer.close()


def shaken(door, server, client):
    """A connection after its handshake."""
    host, _, port = door.address.removeprefix("tcp://").partition(":")
    connection = tuned(socket.create_connection((host, int(port))))
    initiator = Initiator(raw(client.secret), raw(server.public), GREETING)
    connection.send(initiator.message)
    heard = b""
    while len(heard) < len(GREETING) + HELLO:
        door._look()
        if select.select([connection], [], [], 0.01)[0]:
            heard += connection.recv(len(GREETING) + HELLO - len(heard))
    return Sealed(connection, initiator.finish(heard[len(GREETING) :]))


def take(door, seconds=10):
    """The next message that comes: name and frames; what has departed is left alone."""
    poll = select.poll()
    poll.register(door.pollables[0], select.POLLIN)
    while True:
        try:
            name = door.first()
        except zmq.Again:
            assert poll.poll(1000 * seconds), "nothing comes"
        else:
            return name, [bytes(frame) for frame in door.rest()]


def gone(door, seconds=10):
    """Wait until connections have ended; which."""
    poll = select.poll()
    poll.register(door.pollables[0], select.POLLIN)
    while not door.departures:
        assert poll.poll(1000 * seconds), "none ends"
        with pytest.raises(zmq.Again):
            door.first()
    return door.departed()


FRAMES = st.lists(
    st.one_of(st.binary(max_size=50), st.integers(LARGE - 2, LARGE + 2).map(bytes)), min_size=1, max_size=5
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(FRAMES, min_size=1, max_size=5), st.lists(st.integers(1, 100_000), min_size=1, max_size=9))
def test_however_it_is_cut_it_comes_as_it_was_sent(sent, cuts):
    ours, theirs = socket.socketpair()
    between, end = socket.socketpair()
    with ours, theirs, between, end:
        for one in (ours, end):
            one.setblocking(False)
        sender, receiver = Stream(ours, MOST), Stream(end, MOST)
        for frames in sent:
            sender.send(frames)
        pieces = iter(cuts * 1_000_000)
        while len(receiver.coming) < len(sent):
            sender.flush()
            between.sendall(theirs.recv(next(pieces)))
            while receiver.fill():
                pass
        assert [[bytes(f) for f in frames] for frames in receiver.coming] == sent


def test_who_connects_has_a_name_and_gets_answers(door, dial):
    one, other = dial(b"one"), dial(b"other")
    one.put([b"hello", b"", b"x"])
    assert take(door) == (b"one", [b"hello", b"", b"x"])
    other.put([b"hi"])
    assert take(door) == (b"other", [b"hi"])
    door.send_to(b"one", [b"a", b"b"])
    assert one.poll(5000)
    assert (one.first(), one.rest()) == (b"a", [b"b"])
    with pytest.raises(zmq.Again):
        other.first()
    with pytest.raises(zmq.ZMQError):
        door.send_to(b"nobody", [b"x"])


def test_what_does_not_go_at_once_goes_later_and_nobody_waits(door, dial):
    peer = dial()
    peer.put([b"here"])
    take(door)
    large = np.arange(4_000_000).view(np.uint8).data
    for _ in range(3):
        door.send_to(b"guest", [b"head", large])  # far more than a socket's buffer: returns at once
        peer.put([b"head", large])
    poll = select.poll()
    got, came = [], []
    while len(got) < 3 or len(came) < 3:
        poll.register(door.pollables[0], select.POLLIN)
        poll.register(peer.descriptors[0], select.POLLIN | (select.POLLOUT if peer.pending else 0))
        assert poll.poll(5000)
        peer.flush()
        if peer.readable():
            got.append((peer.first(), peer.rest()))
        try:
            name = door.first()
        except zmq.Again:
            continue
        came.append((name, door.rest()))
    for frames in (*(rest for _, rest in got), *(rest[1:] for _, rest in came)):
        assert np.array_equal(frames[0], np.frombuffer(large, np.uint8))
    got[0][1][0][0] = 7  # it is the receiver's own


def test_all_that_was_said_is_heard_before_the_end(door, dial):
    peer = dial()
    for k in range(5):
        peer.put([b"%d" % k, b""])
    peer.close()
    assert take(door)[1][0] == b"0"
    number = door.first() and door.first() and door.descriptor()
    assert not door.departures  # there is more to read
    for _ in range(3):
        take(door)
    assert gone(door) == [number]


def test_whoever_comes_back_takes_the_place_of_the_old_connection(door, dial):
    old = dial()
    old.put([b"old"])
    take(door)
    new = dial()
    new.put([b"new"])
    assert take(door) == (b"guest", [b"new"])
    assert len(gone(door)) == 1
    door.send_to(b"guest", [b"to the new one"])
    assert new.poll(5000)
    assert new.first() == b"to the new one"
    assert old.poll(5000)
    assert not old.readable()
    assert old.broken()
    with pytest.raises(zmq.Again):
        old.put([b"x"])
    with pytest.raises(EOFError):
        old.first()


def bare(door):
    """A connection that has said nothing yet."""
    place = door._listener.getsockname()
    stranger = socket.socket(socket.AF_UNIX if isinstance(place, str) else socket.AF_INET)
    stranger.settimeout(10)
    stranger.connect(place)
    return stranger


class Exhausted:
    """A listener that has no descriptor left, once."""

    def __init__(self, listener) -> None:
        self._listener = listener
        self._failed = False

    def accept(self):
        if not self._failed:
            self._failed = True
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener.accept()

    def __getattr__(self, name):
        return getattr(self._listener, name)


def test_who_comes_when_no_descriptor_is_left_is_turned_away(door, dial):
    door._listener = Exhausted(door._listener)
    with bare(door) as turned_away:
        with pytest.raises(zmq.Again):
            door.first()
        assert turned_away.recv(100) in (b"", GREETING)  # from elsewhere it is seen that somebody is there
        assert turned_away.recv(100) == b""
    dial(b"later").put([b"hello"])
    assert take(door) == (b"later", [b"hello"])


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 64,
        b"\0" * 64,
        struct.pack("<IQ", 1, 1 << 62),
        struct.pack("<I2Q", 2, 1 << 63, 1 << 63),
        struct.pack("<IQ", 1, 300) + b"n" * 300,  # too long for a name
        struct.pack("<I2Q", 2, 1, 1) + b"ab",
    ],
)
def test_garbage_ends_its_own_connection_and_no_other(door, dial, keys, garbage):
    peer = dial()
    peer.put([b"before"])
    take(door)
    with bare(door) if door.address.startswith("unix") else shaken(door, *keys) as stranger:
        stranger.send(garbage)
        assert len(gone(door)) == 1
        stranger.settimeout(10)
        assert stranger.recv(1) == b""
    peer.put([b"after"])
    assert take(door) == (b"guest", [b"after"])


@pytest.mark.parametrize("door", ["local"], indirect=True)
def test_an_end_that_blocks_waits_for_messages_and_sees_the_end(door, dial):
    peer = dial(blocking=True)
    peer.put([b"x" * LARGE, b"y"], wait=True)
    assert take(door) == (b"guest", [b"x" * LARGE, b"y"])
    later = threading.Timer(0.05, door.send_to, [b"guest", [b"head", b"rest"]])
    later.start()
    assert peer.first(wait=True) == b"head"
    assert peer.rest() == [b"rest"]
    later.join()
    threading.Timer(0.05, door.close).start()
    with pytest.raises(EOFError):
        peer.first(wait=True)


class Handled(Exception):
    """What a signal's handler raises."""


class Interrupted:
    """A connection during whose calls a signal comes: they have been done, and are not told of."""

    def __init__(self, connection, error) -> None:
        self._connection = connection
        self._error = error

    def sendmsg(self, *args):
        self._connection.sendmsg(*args)
        raise self._error

    def recv_into(self, room):
        self._connection.recv_into(room)
        raise self._error

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.mark.parametrize("error", [Handled(), TimeoutError("took too long")])
@pytest.mark.parametrize("where", ["sending", "receiving"])
def test_a_signal_in_the_middle_ends_the_connection_and_spoils_nothing(door, dial, where, error):
    peer = dial()
    peer.put([b"first"])
    take(door)
    large = os.urandom(10 * LARGE)
    if where == "sending":
        peer.connection = Interrupted(peer.connection, error)
        with pytest.raises(type(error)):
            peer.put([b"head", large])
    else:
        door.send_to(b"guest", [b"head", large])
        while peer._room is None:  # nothing of the large frame has come
            peer.fill()
        peer.connection = Interrupted(peer.connection, error)
        with pytest.raises(type(error)):
            peer.fill()
    assert not peer.readable()
    assert peer.broken()
    assert len(gone(door)) == 1  # and no message came before
    with pytest.raises(zmq.Again):
        peer.put([b"more"])


def test_after_an_error_nothing_follows_the_half_of_a_message(door, dial):
    peer = dial()
    peer.put([b"first"])
    take(door)
    peer.connection = Interrupted(peer.connection, OSError(errno.ENOBUFS, "No buffer space available"))
    peer.put([b"head", os.urandom(10 * LARGE)])
    assert len(gone(door)) == 1  # and no message came before
    peer.put([b"more"])
    assert not peer.pending


def test_a_slow_peer_does_not_prolong_a_close(door, dial):
    peer = dial()
    peer.put([b"hello"])
    take(door)
    door.send_to(b"guest", [bytes(20_000_000)])
    read = threading.Event()

    def slowly():
        while not read.wait(0.05):
            peer.fill()

    reader = threading.Thread(target=slowly)
    reader.start()
    began = time.monotonic()
    door.close(300)
    assert time.monotonic() - began < 2
    read.set()
    reader.join()


def test_many_small_frames_go_together(door, dial):
    peer = dial()
    frames = [b"x" * 100] * 700
    calls = []
    peer.connection = Counted(peer.connection, calls)
    peer.put(frames)
    assert take(door) == (b"guest", frames)
    assert len(calls) < 20


class Counted:
    """A connection that counts what it is asked to send."""

    def __init__(self, connection, calls) -> None:
        self._connection = connection
        self._calls = calls

    def sendmsg(self, *args):
        self._calls.append(args)
        return self._connection.sendmsg(*args)

    def __getattr__(self, name):
        return getattr(self._connection, name)
