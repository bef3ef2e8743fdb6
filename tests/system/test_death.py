"""Deaths of engines, of the controller and of the job, in every way and at every moment."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest
from conftest import occupied
from waiting import until, until_assigned, until_running

from mpidirect import Client, Cluster
from mpidirect.errors import CompositeError, ControllerLost, EngineError
from mpidirect.job import processes

WITHIN = 30.0  # seconds: much more than any step needs
WAYS = {  # the ways in which an engine dies, with the text of the error
    "os._exit(3)": "it exited with code 3",
    "os._exit(0)": "it exited with code 0",
    "os.kill(os.getpid(), 9)": "it was ended by SIGKILL",
    "ctypes.string_at(0)": "it was ended by SIGSEGV",
    "comm.Abort(7)": "it exited with code 7",
    "os.abort()": "it was ended by SIGABRT",
}


def survivors_work(rc: Client, lost: set[int], n: int) -> None:
    """Check that the survivors communicate on `comm`, and keep their names and ranks."""
    living = [k for k in range(n) if k not in lost]
    until(lambda: rc.ids == living)  # no call may overlap with the death
    found = rc[:].pull("(comm.allgather(mine), comm is same, MPI.COMM_WORLD is comm, size, comm.size, rank)")
    for k, (others, *same, size, in_comm, rank) in enumerate(found.get(WITHIN)):
        assert others == living
        assert same == [True, True]
        assert size == in_comm == len(living)
        assert rank == k


def test_engines_die_one_by_one_in_every_way(start):
    n = len(WAYS) + 2
    _, rc = start(n)
    rc[:].scatter("mine", range(n), flatten=True).get(WITHIN)
    lost = set()
    for victim, (way, told) in enumerate(WAYS.items(), 1):
        others = [k for k in rc.ids if k != victim]
        waiting = rc[others].execute("comm.allreduce(1)")  # waits for the engine that dies
        dying = rc[victim].execute(
            f"print('said', rank); print('last words', file=__import__('sys').__stderr__); {way}"
        )
        with pytest.raises(EngineError) as e:
            dying.get(WITHIN)
        assert dying.stdout.startswith("said ")
        assert f"engine {victim} " in e.value.evalue and told in e.value.evalue, way
        assert str(rc[others[0]].apply_sync(lambda: __import__("socket").gethostname())) in e.value.evalue
        assert "rc.restart() starts all engines anew" in e.value.hint
        assert f"engine-{victim}.log" in e.value.traceback
        assert "last words" in e.value.traceback or way in ("os.abort()", "ctypes.string_at(0)")
        with pytest.raises(CompositeError) as stuck:
            waiting.get(WITHIN)
        assert {f.ename for f in stuck.value.elist} == {"CommunicatorLost"}
        lost.add(victim)
        survivors_work(rc, lost, n)
    with pytest.raises(EngineError, match="SIGABRT"):
        rc[len(WAYS)].apply(int)


def test_deaths_during_transfers_and_calls(start):
    n = 7
    _, rc = start(n)
    rc[:].scatter("mine", range(n), flatten=True).get(WITHIN)
    data = np.arange(2_000_000.0)
    lost = set()

    def kill(victim: int, after: float) -> None:
        time.sleep(after)
        os.kill(rc.engines_info[victim]["pid"], signal.SIGKILL)
        lost.add(victim)

    view = rc[:]
    calls = [view.push({"data": data}), view.scatter("part", data), view.gather("part")]
    kill(1, 0.002)
    check(calls, {1})
    survivors_work(rc, lost, n)

    mapped = rc[:].map(lambda i: time.sleep(0.01) or i, range(200))
    kill(3, 0.1)
    check([mapped], {3})
    survivors_work(rc, lost, n)

    pulled = rc[:].pull("np.ones(5_000_000)")
    kill(0, 0.01)
    check([pulled], {0})
    survivors_work(rc, lost, n)

    view = rc[:]
    reduced = [view.execute("comm.Allreduce(np.ones(500_000), np.empty(500_000))") for _ in range(20)]
    kill(5, 0.02)
    check(reduced, {5})
    survivors_work(rc, lost, n)


def check(calls, dead: set[int]) -> None:
    """Check that the calls end; dead engines have an `EngineError`."""
    for call in calls:
        assert call.wait(WITHIN), f"{call} hangs"
        for engine in call.failures.keys() & dead:
            assert call.failures[engine].ename == "EngineError"
        assert {f.ename for f in call.failures.values()} <= {"EngineError", "CommunicatorLost", "NameError"}


def test_deaths_during_collectives_of_a_view(start):
    n = 5
    _, rc = start(n)
    rc[:].scatter("mine", range(n), flatten=True).get(WITHIN)
    rc[:].execute("x = np.ones(1000)", block=True)
    view = rc[:]
    view.allreduce("x", block=True)
    busy = rc[2].execute("time.sleep(0.3); os._exit(1)")
    waiting = view.allreduce("x", block=False)
    with pytest.raises(EngineError):
        busy.get(WITHIN)
    assert waiting.wait(WITHIN), "the survivors hang"
    survivors_work(rc, {2}, n)
    rc[:].execute("x = np.ones(1000)", block=True)
    rc[:].allreduce("x", block=True)
    assert rc[:].pull("x[0]").get(WITHIN) == [n - 1.0] * (n - 1)


@pytest.mark.mpich_proof
def test_busy_survivors_are_not_disturbed(start, tmp_path):
    n = 4
    _, rc = start(n)
    rc[:].scatter("mine", range(n), flatten=True).get(WITHIN)
    busy = rc[0].apply(occupied(tmp_path))
    os.kill(rc.engines_info[2]["pid"], signal.SIGKILL)
    until(lambda: 2 not in rc.ids)
    assert rc[[1, 3]].apply(int).get(WITHIN) == [0, 0]
    assert not busy.ready()
    (tmp_path / "go on").touch()
    survivors_work(rc, {2}, n)  # waits for the busy engine
    assert busy.get(WITHIN) is None


IMPATIENT = "from mpidirect.transport import zeromq; zeromq.HEARTBEAT, zeromq.SILENCE = 1.0, 6.0"


@pytest.mark.openmpi_only
def test_a_frozen_engine_is_ended(start, tmp_path):
    """A frozen engine loses its connection like a dead one, but MPI would wait for it."""
    python = tmp_path / "python"
    (tmp_path / "sitecustomize.py").write_text(IMPATIENT)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    n = 3
    _, rc = start(n, python=str(python))
    rc[:].scatter("mine", range(n), flatten=True).get(WITHIN)
    os.kill(rc.engines_info[1]["pid"], signal.SIGSTOP)
    until(lambda: 1 not in rc.ids)
    survivors_work(rc, {1}, n)


@pytest.mark.mpich_proof
def test_a_kill_reaches_an_engine_that_ignores_signals(start):
    _, rc = start(2)
    deaf = rc[1].execute("ctypes.PyDLL(None).sleep(60)")
    until_assigned(rc, [1])
    rc.send_signal("KILL", 1)
    with pytest.raises(EngineError, match="SIGKILL"):
        deaf.get(WITHIN)


@pytest.mark.parametrize("who", [pytest.param("controller", marks=pytest.mark.mpich_proof), "launcher"])
def test_the_death_of_the_controller_or_the_job(start, who):
    cluster, rc = start(3)
    waiting = rc[:].apply(time.sleep, 60)
    stuck = rc[[0]].execute("comm.Barrier()")
    pid = rc.facts["pid"] if who == "controller" else cluster._launcher.handle["pid"]
    os.kill(pid, signal.SIGKILL)
    for call in (waiting, stuck):
        assert call.wait(WITHIN)
        with pytest.raises(ControllerLost, match="gone"):
            call.get()
    until(lambda: not processes.members(cluster.cluster))
    with Cluster(n=1) as again:  # with the same profile
        assert again[:].apply_sync(int) == [0]


def test_two_engines_die_at_the_same_time(start):
    """As when a node dies: the second death may come while `comm` is repaired."""
    n = 8
    _, rc = start(n)
    rc[:].scatter("mine", range(n), flatten=True).get(WITHIN)
    lost = set()
    for pair, gap in (((1, 4), 0.0), ((0, 5), 0.01), ((3, 7), 0.1)):
        for victim in pair:
            os.kill(rc.engines_info[victim]["pid"], signal.SIGKILL)
            time.sleep(gap)
        lost |= {*pair}
        until(lambda: not lost & set(rc.ids))
        survivors_work(rc, lost, n)


@pytest.mark.mpich_proof
def test_deaths_cost_no_result_of_a_load_balanced_view(start):
    _, rc = start(4)
    lview = rc.load_balanced_view(retries=2)
    result = lview.map_async(lambda x: (time.sleep(0.0002), x)[1], range(5000))
    until(lambda: result.progress >= 1000)
    rc.send_signal(signal.SIGKILL, 3)
    assert result.get(60) == list(range(5000))
    lview.retries = 0
    result = lview.map_async(time.sleep, [0.5] * 9)
    until_running(rc)
    rc.send_signal(signal.SIGKILL, 2)
    result.wait(30)
    # the task that ran on the dead engine
    assert [e.ename for e in result.failures.values()] == ["EngineError"]
    result = rc.load_balanced_view([1]).map_async(time.sleep, [30] * 3)
    until_running(rc, 1)
    rc.send_signal(signal.SIGKILL, 1)
    assert result.wait(30)  # no engine is left for the tasks
    assert len(result.failures) == 3
    with pytest.raises(CompositeError, match="EngineError"):
        result.get()
    if rc.facts["fault_tolerance"]["restarts"]:
        waiting = lview.map_async(time.sleep, [30] * 3)
        rc.restart()
        assert waiting.wait(30)
        assert lview.map_sync(lambda x: rank >= 0, range(8)) == [True] * 8  # noqa: F821
