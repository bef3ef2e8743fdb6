"""The engines' queues: order, status, aborts, interrupts."""

from __future__ import annotations

import os

import numpy as np
import pytest
from conftest import occupied
from waiting import until, until_assigned, until_running

from mpidirect import CompositeError, RemoteError
from mpidirect.errors import TaskAborted

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_queue_status(rc, tmp_path):
    before = rc.queue_status()[0]["completed"]
    running = rc[0].apply_async(occupied(tmp_path))
    waiting = [rc[0].apply_async(abs, k) for k in range(40)]
    status = rc.queue_status()
    assert status["unassigned"] == 0
    assert status[0]["queue"] + status[0]["tasks"] == 41
    assert status[1]["queue"] == 0
    assert rc.queue_status(0) == status[0]
    assert set(rc[2:].queue_status()) == {2, 3, "unassigned"}
    (tmp_path / "go on").touch()
    rc.wait([running, *waiting])
    assert rc.queue_status(0)["completed"] == before + 41


def test_a_busy_engine_does_not_delay_others(rc, tmp_path):
    busy = rc[0].apply_async(occupied(tmp_path))
    array = np.ones(200_000)
    assert rc[1:].push({"a": array}, block=True) == [None] * 3
    everywhere = rc[:].push({"b": array}, block=False)
    assert rc[1].apply_sync(lambda: b.sum()) == 200_000  # noqa: F821
    assert not everywhere.ready()
    (tmp_path / "go on").touch()
    assert everywhere.get(30) == [None] * 4
    busy.get(30)


def test_requests_keep_their_order(rc):
    dview = rc[:]
    dview["log"] = []
    for k in range(50):
        dview.apply_async(lambda k=k: log.append(k))  # noqa: F821
    assert dview["log"] == [list(range(50))] * 4


def test_abort_of_all(rc, tmp_path):
    view = rc[:]
    running = view.apply_async(occupied(tmp_path))
    waiting = [view.apply_async(abs, k) for k in range(30)]
    rc.abort(waiting)
    until(lambda: all(ar.ready() for ar in waiting))
    (tmp_path / "go on").touch()
    assert running.get(30) == [None] * 4
    for ar in waiting:
        with pytest.raises(CompositeError, match="TaskAborted"):
            ar.get(30)
        assert ar.cancelled()
    with pytest.raises(TypeError):
        rc.abort([1])


def test_abort_on_one_engine(rc, tmp_path):
    view = rc[0]
    running = view.apply_async(occupied(tmp_path))
    ar = view.apply_async(abs, 1)
    view.abort()
    until(ar.ready)
    (tmp_path / "go on").touch()
    running.wait(30)
    with pytest.raises(TaskAborted):
        ar.get(30)


def test_interrupt(rc):
    ar = rc[:].apply_async(lambda: __import__("time").sleep(60))
    until_assigned(rc)
    while not ar.ready():
        rc.interrupt()
        ar.wait(0.1)
    with pytest.raises(CompositeError, match="KeyboardInterrupt"):
        ar.get(30)
    assert rc[:].apply_sync(lambda: 1) == [1] * 4


def test_clear(rc):
    rc[:]["a"] = 1
    rc.clear(targets=[0], block=True)
    with pytest.raises(RemoteError, match="NameError"):
        rc[0]["a"]
    assert rc[1]["a"] == 1


def test_engines_are_processes_that_compute(rc):
    assert rc[0].apply_sync(lambda: __import__("os").sched_getscheduler(0)) == os.SCHED_BATCH


def test_an_engines_death_does_not_disturb_other_waits(rc, monkeypatch):
    monkeypatch.setattr("mpidirect.client.results.state.QUEUE_REPORT_DELAY", 0.1)
    asked = []  # the controller only reports living engines
    monkeypatch.setattr(
        "mpidirect.client.session.queries.queue_lengths",
        lambda session, targets: asked.append(targets) or {"unassigned": 0},
    )
    assert rc[0].apply_sync(lambda: __import__("time").sleep(1) or 7) == 7
    assert asked == [[0]]


def test_abort_leaves_no_engine_waiting_for_those_that_have_aborted(rc, tmp_path):
    view = rc[:]
    busy = rc[0].apply_async(occupied(tmp_path))
    together = view.apply_async(lambda: comm.allreduce(1))  # noqa: F821
    until_running(rc)
    view.abort()
    values = together.get(30, return_exceptions=True)
    assert [value.ename for value in values] == ["TaskAborted"] + ["KeyboardInterrupt"] * 3
    assert not busy.ready()
    (tmp_path / "go on").touch()
    busy.get(30)
    assert view.apply_sync(lambda: comm.allreduce(1)) == [4] * 4  # noqa: F821


def test_abort_on_chosen_engines_concerns_these_alone(rc, tmp_path):
    busy = rc[0].apply_async(occupied(tmp_path))
    apart = rc[:].apply_async(occupied(tmp_path))
    until_running(rc)
    rc.abort(apart, targets=0)
    (tmp_path / "go on").touch()
    values = apart.get(30, return_exceptions=True)
    assert values[0].ename == "TaskAborted" and values[1:] == [None] * 3
    busy.get(30)


def test_abort_just_when_engines_begin(rc):
    """An engine that has begun a call does not wait for engines that have aborted the call."""
    view = rc[:]
    for _ in range(30):
        results = [view.apply_async(lambda: comm.allreduce(1)) for _ in range(15)]  # noqa: F821
        results[5].wait(30)
        rc.abort(results)
        assert rc.wait(results, 30)
    assert view.apply_sync(lambda: comm.allreduce(1)) == [4] * 4  # noqa: F821
