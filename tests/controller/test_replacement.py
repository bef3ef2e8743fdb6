"""New engines that replace dead ones."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from waiting import until, until_assigned, until_running

from mpidirect.errors import CompositeError, EngineError, MPIDirectError
from mpidirect.launchers import mpi

WITHIN = 30.0  # seconds: much more than any step needs
N = 4


def kill(rc, *victims):
    for victim in victims:
        os.kill(rc.engines_info[victim]["pid"], signal.SIGKILL)
    until(lambda: not set(victims) & set(rc.ids))


def all_work_together(rc, n=N):
    """All engines use `comm` in every way, get bulk data, and can leave a stuck call."""
    assert rc.ids == list(range(n))
    dv = rc[:]
    found = dv.pull("rank, size, comm.allgather(rank), comm.allreduce(rank), MPI.COMM_WORLD is comm")
    everyone = list(range(n)), sum(range(n))
    assert found.get(WITHIN) == [(k, n, *everyone, True) for k in range(n)]
    data = np.arange(200_000.0)
    dv.scatter("part", data).get(WITHIN)
    assert (dv.gather("part").get(WITHIN) == data).all()
    dv.push({"x": data}).get(WITHIN)
    dv.allreduce("x", out="y").get(WITHIN)
    assert dv.pull("float(y[-1])").get(WITHIN) == [n * data[-1]] * n
    stuck = rc[1:].execute("comm.Barrier()")
    until_running(rc, rc.ids[1:])
    rc.interrupt()
    with pytest.raises(CompositeError, match="KeyboardInterrupt"):
        stuck.get(WITHIN)
    assert dv.apply(lambda: comm.allreduce(1)).get(WITHIN) == [n] * n  # noqa: F821


def test_new_engines_join_and_may_die(start):
    cluster, rc = start(N)
    rc[:].scatter("mine", range(N), flatten=True).get(WITHIN)
    with cluster.connect_client() as other:
        for victims in ([0], [1, 3]):
            kill(rc, *victims)
            assert rc.restart("dead") == victims
            known = [k for k in range(N) if k not in victims]
            assert rc[known]["mine"] == known  # the others keep their names, the new ones have none
            with pytest.raises(CompositeError, match="NameError"):
                rc[victims].pull("mine").get(WITHIN)
            rc[victims].scatter("mine", victims, flatten=True).get(WITHIN)
            all_work_together(rc)
            until(lambda: other.ids == rc.ids)
            assert other[:].apply(int).get(WITHIN) == [0] * N
    assert rc.restart("dead") == []


@pytest.mark.mpich_proof
def test_an_engine_that_does_not_listen_is_replaced(start, capfd):
    """Its call, the facts and a notice say that. Nobody takes it for a death, and the world in C is lost."""
    _, rc = start(2)
    stuck = rc[1].execute("ctypes.PyDLL(None).sleep(60)")
    until_assigned(rc, [1])
    assert rc.restart(1) == [1]
    with pytest.raises(EngineError, match=r"engine 1 .* was ended by rc.restart\(\[1\]\)") as e:
        stuck.get(WITHIN)
    assert "rc.restart() starts all engines anew" in e.value.hint
    lost = "in C and Fortran can't be used any more: engine 1 was replaced. rc.restart() of all engines"
    assert lost in rc.facts["world"] and capfd.readouterr().err.count(lost) == 1
    assert rc[:].apply(lambda: comm.allreduce(1)).get(WITHIN) == [2, 2]  # noqa: F821


@pytest.mark.mpich_proof
def test_a_replacement_keeps_its_place_among_calls(start):
    """Earlier calls are completed first, also collective ones, and later calls follow."""
    _, rc = start(3)
    kill(rc, 2)
    rc[0].apply(time.sleep, 0.3)
    before = rc[:].apply(lambda: comm.allreduce(1))  # noqa: F821
    assert rc.restart("dead") == [2]
    assert before.get(0.1) == [2, 2]
    assert rc[:].apply(lambda: comm.allreduce(1)).get(WITHIN) == [3, 3, 3]  # noqa: F821


@pytest.mark.mpich_proof
def test_impossible_replacements_and_busy_engines_are_named(start):
    _, rc = start(3)
    with pytest.raises(IndexError, match="engines 0 to 2"):
        rc.restart(3)
    with pytest.raises(IndexError, match="'all'"):
        rc.restart(["all"])
    with pytest.raises(TypeError, match="'some' not valid"):
        rc.restart("some")
    assert rc[:].apply(lambda: comm.allreduce(1)).get(WITHIN) == [3, 3, 3]  # noqa: F821
    kill(rc, 1)
    busy = rc[2].apply(time.sleep, 60)
    with pytest.raises(TimeoutError, match=r"engine 2 did not end .* within 0.2 s"):
        rc.restart("dead", timeout=0.2)
    assert rc[0].apply(int).get(WITHIN) == 0
    rc.interrupt()
    assert busy.wait(WITHIN)
    assert rc.restart("dead") == [1]


@pytest.mark.mpich_proof
def test_engines_to_replace_are_chosen_as_in_views(start):
    _, rc = start(3)
    assert rc.restart(slice(1, 3)) == [1, 2]
    assert rc.restart("all") == [0, 1, 2]


@pytest.mark.openmpi_only
def test_an_mpi_that_can_not_replace_is_named(start):
    _, rc = start(2, mpiexec=f"{mpi.find_mpiexec()[0]} --with-ft no")
    with pytest.raises(MPIDirectError, match=r"can't be replaced with this MPI.*mpidirect stop"):
        rc.restart(1)
    assert rc[:].apply(lambda: comm.allreduce(1)).get(WITHIN) == [2, 2]  # noqa: F821


def test_a_new_engine_that_fails_to_join_changes_nothing(start):
    cluster, rc = start(3)
    kill(rc, 1)
    file = cluster._launcher.job.file
    elsewhere = file.rename(file.with_suffix(".away"))
    with pytest.raises(MPIDirectError, match=r"engine 1 died: it exited with code 1"):
        rc.restart("dead")
    until(lambda: "not a job file" in (Path(rc.facts["logs"]) / "job.log").read_text())  # by mpiexec
    assert rc.ids == [0, 2]
    assert rc[:].apply(lambda: comm.allreduce(1)).get(WITHIN) == [2, 2]  # noqa: F821
    elsewhere.rename(file)
    assert rc.restart("dead") == [1]
    all_work_together(rc, 3)


@pytest.mark.mpich_proof
def test_another_engine_dies_during_a_replacement(start, tmp_path):
    python, wait = tmp_path / "python", tmp_path / "wait"
    python.write_text(f'#!/bin/sh\nwhile [ -e {wait} ]; do sleep 0.1; done\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    _, rc = start(N, python=str(python))
    kill(rc, 3)
    wait.touch()
    came = []
    asking = threading.Thread(target=lambda: came.append(rc.restart("dead")))
    asking.start()
    log = Path(rc.facts["logs"]) / "controller.log"
    until(lambda: "is to start engines [3]" in log.read_text())
    kill(rc, 2)
    wait.unlink()
    asking.join(WITHIN)
    assert came == [[3]]
    assert rc.ids == [0, 1, 3]
    assert rc.restart("dead") == [2]
    all_work_together(rc)
