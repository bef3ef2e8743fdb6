"""`Client`: connections, engines, views, results, queues, the end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import zmq
from conftest import occupied

from mpidirect import AsyncResult, Client, Cluster, CompositeError, DirectView
from mpidirect.errors import (
    AuthenticationFailed,
    ClientClosed,
    ClusterNotFound,
    ConnectionFailed,
    ControllerLost,
    EngineError,
    ResultExpired,
)

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def contents(cluster):
    """The contents of the connection file."""
    return json.loads(cluster.connection_file.read_text())


# -- connecting --------------------------------------------------------------------------------------


def test_the_ways_to_connect(cluster, contents):
    clients = [
        Client(),
        Client(profile="default"),
        Client(str(cluster.connection_file)),
        Client(cluster.connection_file),
        Client(contents),
        Client(**contents),
    ]
    for rc in clients:
        assert rc.ids == [0, 1, 2, 3]
        rc.close()


def test_connecting_takes_milliseconds(cluster):
    Client().close()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        with Client() as rc:
            assert rc.ids == [0, 1, 2, 3]
        times.append(time.perf_counter() - start)
    assert min(times) < 0.2


def test_a_client_waits_for_a_cluster_that_starts_later(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(ClusterNotFound):
        Client()
    with pytest.raises(ClusterNotFound):
        Client(timeout=0.3)
    assert 0.3 < time.monotonic() - start < 20
    found = []
    waiting = threading.Thread(target=lambda: found.append(Client(timeout=60)))
    waiting.start()
    with Cluster(n=1):
        waiting.join(60)
        with found[0] as rc:
            assert rc[0].apply_sync(lambda: rank) == 0  # noqa: F821


def test_wait_for_engines_later_and_with_a_bar(rc, capsys):
    assert rc.wait_for_engines() is rc.wait_for_engines(4, timeout=1, interactive=True, widget=False) is None
    assert rc.wait_for_engines(4, block=False).result(10) is None
    with pytest.raises(EngineError, match="can't be"):
        rc.wait_for_engines(5, block=False).result(10)
    with pytest.raises(TypeError, match="blok"):
        rc.wait_for_engines(4, blok=False)


def test_a_profile_without_a_cluster(cluster):
    with pytest.raises(ClusterNotFound, match="no profile 'nothing-here'"):
        Client(profile="nothing-here")


def test_a_missing_connection_file(tmp_path):
    with pytest.raises(ClusterNotFound, match="mpidirect start"):
        Client(tmp_path / "missing.json")
    with pytest.raises(FileNotFoundError):
        Client(tmp_path / "missing.json")


def test_a_profile_name_given_as_a_file(cluster):
    with pytest.raises(ClusterNotFound, match=r"Client\(profile='default'\)"):
        Client("default")


def test_an_option_that_is_misspelt(cluster):
    with pytest.raises(TypeError, match="no option 'profil'"):
        Client(profil="mpi")


def test_a_connection_file_that_others_can_read(cluster, tmp_path):
    copy = tmp_path / "copy.json"
    shutil.copy(cluster.connection_file, copy)
    copy.chmod(0o644)
    with pytest.raises(ConnectionFailed, match="chmod 600"):
        Client(copy)


@pytest.mark.parametrize("text", ["", "{}", "[1]", "not json", '{"cluster": 1}'])
def test_a_file_that_is_no_connection_file(tmp_path, text):
    path = tmp_path / "other.json"
    path.touch(0o600)
    path.write_text(text)
    with pytest.raises(ConnectionFailed, match="not a connection file"):
        Client(path)


def test_keywords_that_are_no_connection_info():
    with pytest.raises(ConnectionFailed):
        Client({"cluster": "x"})


def test_no_controller_listens(contents):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        contents["addresses"] = [f"tcp://127.0.0.1:{unused.getsockname()[1]}"]
        start = time.monotonic()
        with pytest.raises(ConnectionFailed, match="No controller answered"):
            Client(contents, timeout=0.3)
        assert time.monotonic() - start < 20


def test_a_cluster_that_has_ended(contents, tmp_path):
    contents["addresses"] = [f"ipc://{tmp_path}/no-such-socket"]
    with pytest.raises(ClusterNotFound, match="gone"):
        Client(contents, timeout=0.5)


def test_wrong_keys(contents):
    contents["addresses"] = [a for a in contents["addresses"] if a.startswith("tcp://")]
    public, secret = (key.decode() for key in zmq.curve_keypair())
    start = time.monotonic()
    with pytest.raises(AuthenticationFailed, match="refuses this client's key"):
        Client({**contents, "client_key": public, "client_secret": secret}, timeout=5)
    with pytest.raises(ConnectionFailed, match="of an earlier cluster"):
        Client({**contents, "server_key": public}, timeout=0.5)
    assert time.monotonic() - start < 20
    with pytest.raises(AuthenticationFailed, match="no usable keys"):
        Client({**contents, "client_secret": "x"}, timeout=0.5)


def test_over_tcp(contents):
    contents["addresses"] = [a for a in contents["addresses"] if a.startswith("tcp://")]
    with Client(contents) as rc:
        array = np.arange(300_000)
        rc[:].push({"a": array}, block=True)
        np.testing.assert_array_equal(rc[2]["a"], array)


def test_the_client_does_not_import_mpi(cluster):
    code = (
        "import sys, mpidirect\n"
        f"rc = mpidirect.Client({str(cluster.connection_file)!r})\n"
        "dv = rc[:]; dv['a'] = 1; dv.map_sync(abs, range(9)); dv.scatter('b', range(9)).get()\n"
        "for name in ['comm', 'MPI', 'MPI.SUM', 'MPI.COMM_WORLD']:\n"
        "    error = rc[0].pull(name).exception()\n"
        "    assert error.ename == 'SerializationError' and 'stays on the engines' in error.evalue, error\n"
        "assert 'mpi4py' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


# -- engines and views -------------------------------------------------------------------------------


def test_engines(rc):
    assert rc.ids == [0, 1, 2, 3]
    assert len(rc) == 4
    assert [view.targets for view in rc] == [0, 1, 2, 3]
    rc.wait_for_engines(4, timeout=5)
    rc.wait_for_engines(timeout=5)
    with pytest.raises(EngineError, match="there can't be 9 engines: the cluster has 4"):
        rc.wait_for_engines(9, timeout=5)


@pytest.mark.parametrize(
    ("key", "targets"),
    [
        (0, 0),
        (-1, 3),
        (np.int64(2), 2),
        (slice(1, 3), [1, 2]),
        (slice(None), [0, 1, 2, 3]),
        (slice(None, None, 2), [0, 2]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        ([0, 2], [0, 2]),
        ((3, 1), [3, 1]),
        (range(2), [0, 1]),
        (np.arange(0, 4, 2), [0, 2]),
        (np.array([3]), [3]),
    ],
)
def test_views(rc, key, targets):
    view = rc[key]
    assert isinstance(view, DirectView)
    assert view.targets == targets
    expected = targets if isinstance(targets, int) else list(targets)
    assert view.pull("rank", block=True) == expected


@pytest.mark.parametrize(
    ("key", "error"),
    [(4, IndexError), (-5, IndexError), ([0, 9], IndexError), ("all", TypeError), (1.5, TypeError)],
)
def test_invalid_views(rc, key, error):
    with pytest.raises(error):
        rc[key]


def test_views_by_names_of_ipyparallel(rc):
    assert rc.direct_view("all").targets == "all"  # the engines that live when the view is used
    assert len(rc.direct_view("all")) == 4
    assert rc.direct_view([1], block=True).block is True
    with pytest.raises(ValueError, match="repeat"):
        rc[[1, 1]]


def test_repr(rc):
    assert repr(rc) == "<Client 'default': 4 engines, connected>"
    rc.close()
    assert "closed" in repr(rc)


# -- results -----------------------------------------------------------------------------------------


def test_wait_history_and_outstanding(rc, tmp_path):
    dview = rc[:]
    ar = dview.apply_async(occupied(tmp_path))
    assert len(rc.history) == len(dview.history) == 1
    assert rc.outstanding == dview.outstanding == {*rc.history, *ar.msg_ids}
    assert rc.wait(timeout=0.01) is False
    assert rc.wait(ar, timeout=0.01) is False
    assert dview.wait(timeout=0.01) is False
    (tmp_path / "go on").touch()
    for jobs in (None, ar, [ar], rc.history[0], 0, [-1], ar.msg_ids):
        assert rc.wait(jobs, timeout=10) is True
    assert rc.outstanding == set()
    assert rc[0].history == []


def test_get_result(rc):
    dview = rc[:]
    first, second = dview.apply_async(lambda: rank), dview.apply_async(lambda: -rank)  # noqa: F821
    assert rc.get_result(0).get() == [0, 1, 2, 3]
    assert rc.get_result().get() == dview.get_result().get() == [0, -1, -2, -3]
    assert rc.get_result(rc.history[0]).get() == [0, 1, 2, 3]
    assert rc.get_result(first).get() == [0, 1, 2, 3]
    assert rc.get_result(second.msg_ids[2]).get() == -2
    assert rc.get_result(first.msg_ids[1:3]).get() == [1, 2]
    assert rc.get_result([0, 1]).get() == [0, 1, 2, 3, 0, -1, -2, -3]
    assert rc.get_result([first, second]).get() == [0, 1, 2, 3, 0, -1, -2, -3]
    assert rc.get_result([second, first.msg_ids[3], 0]).get() == [0, -1, -2, -3, 3, 0, 1, 2]
    assert rc.get_result([*second.msg_ids[2:], *first.msg_ids[1:2]]).get() == [-2, -3, 1]
    assert dview.get_result([first, -1]).get() == [0, 1, 2, 3, 0, -1, -2, -3]
    single = rc[2].apply_async(lambda: rank)  # noqa: F821
    assert rc.get_result(single, owner=False).get() == 2
    for job, problem in (([], ValueError), (99, IndexError), (f"{rc.history[0]}:9", ResultExpired)):
        with pytest.raises(problem):
            rc.get_result(job)
    with pytest.raises(TypeError, match="blok"):
        rc.get_result(0, blok=True)
    assert isinstance(rc.get_result(0, block=True), AsyncResult)
    with pytest.raises(ResultExpired, match="not kept"):
        rc.get_result("no-such-id")
    with pytest.raises(TypeError):
        rc.get_result(1.5)


def test_results_are_kept_within_bounds(rc):
    view = rc[0]
    held = view.apply_async(lambda: "held")
    for k in range(100):
        view.apply_async(abs, k)
    rc.wait()
    assert rc.get_result(0).get() == "held"
    assert held.get() == "held"
    assert rc.get_result(-1).get() == 99
    with pytest.raises(ResultExpired):
        rc.get_result(1)


def test_two_clients_share_the_engines(rc, cluster):
    with Client(str(cluster.connection_file)) as other:
        rc[:].push({"a": "from one"}, block=True)  # there is no order between clients
        assert other[:]["a"] == ["from one"] * 4
        assert other.history != rc.history


def test_threads_share_a_client(rc):
    found = {}

    def work(k):
        view = rc[k % 4]
        found[k] = [view.apply_sync(lambda x: x + rank, i) for i in range(20)]  # noqa: F821

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {k: [i + k % 4 for i in range(20)] for k in range(6)}


# -- the end -----------------------------------------------------------------------------------------


def test_close(cluster):
    with Client() as rc:
        view = rc[:]
        ar = view.apply_async(lambda: 1)
        ar.wait()
        late = view.apply_async(lambda: __import__("time").sleep(0.2))
    assert ar.get() == [1] * 4
    with pytest.raises((ClientClosed, CompositeError), match="closed"):
        late.get(30)
    with pytest.raises(ClientClosed, match=r"Client\(\)"):
        view.apply_async(lambda: 1)
    rc.close()


def test_shutdown_ends_the_cluster(cluster):
    own = Cluster(n=1, profile="short").start().wait()
    try:
        rc = own.connect_client()
        other = own.connect_client()
        with pytest.raises(NotImplementedError):
            rc.shutdown(restart=True)
        running = other[0].apply_async(lambda: __import__("time").sleep(60))
        rc.shutdown(hub=True, block=True)
        with pytest.raises(ControllerLost):
            running.get(20)
        with pytest.raises(ControllerLost, match="gone"):
            other[0]
        rc.close()
        other.close()
    finally:
        own.stop()


def test_engines_continue_after_their_client_has_left(cluster, rc):
    with Client() as gone:
        gone[:].apply_async(lambda: globals().update(left=1))
        gone[:].push({"left": "behind"}, block=True)
    assert rc[:]["left"] == ["behind"] * 4


def test_a_forked_child_of_an_engine_sends_no_reply(rc):
    def fork():
        child = os.fork()
        if not child:
            raise SystemExit(3)
        return os.waitpid(child, 0)[1], os.getpid()

    status, pid = rc[0].apply_async(fork).get(20)
    assert os.waitstatus_to_exitcode(status) == 3
    assert {rc[0].apply_async(os.getpid).get(20) for _ in range(8)} == {pid}


def test_a_forked_child_of_the_client_reads_no_messages(rc):
    result = rc[0].apply_async(time.sleep, 0.3)
    child = os.fork()
    if not child:
        try:
            result.get(30)
        except ClientClosed:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert result.get(20) is None
    assert rc[0].apply_async(int).get(20) == 0
