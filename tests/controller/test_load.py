"""Large numbers of tasks, clients and bytes: memory stays bounded, and other clients notice nothing."""

from __future__ import annotations

import time

import numpy as np
import psutil
import pytest
import zmq
from conftest import occupied
from waiting import until

from mpidirect import Client, Cluster, errors
from mpidirect.controller.sessions import retention
from mpidirect.controller.sessions.retained_results import RetainedResults
from mpidirect.controller.sessions.session import Session
from mpidirect.controller.sessions.undelivered import undelivered_results
from mpidirect.files import connection_file
from mpidirect.protocol import messages
from mpidirect.serialize import pickles
from mpidirect.transport.zeromq import Dealer
from tests.proxy import Proxy

pytestmark = [
    pytest.mark.timeout(100),
    pytest.mark.alone,
    pytest.mark.openmpi_only,
]  # nothing here depends on the MPI

MB = 1_000_000


def rss(client) -> int:
    return psutil.Process(client.facts["pid"]).memory_info().rss


def test_20_000_tasks_in_flight(cluster, rc, tmp_path):
    views = [rc[k] for k in rc.ids]
    before = rss(rc)
    blocked = [view.apply_async(occupied(tmp_path)) for view in views]
    results = [views[k % len(views)].apply_async(abs, -k) for k in range(20_000)]
    with Client(str(cluster.connection_file)) as other:
        assert other.queue_status(0)["queue"] > 4000  # the reply comes at once
    assert rss(rc) - before < 200 * MB  # some 5 kB for each task
    (tmp_path / "go on").touch()
    assert rc.wait(blocked + results, 60)
    assert [result.get() for result in results] == list(range(20_000))


def test_50_clients_at_once(cluster):
    clients = [Client(str(cluster.connection_file)) for _ in range(50)]
    results = [client[:].apply_async(lambda k: k, k) for k, client in enumerate(clients)]
    assert [result.get(30) for result in results] == [[k] * 4 for k in range(50)]
    for client in clients:
        client.close()


def test_an_engine_that_prints_100_MB(rc):
    engine = psutil.Process(rc.engines_info[0]["pid"])
    before = engine.memory_info().rss
    printing = rc[0].apply_async(lambda: [print("x" * 1000) for _ in range(100_000)] and None)
    assert rc[1].apply_async(int).get(30) == 0
    printing.get(30)
    assert len(printing.stdout) < 5 * MB and "more characters were dropped" in printing.stdout
    assert engine.memory_info().rss - before < 50 * MB


class NeverReads:
    """A client that sends requests and never reads."""

    def __init__(self, path):
        self.context = zmq.Context()
        address = connection_file.read(path).addresses[0]
        self.socket = Dealer.of_client(self.context, address, b"neverreads", None)
        self.socket.put([messages.encode(messages.Hello(messages.PROTOCOL, "0", "3")), b""])
        self.number = 0

    def ask(self, engine, f, *args):
        self.number += 1
        frames = pickles.dumps((f, args, {}))
        id, sizes = f"neverreads-{self.number}", [len(frame) for frame in frames]
        request = messages.Request(self.number, 0, id, [engine], "apply", "apply", sizes)
        self.socket.put([messages.encode(request), *frames])

    def close(self):
        self.socket.close(0)
        self.context.destroy()


def test_a_client_that_never_reads(cluster, rc):
    before = rss(rc)
    mute = NeverReads(cluster.connection_file)
    try:
        for _ in range(40):
            mute.ask(0, bytes, 50 * MB)  # 2 GB
        time.sleep(1)
        for _ in range(10):
            assert rc[1:].apply_async(int).get(30) == [0] * 3
            assert rc.queue_status(1)["queue"] == 0
        assert rss(rc) - before < retention.CONNECTED_ROOM + 200 * MB
    finally:
        mute.close()
        rc.abort([f"neverreads-{k + 1}" for k in range(40)])


def test_results_beyond_the_budget_of_a_client_that_is_away(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    cluster = Cluster(n=1, budget="30MB")
    cluster.start()
    try:
        with cluster.wait() as near, Proxy(cluster.connection_file) as proxy, Client(proxy.info) as away:
            before = rss(near)
            sizes = [10, 10 * MB, 10, 10 * MB, 10 * MB, 60 * MB, 10 * MB, 10]
            blocked = away[0].apply_async(occupied(tmp_path))
            results = [away[0].apply_async(np.zeros, size, np.uint8) for size in sizes]
            away.queue_status()
            proxy.down()
            (tmp_path / "go on").touch()
            assert near[0].apply_async(int).get(30) == 0  # after all other calls
            assert rss(near) - before < 100 * MB
            until(lambda: results[1].msg_ids[0].partition(":")[0] not in near.hub_history())
            with pytest.raises(errors.ResultExpired):
                near.get_result(results[1].msg_ids[0]).get()
            assert len(near.get_result(results[-2].msg_ids[0]).get()) == 10 * MB
            proxy.up()
            assert blocked.wait(20)
            for size, result in zip(sizes[-2:], results[-2:], strict=True):
                assert len(result.get(20)) == size
            for k in (1, 5):  # the oldest result, and the one that is larger than the budget
                with pytest.raises(errors.ResultExpired, match="it was dropped"):
                    results[k].get(20)
    finally:
        cluster.stop()


def test_the_oldest_result_is_dropped_first():
    sessions = [Session(name) for name in (b"a", b"b")]
    sessions[0].away -= 10
    for session in sessions:
        for k in range(5):
            id = f"{session.label}-{k}"
            session.reply(messages.Reply(id, 0, "ok", [1000], 0.0, 0.0), [bytes(1000)], (), True)
            session.flush()
    watch = retention.Retention(6500, RetainedResults(lambda id, engine: None))
    watch.enforce(sessions)
    kept = [[r.failure is None for r, _, _ in undelivered_results(session.outbox)] for session in sessions]
    assert kept == [[False] * 5, [True] * 5] or kept == [[False, False, False, False, True], [True] * 5]
    assert sum(session.outbox.kept for session in sessions) <= 6500
    assert watch.dropped in (4, 5)
