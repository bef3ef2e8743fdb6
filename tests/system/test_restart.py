"""All processes of the job are started anew if no engine can be spawned; clients see an outage."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from conftest import PROGRAMS

from mpidirect import Client
from mpidirect.errors import CompositeError, ControllerLost, MPIDirectError
from mpidirect.files.private_directories import socket_directory
from mpidirect.launchers import mpi
from mpidirect.launchers.mpiexec import MpiexecLauncher
from tests.proxy import Proxy
from tests.waiting import until

pytestmark = pytest.mark.timeout(600)

WITHIN = 40.0  # seconds: much more than any step needs
N = 3


@pytest.fixture
def launch(start, monkeypatch):
    """Starts clusters whose engines are ranks of the launcher's world."""
    monkeypatch.setattr(MpiexecLauncher, "spawns", lambda self: False)
    return start


def is_new(rc, n=N):
    """Check that all engines live, have empty namespaces, and work together."""
    assert rc.ids == list(range(n))
    assert not any(rc[:].pull("'known' in globals()").get(WITHIN))
    assert rc[:].apply(lambda: comm.allreduce(rank)).get(WITHIN) == [sum(range(n))] * n  # noqa: F821
    data = np.arange(300_000.0)
    rc[:].scatter("part", data).get(WITHIN)
    assert (rc[:].gather("part").get(WITHIN) == data).all()
    rc[:].execute("known = 1", block=True)


def names_of_mpich():
    """Return the files of MPICH that an engine maps: if it is killed, they would be left."""
    import pathlib

    maps = pathlib.Path("/proc/self/maps").read_text().split()
    return [word for word in maps if "/mpich_shm_" in word and pathlib.Path(word).exists()]


def stuck_in_c(rc):
    """Wait in C for an engine that never takes part, with Python's lock held."""
    rc[:].run(str(PROGRAMS / "cworld.py"), block=True)
    if "Open MPI" in rc.facts["mpi"]:
        assert rc[:].pull("world.facts()").get(WITHIN) == [(k, N, sum(range(N))) for k in range(N)]
    rc[1:].execute("world.barrier(True)")
    until(lambda: all(rc.queue_status(k)["tasks"] for k in rc.ids[1:]))


def frozen(rc):
    os.kill(rc.engines_info[2]["pid"], signal.SIGSTOP)


def all_dead(rc):
    for engine in rc.engines_info.values():
        os.kill(engine["pid"], signal.SIGKILL)
    until(lambda: not rc.ids)


def deaf(rc):
    rc[0].execute("import signal, time\nwhile True:\n try: time.sleep(60)\n except BaseException: pass")


def in_a_push(rc):
    rc[:].push({"large": np.zeros(125_000_000)}, block=False)
    until(lambda: rc.queue_status(0)["tasks"])


@pytest.mark.parametrize(
    "troubles",
    [(stuck_in_c, all_dead), pytest.param((frozen, in_a_push, deaf), marks=pytest.mark.proof)],
    ids=lambda troubles: " ".join(trouble.__name__ for trouble in troubles),
)
def test_a_restart_while_engines_hang_or_work(launch, troubles):
    cluster, rc = launch(N)
    assert ("in C and Fortran as in Python" in rc.facts["world"]) == ("Open MPI" in rc.facts["mpi"])
    job = cluster.job_id
    with cluster.connect_client() as other:
        is_new(rc)
        for trouble in troubles:
            result = other[:].apply(lambda: bytes(100_000)) if len(other.ids) == N else None
            trouble(rc)
            assert rc.restart() == list(range(N)), trouble
            is_new(rc)
            assert result is None or result.wait(WITHIN)
            until(lambda: other.ids == rc.ids)
            assert other[:].apply(int).get(WITHIN) == [0] * N
            assert cluster.job_id == job
    assert not list(cluster.profile.directory.glob("*handover*"))


@pytest.mark.mpich_proof
@pytest.mark.parametrize("spawned", [False, True])
def test_calls_during_a_restart_wait_for_the_engines(start, monkeypatch, spawned):
    if not spawned:
        monkeypatch.setattr(MpiexecLauncher, "spawns", lambda self: False)
    cluster, rc = start(2)
    with cluster.connect_client() as other, ThreadPoolExecutor(1) as pool:
        dv = other[:]
        asked = pool.submit(rc.restart)
        until(lambda: not other.ids)
        assert dv.apply(int).get(WITHIN) == [0, 0]
        assert other.ids == asked.result(WITHIN) == [0, 1]


@pytest.mark.mpich_proof
def test_tasks_end_with_an_error_that_names_the_restart(launch):
    cluster, rc = launch(2)
    with cluster.connect_client() as other:
        runs = rc[:].apply(time.sleep, 60)
        until(lambda: all(rc.queue_status(k)["tasks"] for k in rc.ids))
        waits = other[:].apply(int)
        balanced = other.load_balanced_view().map_async(time.sleep, [60] * 8)
        pushed = other[:].push({"large": np.ones(5_000_000)}, block=False)
        until(lambda: rc.queue_status(0)["queue"])
        assert rc.restart() == [0, 1]
        for asked in (runs, waits, balanced, pushed):
            with pytest.raises(CompositeError, match=r"EngineError: .*rc.restart\(\)"):
                asked.get(WITHIN)
        until(lambda: other.ids == [0, 1])
        assert other[:].apply(int).get(WITHIN) == [0, 0]


@pytest.mark.openmpi_only
def test_the_death_of_an_engine_where_mpi_does_not_survive_it(launch, capfd):
    """New engines follow in the same job; all clients, also idle ones, are told that namespaces are lost."""
    cluster, rc = launch(N, mpiexec=f"{mpi.find_mpiexec()[0]} --with-ft no")
    is_new(rc)
    assert "new ones are started" in rc.facts["fault_tolerance"]["text"]
    with cluster.connect_client() as other:
        runs = rc[:].apply(time.sleep, 60)
        until(lambda: all(rc.queue_status(k)["tasks"] for k in rc.ids))
        os.kill(rc.engines_info[1]["pid"], signal.SIGSEGV)
        with pytest.raises(CompositeError, match=r"engine 0 was ended, as engine 1 .* died: .*SIGSEGV"):
            runs.get(WITHIN)
        rc.wait_for_engines(timeout=WITHIN)
        is_new(rc)
        assert "can't be used" not in rc.facts["world"]
        assert other[:].apply(int).get(WITHIN) == [0] * N
        assert capfd.readouterr().err.count("empty namespaces") == 2
        for engine in rc.engines_info.values():
            os.kill(engine["pid"], signal.SIGKILL)
        until(lambda: not rc.ids)
        rc.wait_for_engines(timeout=WITHIN)
        is_new(rc)


@pytest.mark.mpich_proof
def test_results_are_kept_for_a_client_that_is_away(launch, monkeypatch):
    cluster, rc = launch(2)
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")  # results are sent, and wait in the controller
    with Proxy(cluster.connection_file) as proxy, Client(proxy.info) as far:
        assert far[:].apply_sync(int) == [0, 0]
        done = [far[k].apply(lambda: (time.sleep(0.3), np.arange(200_000))[1]) for k in far.ids]
        until(lambda: rc.queue_status(0)["tasks"])
        proxy.down()
        until(lambda: not any(rc.queue_status(k)["tasks"] for k in rc.ids))
        with Client(cluster.connection_file) as near:  # the results of this client come after the others
            assert len(near[:].apply_sync(np.zeros, 200_000)) == 2
        assert rc.restart() == [0, 1]
        assert rc.restart() == [0, 1]
        proxy.up()
        until(lambda: far.ids == [0, 1])
        asked = far[:].apply(lambda: comm.allreduce(1))  # noqa: F821
        assert all((result.get(WITHIN) == np.arange(200_000)).all() for result in done)
        assert asked.get(WITHIN) == [2, 2]


@pytest.mark.mpich_proof
def test_another_number_of_engines(launch):
    cluster, rc = launch(2)
    with cluster.connect_client() as other:
        assert rc.resize(4) == [0, 1, 2, 3]
        is_new(rc, 4)
        assert rc[:].apply(names_of_mpich).get(WITHIN) == [[]] * 4
        assert rc.resize(1) == [0]
        is_new(rc, 1)
        until(lambda: other.ids == [0])
        assert Client(str(cluster.connection_file)).ids == [0]


@pytest.mark.mpich_proof
def test_an_impossible_number_of_engines(launch, tmp_path):
    """The former number is started again, and the error names it."""
    real = mpi.find_mpiexec()[0]
    limited = tmp_path / "mpiexec"
    limited.write_text(f'#!/bin/sh\ncase "$*" in *"-n 8 "*) echo no room; exit 1;; esac\nexec {real} "$@"\n')
    limited.chmod(0o755)
    _, rc = launch(2, mpiexec=str(limited))
    with pytest.raises(MPIDirectError, match=r"7 engines can't be started"):
        rc.resize(7)
    is_new(rc, 2)


@pytest.mark.mpich_proof
def test_processes_that_do_not_start_end_the_cluster(launch, tmp_path):
    broken, python = tmp_path / "broken", tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ -e {broken} ] && exit 7\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    cluster, rc = launch(2, python=str(python))
    broken.touch()
    with pytest.raises(ControllerLost):
        rc.restart()
    assert not list(cluster.profile.directory.glob("*handover*"))
    assert not socket_directory(cluster.cluster).exists()
