"""Interrupts of Python code, of system calls and of MPI; from the prompt and by other means."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import N, occupied
from waiting import until, until_running

from mpidirect.errors import CompositeError, RemoteError, TaskAborted, TimeoutError

WITHIN = 30.0  # seconds: much more than an interrupt needs, much less than the interrupted code

STUCK = {  # the calls in which engines 0 to 2 wait while engine 3 does not take part
    "Barrier": "{c}.Barrier()",
    "Bcast": "{c}.Bcast(np.zeros(3), root=3)",
    "bcast": "{c}.bcast(None, root=3)",
    "Allreduce": "{c}.Allreduce(np.ones(3), np.zeros(3))",
    "allreduce": "{c}.allreduce(1)",
    "Recv": "{c}.Recv(np.zeros(3), source=3)",
    "recv": "{c}.recv(source=3)",
    "Alltoall": "{c}.Alltoall(np.ones({c}.size), np.ones({c}.size))",
    "allgather": "{c}.allgather(rank)",
    "Wait": "{c}.Irecv(np.zeros(3), source=3).Wait()",
    "waitall": "MPI.Request.waitall([{c}.irecv(source=3)])",
    "Send": "{c}.Send(np.ones(10_000_000), dest=3)",
}
STUBBORN = """
end = time.monotonic() + 1.5
while (left := end - time.monotonic()) > 0:
    try:
        time.sleep(left)
    except KeyboardInterrupt:
        open({caught!r}, "w").close()
"""
MADE = {
    "comm": "comm",
    "COMM_WORLD": "MPI.COMM_WORLD",
    "Dup": "comm.Dup()",
    "Split": "comm.Split(0, comm.rank)",
    "Create_cart": "comm.Create_cart([comm.size])",
}
ON_OTHERS = ("Barrier", "allreduce", "Recv", "Wait")  # one of each kind of wait in STUCK


def enames(result) -> set[str]:
    """Return the names of the errors of a call, for each of its engines."""
    assert result.wait(WITHIN), "the engines did not come back"
    assert len(result.failures) == len(result), result
    return {error.ename for error in result.failures.values()}


def comm_works(dview) -> None:
    """Check that all engines use the same `comm` as before, and have kept their names."""
    code = "(comm.allreduce(1), comm.allgather(rank), comm is same, comm is MPI.COMM_WORLD, kept)"
    ids = dview.client.ids
    found = dview.pull(code, targets=ids, block=False).get(WITHIN)
    assert found == [(len(ids), list(range(len(ids))), True, True, f"of {k}") for k in ids]


@pytest.fixture
def engines(dview):
    """A view of all engines, prepared."""
    dview.block = False
    dview.execute("import numpy as np, os, time, threading, subprocess; same = comm").get(WITHIN)
    dview.scatter("kept", [f"of {k}" for k in range(N)], flatten=True).get(WITHIN)
    return dview


def press_when(*conditions: Callable[[], Any]) -> None:
    """Press Ctrl-C each time when one of the conditions has become true."""

    def later() -> None:
        for condition in conditions:
            until(condition)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=later, daemon=True).start()


def busy(engines, targets=None) -> Callable[[], bool]:
    """Return a condition: all engines, or the given ones, run a task."""
    return lambda: all(engines.client.where(targets).values())


# -- Python, and blocking code outside of MPI


@pytest.mark.parametrize(
    "code",
    [
        "time.sleep(60)",
        "while True: pass",
        "subprocess.run(['sleep', '60'])",
        "os.read(os.pipe()[0], 1)",
        "x = threading.Lock(); x.acquire(); x.acquire()",
    ],
)
@pytest.mark.mpich_proof
def test_python_and_system_calls(engines, code):
    running = engines.execute(code)
    until_running(engines.client)
    began = time.monotonic()
    engines.client.interrupt()
    assert running.ready()  # `interrupt` returns when the engines have left the call
    assert time.monotonic() - began < WITHIN
    assert enames(running) == {"KeyboardInterrupt"}


@pytest.mark.mpich_proof
def test_early_interrupts_are_not_lost(engines):
    rc = engines.client
    for k in range(100):
        running = engines.apply(time.sleep, 60)
        time.sleep(k % 10 * 0.0002)
        rc.interrupt(timeout=WITHIN)
        assert enames(running) == {"KeyboardInterrupt"}


@pytest.mark.mpich_proof
def test_an_interrupt_ends_only_its_call(engines):
    first, second = engines.client[0].apply(time.sleep, 0.5), engines.client[1].apply(time.sleep, 60)
    until_running(engines.client, [0, 1])
    second.interrupt()
    assert first.get(WITHIN) is None
    assert second.exception().ename == "KeyboardInterrupt"


@pytest.mark.mpich_proof
def test_an_interrupt_of_idle_engines_does_nothing(engines):
    engines.client.interrupt()
    ended = engines.apply(int)
    ended.get(WITHIN)
    ended.interrupt()
    assert engines.apply(int).get(WITHIN) == [0] * N


def test_a_task_that_catches_the_interrupt_continues(engines):
    code = "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    caught = comm.allreduce(1)"
    running = engines.execute(code)
    until_running(engines.client)
    running.interrupt()
    running.get(WITHIN)
    assert engines.pull("caught").get(WITHIN) == [N] * N


@pytest.mark.mpich_proof
def test_an_interrupt_without_effect_names_the_place(engines):
    # another thread that wants Python's lock waits for one of these calls each time
    code = "import ctypes\nfor _ in range(20): ctypes.PyDLL(None).usleep(1_200_000)"
    running = engines.client[0].execute(code)
    until_running(engines.client, 0)
    with pytest.raises(TimeoutError, match=r"engine 0 did not come back within 0.6 s.*let go of"):
        engines.client.interrupt(0, timeout=0.6)
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        running.get(2 * WITHIN)


def test_an_interrupt_waits_for_a_long_c_call(engines):
    running = engines.client[0].execute("for _ in range(10**6): np.linalg.eig(np.ones((100, 100)))")
    until_running(engines.client, 0)
    running.interrupt()
    assert running.exception().ename == "KeyboardInterrupt"
    comm_works(engines)


@pytest.mark.mpich_proof
def test_signals(engines):
    engines.execute(
        "import signal; got = []; _ = signal.signal(signal.SIGUSR1, lambda *a: got.append(1))"
    ).get()
    running = engines.apply(time.sleep, 0.3)
    engines.client.send_signal("SIGUSR1", [1, 2])
    running.get(WITHIN)
    assert engines.pull("len(got)").get(WITHIN) == [0, 1, 1, 0]
    engines.execute("_ = signal.signal(signal.SIGUSR1, signal.SIG_IGN)").get()


@pytest.mark.mpich_proof
def test_where(engines):
    running = engines.client[[0, 1]].execute("comm.Barrier()")
    until(lambda: all("comm.Barrier" in place for place in engines.client.where([0, 1]).values()))
    where = engines.client.where()
    assert "comm.Barrier, line 1" in where[0] and where[2] == ""
    running.interrupt()
    comm_works(engines)


# -- tasks that have not begun


@pytest.mark.mpich_proof
def test_queued_tasks_are_aborted_at_once(engines):
    running = engines.client[0].apply(time.sleep, 60)
    queued = [engines.client[0].apply(int) for _ in range(40)]
    began = time.monotonic()
    engines.client.abort(queued)
    for result in queued:
        with pytest.raises(TaskAborted, match="before it began"):
            result.get(WITHIN)
    assert time.monotonic() - began < WITHIN
    assert not running.ready()
    running.interrupt()
    assert engines.client[0].apply(int).get(WITHIN) == 0


@pytest.mark.mpich_proof
def test_an_interrupt_aborts_parts_that_have_not_begun(engines):
    running = engines.client[0].apply(time.sleep, 60)
    call = engines.execute("time.sleep(60)")
    until_running(engines.client)
    call.interrupt()
    assert {e: f.ename for e, f in call.failures.items()} == dict.fromkeys((1, 2, 3), "KeyboardInterrupt")
    assert call.metadata[0]["status"] == "aborted"
    assert not running.ready()
    running.interrupt()


# -- MPI


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        *((kind, "comm") for kind in STUCK),
        *(
            (kind, made)
            for made in MADE
            if made != "comm"
            for kind in ("Barrier", "allreduce", "Recv", "Wait")
        ),
    ],
)
def test_stuck_in_mpi(engines, kind, made):
    for _ in range(3):
        engines.execute(f"c = {MADE[made]}").get(WITHIN)
        stuck = engines.client[[0, 1, 2]].execute(STUCK[kind].format(c="c"))
        until_running(engines.client, [0, 1, 2])
        engines.client.interrupt(timeout=WITHIN)
        assert enames(stuck) == {"KeyboardInterrupt"}, stuck.failures
        comm_works(engines)


@pytest.mark.parametrize("how", ["Recv", "Irecv"])
def test_abandoned_requests_keep_their_memory(engines, how, tmp_path):
    """A later message is written into this memory, which must not have been freed."""

    def receive(how):
        room = np.empty(9_000_000)  # noqa: F821
        if how == "Recv":
            c.Recv(room, source=1)  # noqa: F821
        else:
            c.Irecv(room, source=1).Wait()  # noqa: F821

    zero, one = engines.client[0], engines.client[1]
    for round in range(3):
        engines.execute("import os; c = comm.Dup()").get(WITHIN)
        stuck = zero.apply(receive, how)
        call = {"Recv": "Recv", "Irecv": "Request.Wait"}[how]
        until(lambda: f"{call} of a communicator" in engines.client.where(0)[0])
        engines.client.interrupt(0, timeout=WITHIN)
        assert enames(stuck) == {"KeyboardInterrupt"}
        zero.execute("others = [np.zeros(9_000_000) for _ in range(3)]").get(WITHIN)
        done = tmp_path / f"sent {round}"
        sent = one.execute(
            f"try: c.Send(np.ones(9_000_000), dest=0)\nfinally: open({str(done)!r}, 'w').close()"
        )
        zero.execute(f"while not os.path.exists({str(done)!r}): comm.Iprobe(); time.sleep(0.001)").get(60)
        assert sent.wait(WITHIN)
        assert not any(zero.pull("[o.any() for o in others]").get(WITHIN))
    comm_works(engines)


def test_an_interrupt_of_one_engine_keeps_comm_usable(engines):
    stuck = engines.client[[0, 1, 2]].execute("comm.Barrier()")
    until_running(engines.client, [0, 1, 2])
    engines.client.interrupt(1)
    errors = stuck.exception(WITHIN).elist
    assert {e.ename for e in errors} == {"KeyboardInterrupt", "CommunicatorLost"}
    assert all("engine 1 was interrupted" in e.evalue for e in errors if e.ename == "CommunicatorLost")
    comm_works(engines)


def test_busy_engines_delay_the_repair_and_nothing_else(engines, tmp_path):
    rc = engines.client
    busy = rc[3].apply(occupied(tmp_path))
    stuck = rc[[0, 1]].execute("comm.Barrier()")
    until_running(rc, [0, 1])
    rc.interrupt([0, 1])
    assert rc[[0, 2]].apply(int).get(WITHIN) == [0, 0]  # other engines do not wait
    everyone = engines.apply(int)
    assert not busy.ready()
    (tmp_path / "go on").touch()
    assert everyone.get(WITHIN) == [0] * N
    assert enames(stuck) == {"KeyboardInterrupt"}, stuck.failures
    comm_works(engines)


def test_an_interrupt_keeps_other_communicators(engines):
    engines.execute("other = comm.Dup(); pair = comm.Split(rank // 2)").get(WITHIN)
    stuck = engines.client[[0, 1, 2]].execute("comm.Barrier()")
    until_running(engines.client, [0, 1, 2])
    engines.client.interrupt()
    assert enames(stuck) == {"KeyboardInterrupt"}, stuck.failures
    assert engines.pull("other.allreduce(1), pair.allreduce(1)").get(WITHIN) == [(N, 2)] * N
    stuck = engines.client[[0]].execute("pair.Barrier()")
    until_running(engines.client, 0)
    engines.client.interrupt()
    assert enames(stuck) == {"KeyboardInterrupt"}, stuck.failures
    with pytest.raises(
        RemoteError, match=r"can't be used any more: engine 0 was interrupted .*Make a new one"
    ):
        engines.client[0].execute("pair.Barrier()").get(WITHIN)
    comm_works(engines)


# -- one engine fails while the others wait for it


def test_failed_and_waiting_engines_are_named(engines, capsys):
    press_when(lambda: "still running" in sys.stderr.getvalue())
    with pytest.raises(KeyboardInterrupt, match="engines 0-2: interrupted; engine 3: ZeroDivisionError"):
        engines.execute("1 / 0 if rank == 3 else comm.allreduce(1)", block=True)
    told = capsys.readouterr().err
    assert "engine 3 failed: ZeroDivisionError: division by zero; still running: engines 0-2" in told
    assert "comm.allreduce" in told
    comm_works(engines)


def test_the_first_errors_while_others_run(engines):
    call = engines.execute("1 / 0 if rank > 1 else comm.allreduce(1)")
    until(lambda: len(call.failures) == 2)
    assert call.failures[3].ename == "ZeroDivisionError"
    assert "engines 2-3 failed: ZeroDivisionError: division by zero; still running: " in repr(call)
    call.interrupt()
    comm_works(engines)


def test_the_remaining_engines_are_interrupted_automatically(engines):
    engines.client.interrupt_on_error = True
    call = engines.execute("1 / 0 if rank == 3 else comm.allreduce(1)")
    assert enames(call) == {"KeyboardInterrupt", "ZeroDivisionError"}
    assert enames(engines.execute("1 / 0")) == {"ZeroDivisionError"}
    comm_works(engines)


# -- at the prompt


@pytest.mark.mpich_proof
def test_ctrl_c_interrupts_the_engines(engines, capsys):
    press_when(busy(engines))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="engines 0-3: interrupted"):
        engines.apply_sync(time.sleep, 60)
    assert time.monotonic() - began < WITHIN
    assert "Interrupting engines 0-3" in capsys.readouterr().err
    assert engines.apply(int).get(WITHIN) == [0] * N


def test_ctrl_c_in_mpi(engines):
    press_when(busy(engines, [0, 1, 2]))
    with pytest.raises(KeyboardInterrupt):
        engines.client[[0, 1, 2]].execute("comm.allreduce(1)", block=True)
    comm_works(engines)


def test_ctrl_c_in_a_collective_of_the_view(engines):
    press_when(lambda: "sleep" in str(engines.client.stacks()))
    with pytest.raises(KeyboardInterrupt, match=": interrupted"):
        engines.allreduce("rank", lambda a, b: __import__("time").sleep(60), out="none", block=True)
    comm_works(engines)


@pytest.mark.mpich_proof
def test_ctrl_c_during_imports(engines, tmp_path, monkeypatch):
    (tmp_path / "slow_there.py").write_text(
        "import os, time; time.sleep(60 if 'MPIDIRECT_CLUSTER' in os.environ else 0)"
    )
    monkeypatch.syspath_prepend(tmp_path)
    engines.apply(lambda path: __import__("sys").path.insert(0, path), str(tmp_path)).get(WITHIN)
    press_when(busy(engines))
    with pytest.raises(KeyboardInterrupt, match="engines 0-3: interrupted"), engines.sync_imports(quiet=True):
        import slow_there  # noqa: F401
    engines.apply(lambda path: __import__("sys").path.remove(path), str(tmp_path)).get(WITHIN)


@pytest.mark.mpich_proof
def test_ipython_works_after_an_interrupt_of_its_import(engines):
    pytest.importorskip("IPython")

    def anew():  # as in an engine that has not executed any code
        import sys

        from mpidirect.engine import tasks

        tasks._shell = tasks._MISSING
        for name in [n for n in sys.modules if n.partition(".")[0] in ("IPython", "prompt_toolkit")]:
            del sys.modules[name]
        sys.modules.pop("mpidirect.engine.ipython_shell", None)

    for delay in (0.02, 0.1, 0.2, 0.3):
        engines.apply(anew).get(WITHIN)
        sleeping = engines.execute("import time; time.sleep(60)")
        time.sleep(delay)  # a random moment of the import
        sleeping.interrupt()
        assert engines.execute("%pwd").get(WITHIN)  # a SyntaxError in plain Python


@pytest.mark.mpich_proof
def test_a_second_ctrl_c_leaves_the_engines_running(engines, tmp_path):
    rc = engines.client
    caught = tmp_path / "caught"
    press_when(busy(engines, 0), caught.exists)
    with pytest.raises(KeyboardInterrupt, match=r"left running: engine 0; rc.get_result\('"):
        rc[0].execute(STUBBORN.format(caught=str(caught)), block=True)
    result = rc.get_result(rc.history[-1])
    assert not result.ready()
    assert result.wait(WITHIN)


@pytest.mark.mpich_proof
def test_ctrl_c_in_the_wait_for_an_asynchronous_call_does_not_interrupt_it(engines):
    call = engines.apply(time.sleep, 1)
    press_when(busy(engines))
    with pytest.raises(KeyboardInterrupt, match="still running: engines 0-3; its interrupt"):
        call.get()
    assert call.get(WITHIN) == [None] * N


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_repairs_leak_no_threads_or_descriptors(engines):
    def count():
        return [len(os.listdir(f"/proc/self/{what}")) for what in ("fd", "task")]  # noqa: PTH208

    def once():
        stuck = engines.client[[0, 1, 2]].execute("comm.barrier()")
        until_running(engines.client, [0, 1, 2])
        engines.client.interrupt()
        with pytest.raises(CompositeError):
            stuck.get(WITHIN)

    once()
    before = engines.apply(count).get(WITHIN)
    for _ in range(10):
        once()
    assert engines.apply(count).get(WITHIN) == before
