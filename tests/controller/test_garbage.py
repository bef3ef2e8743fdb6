"""Garbage as input causes no crash, no leak and no wrong answer, and is logged."""

from __future__ import annotations

import logging
import os
import platform
import random
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import psutil
import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.simulated import SimulatedClient, SimulatedListener, Simulation
from mpidirect import Client, Cluster, errors
from mpidirect.client.connection import connection as _connection
from mpidirect.client.connection import dialer
from mpidirect.files import connection_file
from mpidirect.protocol import messages
from mpidirect.transport.zeromq import Dealer
from tests.proxy import Proxy

pytestmark = [pytest.mark.timeout(60), pytest.mark.openmpi_only]  # nothing here depends on the MPI

QUICK = settings(
    max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)

NUMBERS = st.one_of(st.integers(-2, 5), st.integers(-(2**63), 2**64 - 1))
TEXTS = st.one_of(st.sampled_from(["client-1", "client-2", "garbler-1", "abort", ""]), st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), TEXTS, st.binary(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
SIZES = st.lists(st.one_of(st.integers(0, 20), NUMBERS), max_size=4)
TARGETS = st.lists(st.one_of(st.integers(0, 2), NUMBERS), max_size=4)
WHATS = st.one_of(
    st.sampled_from(
        [
            *("queue_status", "abort", "signal", "interrupt", "where", "usage", "history", "recall"),
            *("debugger", "shutdown?", "nothing"),
        ]
    ),
    TEXTS,
)

FROM_CLIENTS = st.one_of(
    st.builds(messages.Hello, NUMBERS, TEXTS, TEXTS, NUMBERS, st.booleans()),
    st.builds(
        messages.Request,
        NUMBERS,
        NUMBERS,
        TEXTS,
        TARGETS,
        TEXTS,
        TEXTS,
        SIZES,
        st.lists(SIZES, max_size=3),
        st.lists(NUMBERS, max_size=3),
    ),
    st.builds(messages.Chunk, NUMBERS, NUMBERS),
    st.builds(messages.Query, NUMBERS, NUMBERS, TEXTS, WHATS, TARGETS, VALUES),
    st.builds(messages.Release, NUMBERS, NUMBERS, TEXTS, NUMBERS),
    st.builds(messages.Ack, NUMBERS),
    st.builds(messages.Goodbye, NUMBERS),
).map(messages.encode)

REPLIES = st.builds(
    messages.Reply,
    TEXTS,
    NUMBERS,
    st.sampled_from(["ok", "error", "aborted", "?"]),
    SIZES,
    st.floats(),
    st.floats(),
    failure=st.one_of(st.none(), st.builds(messages.Failure, TEXTS, TEXTS, TEXTS)),
)
ENGINES = st.lists(st.builds(messages.EngineInfo, NUMBERS, TEXTS, NUMBERS), max_size=3)
FROM_CONTROLLERS = st.one_of(
    st.builds(messages.Results, NUMBERS, NUMBERS, st.lists(REPLIES, max_size=3)),
    st.builds(messages.Chunk, NUMBERS, NUMBERS),
    st.builds(messages.Answer, NUMBERS, NUMBERS, TEXTS, VALUES, TEXTS),
    st.builds(messages.DataRead, NUMBERS, NUMBERS, TEXTS),
    st.builds(messages.DataMoving, NUMBERS, NUMBERS, TEXTS, NUMBERS, NUMBERS),
    st.builds(messages.ResultSize, NUMBERS, NUMBERS, TEXTS, NUMBERS),
    st.builds(messages.DebuggerPrompt, NUMBERS, NUMBERS, TEXTS, NUMBERS, NUMBERS, TEXTS, TEXTS, TEXTS),
    st.builds(messages.ResultMoved, NUMBERS, NUMBERS, TEXTS, NUMBERS, st.lists(NUMBERS, max_size=3)),
    st.builds(messages.EnginesChanged, NUMBERS, NUMBERS, ENGINES, st.dictionaries(st.integers(0, 3), TEXTS)),
    st.builds(messages.Ack, NUMBERS),
).map(messages.encode)


def mutated(encoded):
    """Return similar bytes: some changed, missing or doubled."""

    @st.composite
    def change(draw):
        data = bytearray(draw(encoded))
        for _ in range(draw(st.integers(1, 4))):
            where = draw(st.integers(0, max(0, len(data) - 1)))
            data[where : where + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
        return bytes(data)

    return change()


def frames_of(encoded):
    """Generate messages: a header, valid or not, and frames."""
    header = st.one_of(encoded, mutated(encoded), st.binary(max_size=40))
    return st.tuples(header, st.lists(st.binary(max_size=20), max_size=3))


class Garbler(SimulatedClient):
    """A second client's socket, with any messages."""

    name = b"garbler"


@QUICK
@given(st.lists(frames_of(FROM_CLIENTS), min_size=1, max_size=12), st.booleans())
def test_the_controller_survives_any_messages_of_clients(said, greets):
    logging.disable(logging.CRITICAL)
    try:
        simulation = Simulation(2)  # the real controller on a simulated transport
        controller, garbler = simulation.controller, Garbler()
        if greets:
            said = [(messages.encode(messages.Hello(messages.PROTOCOL, "", "3")), []), *said]
        for header, frames in said:
            garbler.say(header, frames)
            controller.clients.receive(garbler, garbler.first())  # no exception
            assert not garbler.rest()
            simulation.link.coming.clear()  # engines never reply to these requests
        assert len(controller.clients.sessions) <= 2
        for engine in controller.scheduler.engines.values():  # now the engines reply
            for task in list(engine.sent):
                controller.results.fail(controller.scheduler.done(engine.id, task), engine.id, "E", "")
            engine.queue.clear()
        simulation.request("apply", [10], [10])
        replies = 0
        for _ in range(simulation.turns):
            simulation.turn()
            replies += simulation.client.take()
        assert replies == 2  # another client is served as usual
    finally:
        logging.disable(logging.NOTSET)


class FakeSocket(SimulatedListener):
    """Replaces the client's socket: gives it messages, and takes the messages that it sends."""

    def put(self, frames, wait=False):
        pass

    def ended(self):
        return False

    def close(self, linger=0):
        pass


class FakeDialer(dialer.Dialer):
    """A dialer without a controller."""

    def dial(self, timeout):
        engines = [messages.EngineInfo(k, "host", 1) for k in range(2)]
        python = platform.python_version()
        welcome = messages.Welcome(messages.PROTOCOL, "", python, "c", 2, engines, 0, False)
        return dialer.Link(FakeSocket(), welcome)


@QUICK
@given(st.lists(frames_of(FROM_CONTROLLERS), min_size=1, max_size=8), st.booleans())
def test_a_client_survives_any_messages(said, in_order):
    info = connection_file.from_mapping(
        dict.fromkeys(("cluster", "server_key", "client_key", "client_secret", "host"), "")
        | {"addresses": []}
    )
    logging.disable(logging.CRITICAL)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_connection, "Dialer", FakeDialer)
            patch.setattr(_connection.Connection, "_read_while_idle", lambda self: None)
            patch.setattr(_connection.Connection, "_reconnect", lambda self: None)
            client = Client(info)
        connection = client._session.connection
        result = client[:].apply_async(int)
        link = connection._link
        for number, (header, frames) in enumerate(said, 1):
            if in_order:  # otherwise most messages are skipped, because their numbers are wrong
                header = _numbered(header, number)
            link.socket.coming.append([header, *frames])
        with connection.lock:
            connection._read_available()  # no exception
        assert connection.error is None or isinstance(connection.error, errors.MPIDirectError)
        if result.ready():
            assert connection.error is not None or {0, 1} <= result._calls[0].replies.keys()
        client.close()
        assert result.ready()
    finally:
        logging.disable(logging.NOTSET)


def _numbered(header, number):
    try:
        message = messages.decode_from_controller(header)
    except messages.MalformedMessage:
        return header
    if isinstance(message, messages.Numbered):
        message.seq = number
    return messages.encode(message)


# -- real clusters ------------------------------------------------------------------------------------


def real_traffic():
    """Return messages of real clients."""
    hello = messages.Hello(messages.PROTOCOL, "0", "3")
    return [
        [messages.encode(hello)],
        [messages.encode(messages.Request(1, 0, "x-1", [0, 1], "apply", "apply", [5])), b"12345"],
        [messages.encode(messages.Query(2, 0, "q1", "queue_status", [0, 1]))],
        [messages.encode(messages.Request(3, 0, "x-2", [0], "pull", "pull", [70_000]))],
        [messages.encode(messages.Chunk(4, 0)), bytes(70_000)],
        [messages.encode(messages.Release(5, 0, "x-1", 0))],
        [messages.encode(messages.Ack(3))],
        [messages.encode(messages.Goodbye(3))],
    ]


def test_mutated_traffic_at_a_real_controller(cluster, rc):
    info = connection_file.read(cluster.connection_file)
    log = Path(cluster.connection_file).parent / "logs" / info.cluster / "controller.log"
    controller = psutil.Process(info.pid)
    source = random.Random(5)
    context = zmq.Context()

    def burst(count):
        for n in range(count):
            dealer = Dealer.of_client(context, info.addresses[0], os.urandom(5), None)
            for frames in real_traffic():
                frames = list(frames)
                for _ in range(source.choice([0, 0, 1, 3])):
                    k = source.randrange(len(frames))
                    data = bytearray(frames[k] or b"-")
                    data[source.randrange(len(data))] = source.randrange(256)
                    frames[k] = bytes(data)
                if source.random() < 0.1:
                    frames.append(os.urandom(source.randrange(1, 100)))
                dealer.put(frames)
            dealer.close(1000)
            if n % 20 == 0:
                assert rc[:].apply_sync(lambda: 5) == [5] * len(rc)

    burst(200)
    before = controller.memory_info().rss
    files = controller.num_fds()
    burst(600)
    context.destroy()
    assert rc[:].apply_async(lambda: 5).get(30) == [5] * len(rc)
    assert controller.memory_info().rss - before < 20e6
    assert controller.num_fds() - files < 20
    text = log.read_text()
    assert "dropped a malformed message" in text and "broke the protocol" in text
    assert "Traceback" not in text


def test_bytes_that_flip_on_the_way_change_no_result(cluster, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    source = random.Random(7)

    def flip(data):
        if source.random() < 0.01:
            data = bytearray(data)
            data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        return bytes(data)

    with Proxy(cluster.connection_file) as proxy, Client(proxy.info) as client:
        proxy.mutate(flip)
        results = [(k, client[k % 4].apply_async(np.full, 10_000 * (k % 3), k)) for k in range(200)]
        for k, result in results:
            assert np.array_equal(result.get(40), np.full(10_000 * (k % 3), k))


# -- versions ---------------------------------------------------------------------------------------------


def test_another_protocol_version_raises_a_clear_error(cluster, monkeypatch):
    monkeypatch.setattr(messages, "PROTOCOL", 999)
    with pytest.raises(errors.VersionMismatch, match=r"the cluster has mpidirect .*, this client .*999"):
        Client(str(cluster.connection_file))


def test_another_python_version_is_reported(cluster, monkeypatch):
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.1")
    with pytest.warns(UserWarning, match=r"this client runs Python 3\.99\.1, the engines"):
        client = Client(str(cluster.connection_file))
    with client, pytest.raises(errors.RemoteError, match=r"Python 3\.99\.1"):
        client[0].apply_sync(lambda: 1 / 0)


def test_the_same_python_version_is_not_reported(cluster):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Client(str(cluster.connection_file)).close()


# -- at the prompt -------------------------------------------------------------------------------------------


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda rc: rc[99], IndexError, "No such engine: 99. The engines are 0-3"),
        (lambda rc: rc[[0, 0]], ValueError, "repeat"),
        (lambda rc: rc[9:].apply_sync(int), errors.NoEnginesRegistered, "no engines"),
        (lambda rc: rc[:].apply_sync(lambda: LOCK), errors.SerializationError, "lock"),
        (lambda rc: rc[:].push({"lock": LOCK}), errors.SerializationError, "lock"),
        (lambda rc: rc[:].scatter("a", 5), TypeError, "sequence"),
        (lambda rc: rc[:].scatter("a", None), TypeError, "sequence"),
        (lambda rc: rc[:].push(5), TypeError, "dict"),
        (lambda rc: rc[:].push({"1a": 5}), ValueError, "1a"),
        (lambda rc: rc[:].apply_sync(5), TypeError, "can't be called"),
        (lambda rc: rc[:].execute(5), TypeError, "string"),
        (lambda rc: rc.send_signal("NOPE", 0), ValueError, "NOPE"),
        (lambda rc: rc.send_signal(9999, 0), errors.MPIDirectError, "9999"),
        (lambda rc: rc[:].apply_sync(lambda: __import__("threading").Lock()), errors.CompositeError, "lock"),
        (lambda rc: Cluster(n=0).start(), errors.ConfigError, "at least 1"),
        (lambda rc: Cluster(n=1, profile="a/b").start(), errors.ConfigError, "a/b"),
        (lambda rc: Client(profile="../a"), errors.ConfigError, "../a"),
    ],
)
def test_invalid_calls_raise_and_change_nothing(rc, call, error, says):
    before = rc[:].pull("sorted(globals())", block=True)
    with pytest.raises(error, match=says.replace(".", r"\.")):
        call(rc)
    assert rc.ids == [0, 1, 2, 3]
    assert rc[:].pull("sorted(globals())", block=True) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
@pytest.mark.parametrize(("options", "says"), [("ro", "Read-only"), ("size=16k", "No space left")])
def test_a_home_that_can_not_be_written_to(tmp_path, options, says):
    place = tmp_path / "home"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"{options},mode=700", "tmpfs", str(place)]
    if subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        if options != "ro":
            (place / "profile").mkdir(mode=0o700)
            with pytest.raises(OSError, match="No space left"):
                (place / "full").write_bytes(bytes(1 << 20))
        done = subprocess.run(
            [sys.executable, "-m", "mpidirect", "start", "-n", "1"],
            env={**os.environ, "MPIDIRECT_DIR": str(place / "profile")},
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
        text = done.stderr.decode()
        assert done.returncode == 1 and text.startswith("Error: ") and says in text
        assert text.count("\n") == 1
    finally:
        subprocess.run(["umount", str(place)], check=False)
