"""After a break of the connection, no result is lost or repeated."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import zmq

from mpidirect import Client, Cluster, errors
from mpidirect.client.connection import bulk_frames, reconnect
from mpidirect.files import connection_file
from mpidirect.protocol import messages
from mpidirect.transport import zeromq
from mpidirect.transport.curve import CLIENTS, new_keys
from mpidirect.transport.zeromq import Dealer, Router
from tests.proxy import Proxy, at_random

pytestmark = [pytest.mark.timeout(60), pytest.mark.openmpi_only]  # nothing here depends on the MPI


@pytest.fixture
def proxy(cluster):
    with Proxy(cluster.connection_file) as proxy:
        yield proxy


@pytest.fixture
def far(proxy, monkeypatch):
    """A client behind the proxy, which can't read the engines' memory."""
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    client = Client(proxy.info)
    yield client
    client.close()


def test_tasks_over_a_connection_that_is_cut_at_random_points(cluster, rc, monkeypatch):
    seed = 1
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    rc[:].execute("counts = {}", block=True)

    def counted(key, size, data):
        import numpy

        from __main__ import counts

        counts[key] = counts.get(key, 0) + 1
        return key, numpy.full(size, key), int(data.mean())

    source = np.random.default_rng(seed)
    with Proxy(cluster.connection_file, at_random(seed, 4_000, 3_000_000)) as proxy:
        with Client(proxy.info, timeout=20) as client:
            views = [client[k] for k in client.ids]
            sent = []
            for key in range(200):
                # small results, results in chunks, and requests with data
                size = int(source.choice([1, 100, 20_000]))
                data = np.full(int(source.choice([1, 10, 12_000])), key)
                view = views[key % len(views)]
                sent.append((key, size, view.apply_async(counted, key, size, data)))
            for key, size, result in sent:
                got, array, total = result.get(timeout=40)
                assert (got, array.shape, array[0], total) == (key, (size,), key, key)
        assert proxy.cuts >= 5
    counts = {}
    for engine_counts in rc[:].pull("counts", block=True):
        counts.update(engine_counts)
    assert counts == dict.fromkeys(range(200), 1)


def test_results_arrive_after_an_outage_of_the_network(far, proxy):
    results = [view.apply_async(lambda: (time.sleep(0.2), rank)[1]) for view in far]  # noqa: F821
    assert far[:].apply_sync(int) == [0] * len(far)
    proxy.down()
    with pytest.raises(errors.TimeoutError):
        far[:].apply_async(int).get(timeout=0.5)  # a timeout of a call still applies
    late = far[0].apply_async(lambda: "late")  # a call that is made during the outage waits
    proxy.up()
    assert [result.get(20) for result in results] == far.ids
    assert late.get(20) == "late"
    assert "connected" in repr(far)


def test_a_long_outage_is_reported_once(far, proxy, monkeypatch):
    monkeypatch.setattr(reconnect, "NOTICE_DELAY", 0.0)
    monkeypatch.setattr(reconnect, "PAUSES", (0.01, 0.05))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        proxy.down()
        with pytest.raises(errors.TimeoutError):
            far[0].apply_async(int).get(timeout=1)
        proxy.up()
        assert far[0].apply_async(int).get(20) == 0
    assert [w.category for w in caught] == [reconnect.ConnectionWarning]
    assert "trying to reconnect" in str(caught[0].message)


def test_ctrl_c_gives_the_prompt_back_while_the_network_is_down(far, proxy):
    proxy.down()
    threading.Timer(0.3, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        far[0].apply_async(int).get()
    proxy.up()


def test_an_unreachable_controller_is_given_up(proxy, rc, monkeypatch):
    monkeypatch.setattr(reconnect, "PAUSES", (0.01, 0.05))
    with Client(proxy.info, patience=0.5) as client:
        waiting = client[0].apply_async(time.sleep, 1)
        client.queue_status()
        proxy.down()
        with pytest.raises(errors.MPIDirectError, match="it has not answered for"):
            waiting.get(20)
        with pytest.raises(errors.ControllerLost):
            client[:].apply_sync(int)
        id = client.history[-1]
    assert rc.get_result(id).get(20) is None  # the cluster has continued without the client
    assert id not in rc.hub_history()


def test_bulk_data_in_both_directions_over_cuts(cluster, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    array = np.arange(4_000_000)
    with Proxy(cluster.connection_file, at_random(3, 10_000_000, 60_000_000)) as proxy:
        with Client(proxy.info) as client:
            for _ in range(3):
                client[:].push({"array": array}, block=True)
                for back in client[:2].pull("array", block=True):
                    assert np.array_equal(back, array)
        assert proxy.cuts >= 2


def test_results_in_an_engines_memory_survive_a_reconnect(cluster, proxy):
    with Client(proxy.info) as client:
        if not client._session.connection.direct:
            pytest.skip("no direct memory here")
        result = client[0].apply_async(lambda: (time.sleep(0.3), np.arange(1_000_000))[1])
        client[0].queue_status()
        proxy.cut()
        assert np.array_equal(result.get(20), np.arange(1_000_000))


LEAVE = """
import os, sys, time
from mpidirect import Client
rc = Client(sys.argv[1])
import numpy
ar = rc[:2].apply_async(lambda: (time.sleep(0.3), numpy.arange(int(sys.argv[2])))[1])
rc.queue_status()
print(ar.msg_ids[0].partition(":")[0], flush=True)
os._exit(0) if sys.argv[3] == "killed" else rc.close()
"""


@pytest.mark.parametrize(
    ("how", "size", "direct"),
    [("killed", 10, "0"), ("closed", 300_000, "0"), ("killed", 300_000, "1"), ("closed", 10, "1")],
)
def test_another_process_recalls_the_results_of_a_closed_client(cluster, rc, how, size, direct):
    script = LEAVE.replace("int(sys.argv[2])", str(size))
    left = subprocess.run(
        [sys.executable, "-c", script, str(cluster.connection_file), "", how],
        env={**os.environ, "MPIDIRECT_DIRECT_MEMORY": direct},
        stdout=subprocess.PIPE,
        timeout=30,
        check=True,
    )
    id = left.stdout.decode().strip()
    with Client(str(cluster.connection_file)) as client:  # while the call runs
        assert id in client.hub_history()
        assert client.history == []  # as in ipyparallel: only calls of this client, index 0 is the first
        for value in client.get_result(id).get(20):
            assert np.array_equal(value, np.arange(size))
    with Client(str(cluster.connection_file)) as client:  # and after the call has ended
        for value in client.get_result(id).get(20):
            assert np.array_equal(value, np.arange(size))


def test_an_unknown_result_raises(rc):
    with pytest.raises(errors.ResultExpired):
        rc.get_result("0123456789abcdef-1")


def test_delivered_results_are_not_in_the_hub_history(cluster, rc):
    with Client(str(cluster.connection_file)) as client:
        result = client[:].apply_async(int)
        result.get()
        id = client.history[-1]
    with Client(str(cluster.connection_file)) as other:
        assert id not in other.hub_history()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_dead_controller_is_distinguished_from_an_outage(tmp_path, monkeypatch, how):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    cluster = Cluster(n=1)
    cluster.start()
    try:
        path = cluster.wait().connection_file
        with Proxy(path) as proxy, Client(str(path)) as near, Client(proxy.info) as far:
            waiting = [client[0].apply_async(time.sleep, 60) for client in (near, far)]
            near.queue_status()
            if how == "killed":
                os.kill(near.facts["pid"], signal.SIGKILL)
            else:
                cluster.stop()
            began = time.monotonic()
            for client, result in zip((near, far), waiting, strict=True):
                with pytest.raises(errors.MPIDirectError, match="gone"):
                    result.get(20)
                with pytest.raises(errors.ControllerLost):
                    client[0].apply_sync(int)
            assert time.monotonic() - began < 20  # includes the answer of the scheduler
    finally:
        cluster.stop()


def test_a_forgotten_client_begins_anew(far, proxy, rc):
    assert far[0].apply_sync(int) == 0
    proxy.down()
    late = far[0].apply_async(lambda: "never sent")
    with zmq.Context() as context:
        impostor = Dealer.of_client(
            context, rc._session.info.addresses[0], far._session.connection.name.encode(), None
        )
        impostor.put([messages.encode(messages.Goodbye(10**6))])  # in the name of that client
        impostor.close(1000)
    rc.queue_status()
    proxy.up()
    with pytest.raises(errors.ResultExpired):
        late.get(20)
    assert far[:].apply_async(lambda: 5).get(20) == [5] * 4


@pytest.fixture
def impatient(monkeypatch):
    """Clients that soon notice that no controller answers."""
    monkeypatch.setattr(zeromq, "HEARTBEAT", 0.2)
    monkeypatch.setattr(zeromq, "SILENCE", 0.4)


def test_a_stalled_connection_is_replaced(proxy, rc, impatient, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    rc[:].execute("import time", block=True)
    with Client(proxy.info) as far:
        later = far[:].apply_async(lambda: time.sleep(0.3))
        proxy.stall()  # no end of the connection is closed
        later.get(20)
        assert far[:].apply_sync(lambda: 1) == [1] * len(rc)


def test_a_frozen_controller_loses_nothing(cluster, rc, impatient):
    with Client(cluster.connection_file) as client:
        link = client._session.connection._link
        os.kill(client.facts["pid"], signal.SIGSTOP)
        try:
            later = client[:].apply_async(lambda: 7)
            while client._session.connection._link is link:
                assert not later.wait(0.05)
        finally:
            os.kill(client.facts["pid"], signal.SIGCONT)
        assert later.get(30) == [7] * len(rc)


def test_a_long_outage_does_not_end_the_client(proxy, impatient):
    with Client(proxy.info) as far:
        link = far._session.connection._link
        far[:].apply_async(lambda: __import__("time").sleep(2)).get(20)
        assert far._session.connection._link is link


def test_another_cluster_at_the_address_does_not_end_the_client_at_once(far, proxy, monkeypatch):
    with another_cluster() as other:
        monkeypatch.setattr(reconnect, "REFUSAL_LIMIT", 3.0)
        there = proxy._target
        proxy._target = other
        proxy.cut()
        later = far[:].apply_async(lambda: 7)
        assert not later.wait(1)
        proxy._target = there
        assert later.get(20) == [7] * len(far)
        proxy._target = other
        proxy.cut()
        with pytest.raises(errors.ControllerLost, match="another cluster is in its"):
            far[:].apply_async(lambda: 7).get(20)


@contextlib.contextmanager
def another_cluster():
    """The address of a listener with other keys."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    with zmq.Context() as context:
        router = Router.listening(context, listener, new_keys(), CLIENTS)
        yield address
        router.close(0)


@pytest.mark.parametrize("when", ["putting", "dialing"])
def test_an_interrupt_at_any_moment_costs_only_its_call(far, proxy, monkeypatch, when):
    connection = far._session.connection
    with monkeypatch.context() as patch:
        if when == "putting":
            patch.setattr(connection, "_put_bulk", interrupted)
        else:
            patch.setattr(connection, "_start_reconnecting", interrupted)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            if when == "putting":
                far[0].push({"a": np.zeros(1_000_000)}, block=True)
            else:
                with connection.lock:
                    connection._drop_link()
    assert far[:].apply_async(lambda: 7).get(20) == [7] * len(far)


def interrupted(*_):
    raise KeyboardInterrupt


def test_clients_without_a_controller_leave_no_descriptors(proxy):
    proxy.down()
    before = descriptors()
    for _ in range(3):
        with pytest.raises(errors.ConnectionFailed):
            Client(proxy.info, timeout=0.2)
    assert descriptors() <= before


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_missing_network_is_reported(proxy):
    nowhere = connection_file.from_mapping(
        {name: getattr(proxy.info, name) for name in proxy.info.__struct_fields__}
        | {"addresses": ["tcp://203.0.113.1:9"]}
    )
    began = time.process_time()
    with pytest.raises(errors.ConnectionFailed):
        Client(nowhere, timeout=1)
    assert time.process_time() - began < 0.5


def test_a_result_without_memory_fails_alone(far, monkeypatch):
    far[0].execute("import numpy; a = numpy.ones(1_000_000)", block=True)
    with monkeypatch.context() as patch:
        patch.setattr(bulk_frames.ChunkedFrame, "place", no_memory)
        with pytest.raises(errors.RemoteError, match="the client has no room for a result"):
            far[0].pull("a", block=True)
    assert far[0].pull("a", block=True).sum() == 1_000_000


def no_memory(*_):
    raise MemoryError


DROPPED = """
import gc, os, signal, sys, time
from mpidirect import Client, Cluster, errors

cluster = Cluster(n=1).start().wait()
try:
    for _ in range(2):
        clients = [Client(), Client()]
        clients[0].them = clients  # a cycle
        calls = [client[0].apply_async(time.sleep, 60) for client in clients]
        clients[0].queue_status()
    os.kill(clients[0].facts["pid"], signal.SIGKILL)
    for call in calls:
        try:
            call.get(20)
        except errors.MPIDirectError:
            pass
    before = len(os.listdir("/proc/self/fd"))
    del clients, calls, call
    deadline = time.monotonic() + 10
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
        gc.collect()
    print(len(os.listdir("/proc/self/fd")) <= before)
finally:
    cluster.stop()
"""


def test_deleted_clients_of_a_dead_controller_block_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", DROPPED],
        env={**os.environ, "MPIDIRECT_DIR": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.stdout == "True\n", done.stderr
