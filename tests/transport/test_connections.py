"""Messages through sockets arrive whole and in order, with any peers and any ends of connections."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from mpidirect.transport import zeromq
from mpidirect.transport._stream import LARGE, MessageStream
from mpidirect.transport.base import Closed, Empty, Unreachable
from mpidirect.transport.curve import CLIENTS, Credentials, ZapAuthenticator, new_keys
from mpidirect.transport.unix import UnixConnection, UnixListener
from mpidirect.transport.zeromq import Dealer, Router

pytestmark = [pytest.mark.timeout(30), pytest.mark.openmpi_only]  # nothing here depends on the MPI

MOST = 1 << 30
LARGEST = 64 * 1024 * 1024


class Unix:
    """Both ends by Unix sockets."""

    def __init__(self, directory):
        self.listener = UnixListener(directory / "listener", LARGEST)

    def dial(self, name=b"peer", blocking=False):
        return UnixConnection(self.listener.address, name, MOST, blocking)

    def close(self):
        self.listener.close()


class Ipc:
    """Both ends by ZeroMQ, on one host."""

    credentials = None

    def __init__(self, directory):
        self.context = zmq.Context()
        self.address = f"ipc://{directory}/listener"
        self.listener = Router.bound(self.context, self.address, LARGEST, of_clients=True)

    def dial(self, name=b"peer"):
        return Dealer.of_client(self.context, self.address, name, self.credentials)

    def close(self):
        self.listener.close(0)
        self.context.destroy(0)


class Curve(Ipc):
    """Both ends by ZeroMQ, encrypted."""

    def __init__(self, directory):
        self.context = zmq.Context()
        server, mine = new_keys(), new_keys()
        self.credentials = Credentials(server.public, mine)
        self.authenticator = ZapAuthenticator(self.context, {CLIENTS: mine.public})
        self.over = threading.Event()
        self.answering = threading.Thread(target=self.answer)
        self.answering.start()
        bound = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
        self.listener = Router.listening(self.context, bound, server, CLIENTS, LARGEST, of_clients=True)

    def answer(self):
        while not self.over.is_set():
            if self.authenticator.socket.poll(20):
                self.authenticator.answer()
        self.authenticator.socket.close()

    def close(self):
        self.over.set()
        self.answering.join()
        super().close()


@pytest.fixture(params=[Unix, Ipc, Curve])
def ends(request, tmp_path):
    ends = request.param(tmp_path)
    yield ends
    ends.close()


@pytest.fixture
def listener(ends):
    return ends.listener


@pytest.fixture
def dial(ends):
    dialed = []

    def dial(*args, **kwargs):
        dialed.append(ends.dial(*args, **kwargs))
        return dialed[-1]

    yield dial
    for peer in dialed:
        peer.close(0)


by_unix_sockets = pytest.mark.parametrize("ends", [Unix], indirect=True)
by_zeromq = pytest.mark.parametrize("ends", [Ipc, Curve], indirect=True)


def take(listener, seconds=10):
    """Return the next message: name and frames; ended connections stay unread."""
    poll = select.poll()
    poll.register(listener.descriptors[0], select.POLLIN)
    while True:
        try:
            name = listener.first()
        except Empty:
            assert poll.poll(1000 * seconds), "nothing comes"
        else:
            return name, [bytes(frame) for frame in listener.rest()]


def gone(listener, seconds=10):
    """Wait until connections have ended; return their numbers."""
    poll = select.poll()
    poll.register(listener.descriptors[-1], select.POLLIN)
    while not (departed := listener.departed()):
        assert poll.poll(1000 * seconds), "none ends"
        if isinstance(listener, UnixListener):
            with pytest.raises(Empty):
                listener.first()
    return departed


def comes(peer, seconds=10):
    """Return the next message to the connecting end; None when the connection has ended."""
    poll = select.poll()
    for descriptor in getattr(peer, "descriptors", ()) or [peer.connection.fileno()]:
        poll.register(descriptor, select.POLLIN)
    while not peer.readable():
        if peer.ended if isinstance(peer, UnixConnection) else peer.ended():
            return None
        assert poll.poll(1000 * seconds), "nothing comes"
    return [peer.first(), *map(bytes, peer.rest())]


FRAMES = st.lists(
    st.one_of(st.binary(max_size=50), st.integers(LARGE - 2, LARGE + 2).map(bytes)), min_size=1, max_size=5
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.lists(FRAMES, min_size=1, max_size=5), st.lists(st.integers(1, 100_000), min_size=1, max_size=9))
def test_messages_in_any_pieces_arrive_whole(sent, cuts):
    size = sum(len(frame) for frames in sent for frame in frames)
    # cut into at most 2000 pieces, because each costs a system call
    assume(size < 2_000 * sum(cuts) / len(cuts))
    ours, theirs = socket.socketpair()
    between, end = socket.socketpair()
    with ours, theirs, between, end:
        for one in (ours, end):
            one.setblocking(False)
        sender, receiver = MessageStream(ours, MOST), MessageStream(end, MOST)
        for frames in sent:
            sender.send(frames)
        pieces = iter(cuts * 1_000_000)
        while len(receiver.coming) < len(sent):
            sender.flush()
            between.sendall(theirs.recv(next(pieces)))
            while receiver.fill():
                pass
        assert [[bytes(f) for f in frames] for frames in receiver.coming] == sent


def test_a_connection_has_a_name_and_gets_replies(listener, dial):
    one, other = dial(b"one"), dial(b"other")
    one.put([b"hello", b"", b"x"])
    assert take(listener) == (b"one", [b"hello", b"", b"x"])
    other.put([b"hi"])
    assert take(listener) == (b"other", [b"hi"])
    listener.send_to(b"one", [b"a", b"b"])
    assert comes(one) == [b"a", b"b"]
    with pytest.raises(Empty):
        other.first()
    with pytest.raises(Unreachable):
        listener.send_to(b"nobody", [b"x"])
    listener.send_to(b"other", [b"a refused message is no part of the next one"])
    assert comes(other) == [b"a refused message is no part of the next one"]


def test_large_messages_arrive_whole_and_in_order(listener, dial):
    peer = dial()
    peer.put([b"here"])
    take(listener)
    large = np.arange(4_000_000).view(np.uint8).data
    for k in range(3):
        # much more than a socket's buffer, but the call returns at once
        listener.send_to(b"peer", [b"%d" % k, large])
    sending = threading.Thread(target=lambda: [peer.put([b"%d" % k, large]) for k in range(3)])
    sending.start()
    if isinstance(peer, UnixConnection):
        sending.join()  # the socket now belongs to no other thread
    got, came = [], []
    deadline = time.monotonic() + 20
    while len(got) < 3 or len(came) < 3:
        assert time.monotonic() < deadline
        if not sending.is_alive() and len(got) < 3:
            if isinstance(peer, UnixConnection):
                peer.flush()
            if peer.readable():
                got.append([peer.first(), *peer.rest()])
        try:
            listener.first()
        except Empty:
            time.sleep(0.001)
        else:
            came.append([listener.first(), *listener.rest(copied=False)])
    for k, frames in (*enumerate(got), *enumerate(came)):
        assert frames[0] == b"%d" % k
        assert np.array_equal(np.frombuffer(frames[1], np.uint8), np.frombuffer(large, np.uint8))


def test_the_number_identifies_an_ended_connection(listener, dial):
    one, other = dial(b"one"), dial(b"other")
    numbers = {}
    for name, peer in ((b"one", one), (b"other", other)):
        peer.put([name, b""])
        while True:
            try:
                assert listener.first() == name
                break
            except Empty:
                time.sleep(0.001)
        listener.first()
        numbers[name] = listener.number()
    other.close(0)
    assert gone(listener) == [numbers[b"other"]]
    one.put([b"still here"])
    assert take(listener) == (b"one", [b"still here"])


@by_unix_sockets
def test_all_messages_arrive_before_the_end_is_reported(listener, dial):
    peer = dial()
    for k in range(5):
        peer.put([b"%d" % k, b""])
    peer.close()
    assert take(listener)[1][0] == b"0"
    number = listener.first() and listener.first() and listener.number()
    assert not listener.departures  # there is more to read
    for _ in range(3):
        take(listener)
    assert gone(listener) == [number]


def test_a_new_connection_replaces_the_old_one_of_its_name(listener, dial):
    old = dial()
    old.put([b"old"])
    take(listener)
    new = dial()
    new.put([b"new"])
    assert take(listener) == (b"peer", [b"new"])
    listener.send_to(b"peer", [b"to the new one"])
    assert comes(new) == [b"to the new one"]
    if isinstance(listener, UnixListener):  # with ZeroMQ, the other side closes the old one
        assert comes(old) is None
        with pytest.raises(Closed):
            old.first()
    old.close(0)
    assert len(gone(listener)) == 1
    listener.send_to(b"peer", [b"still"])
    assert comes(new) == [b"still"]


@by_zeromq
def test_the_end_of_a_connection_is_reported_at_once(listener, dial):
    peer = dial()
    peer.put([b"hello"])
    take(listener)
    listener.close(0)
    assert comes(peer) is None


# A client takes over its name with a second connection while the first one still sends. Then the first ends.
TAKEOVER = """
import sys, zmq
from mpidirect.transport import zeromq
zeromq.HEARTBEAT, zeromq.SILENCE = 0.1, 5.0
address, large = sys.argv[1], bytes(1_000_000)
contexts = [zmq.Context() for _ in range(3)]
router = zeromq.Router.bound(contexts[0], address, of_clients=True)
first = zeromq.Dealer.of_client(contexts[1], address, b"peer", None)
first.put([b"first"])
assert router.recv_multipart() == [b"peer", b"first"]
for _ in range(50):
    first.put([b"more", large])
second = zeromq.Dealer.of_client(contexts[2], address, b"peer", None)
second.put([b"second"])
while router.recv_multipart()[1] != b"second":
    pass
for _ in range(50):
    first.put([b"more", large])
while router.poll(300):
    router.recv_multipart()
first.close(0)
contexts[1].destroy(0)
assert not router.poll(1000)  # ten heartbeats
second.put([b"again"])
print(router.recv_multipart())
second.close(0)
router.close(0)
"""


def test_a_replaced_connection_that_ends_does_not_abort_the_process(tmp_path):
    command = [sys.executable, "-c", TAKEOVER, f"ipc://{tmp_path}/listener"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[b'peer', b'again']\n", done.stderr


@by_zeromq
def test_a_frozen_peer_is_given_up(ends, dial, monkeypatch):
    monkeypatch.setattr(zeromq, "HEARTBEAT", 0.1)
    monkeypatch.setattr(zeromq, "SILENCE", 0.3)
    with Between(ends.address) as between:
        peer = Dealer.of_client(ends.context, between.address, b"peer", ends.credentials)
        try:
            peer.put([b"hello"])
            assert take(ends.listener) == (b"peer", [b"hello"])
            between.stall()
            assert comes(peer) is None
        finally:
            peer.close(0)


class Between:
    """A proxy in front of an address that stops forwarding on request."""

    def __init__(self, address):
        self.target = address.removeprefix("ipc://").removeprefix("tcp://127.0.0.1:")
        self.bound = socket.create_server(("127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{self.bound.getsockname()[1]}"
        self.forwards = True
        self.thread = threading.Thread(target=self.forward)
        self.thread.start()

    def forward(self):
        near, _ = self.bound.accept()
        if self.target.isdigit():
            far = socket.create_connection(("127.0.0.1", int(self.target)))
        else:
            far = socket.socket(socket.AF_UNIX)
            far.connect(self.target)
        with near, far:
            while self.forwards:
                for one in select.select([near, far], [], [], 0.01)[0]:
                    if data := one.recv(1 << 16):
                        (far if one is near else near).sendall(data)
            while select.select([near], [], [], 5)[0] and near.recv(1 << 16):
                pass

    def stall(self):
        self.forwards = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stall()
        self.thread.join()
        self.bound.close()


class Handled(Exception):
    """The exception of a signal's handler."""


@by_zeromq
@pytest.mark.parametrize("error", [Handled(), TimeoutError("took too long")])
def test_a_signal_during_a_message_keeps_the_other_messages(listener, dial, error):
    peer = dial()
    peer.put([b"first"])
    take(listener)

    class Raises:
        """A frame during which a signal arrives."""

        def __len__(self):
            raise error

    with pytest.raises(type(error)):
        peer.put([b"half", Raises()])
    assert peer.ended()
    peer.close(1000)
    assert len(gone(listener)) == 1
    with pytest.raises(Empty):  # nothing of the message has arrived
        listener.first()


def bare(listener):
    """A connection that has sent nothing yet."""
    stranger = socket.socket(socket.AF_UNIX)
    stranger.settimeout(10)
    stranger.connect(listener._listener.getsockname())
    return stranger


class Exhausted:
    """A listener that once has no free descriptor."""

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


@by_unix_sockets
def test_a_connection_without_a_free_descriptor_is_refused(listener, dial):
    listener._listener = Exhausted(listener._listener)
    with bare(listener) as turned_away:
        with pytest.raises(Empty):
            listener.first()
        assert turned_away.recv(100) == b""
    dial(b"later").put([b"hello"])
    assert take(listener) == (b"later", [b"hello"])


@by_unix_sockets
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
def test_garbage_ends_only_its_own_connection(listener, dial, garbage):
    peer = dial()
    peer.put([b"before"])
    take(listener)
    with bare(listener) as stranger:
        stranger.send(garbage)
        assert len(gone(listener)) == 1
        stranger.settimeout(10)
        assert stranger.recv(1) == b""
    peer.put([b"after"])
    assert take(listener) == (b"peer", [b"after"])


@by_unix_sockets
def test_a_blocking_connection_waits_and_sees_the_end(listener, dial):
    peer = dial(blocking=True)
    peer.put([b"x" * LARGE, b"y"], wait=True)
    assert take(listener) == (b"peer", [b"x" * LARGE, b"y"])
    later = threading.Timer(0.05, listener.send_to, [b"peer", [b"head", b"rest"]])
    later.start()
    assert peer.first(wait=True) == b"head"
    assert peer.rest() == [b"rest"]
    later.join()
    threading.Timer(0.05, listener.close).start()
    with pytest.raises(Closed):
        peer.first(wait=True)


class Interrupted:
    """A connection in whose system calls a signal arrives: the calls have succeeded, but raise an error."""

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


@by_unix_sockets
@pytest.mark.parametrize("error", [Handled(), TimeoutError("took too long")])
@pytest.mark.parametrize("where", ["sending", "receiving"])
def test_a_signal_during_a_system_call_ends_only_the_connection(listener, dial, where, error):
    peer = dial()
    peer.put([b"first"])
    take(listener)
    large = os.urandom(10 * LARGE)
    if where == "sending":
        peer.connection = Interrupted(peer.connection, error)
        with pytest.raises(type(error)):
            peer.put([b"head", large])
    else:
        listener.send_to(b"peer", [b"head", large])
        while peer._missing is None:  # nothing of the large frame has arrived
            peer.fill()
        peer.connection = Interrupted(peer.connection, error)
        with pytest.raises(type(error)):
            peer.fill()
    assert not peer.readable()
    assert peer.ended
    assert len(gone(listener)) == 1  # and no message has arrived before
    with pytest.raises(Closed):
        peer.put([b"more"])


@by_unix_sockets
def test_nothing_follows_an_incomplete_message(listener, dial):
    peer = dial()
    peer.put([b"first"])
    take(listener)
    peer.connection = Interrupted(peer.connection, OSError(errno.ENOBUFS, "No buffer space available"))
    peer.put([b"head", os.urandom(10 * LARGE)])
    assert len(gone(listener)) == 1  # and no message has arrived before
    peer.put([b"more"])
    assert not peer.pending


@by_unix_sockets
def test_a_slow_peer_does_not_delay_a_close(listener, dial):
    peer = dial()
    peer.put([b"hello"])
    take(listener)
    listener.send_to(b"peer", [bytes(20_000_000)])
    read = threading.Event()

    def slowly():
        while not read.wait(0.05):
            peer.fill()

    reader = threading.Thread(target=slowly)
    reader.start()
    began = time.monotonic()
    listener.close(300)
    assert time.monotonic() - began < 10
    read.set()
    reader.join()


@by_unix_sockets
def test_many_small_frames_are_sent_together(listener, dial):
    peer = dial()
    frames = [b"x" * 100] * 700
    calls = []
    peer.connection = Counted(peer.connection, calls)
    peer.put(frames)
    assert take(listener) == (b"peer", frames)
    assert len(calls) < 20


class Counted:
    """A connection that counts its system calls."""

    def __init__(self, connection, calls) -> None:
        self._connection = connection
        self._calls = calls

    def sendmsg(self, *args):
        self._calls.append(args)
        return self._connection.sendmsg(*args)

    def __getattr__(self, name):
        return getattr(self._connection, name)
