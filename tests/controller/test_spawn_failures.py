"""Failing spawns of engines: what they cost, and what remains."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

import pytest
from waiting import until

from mpidirect.errors import MPIDirectError, NoEnginesRegistered
from mpidirect.job import processes
from mpidirect.job.variables import SPAWNED_RANK
from tests.controller.test_replacement import all_work_together, kill

WITHIN = 60.0  # seconds: much more than any step needs

# Each rank runs this before all else. While a file exists, an anchor does not report a spawn (hold), a new
# engine waits when it has connected (wait), and then dies (die), an admitted engine does not join (stall),
# and the controller waits for a spawn for seconds only (hurry). If there is a file "impatient" at the start,
# the anchor waits for seconds only for engines to join.
HOOK = """
import contextlib, os, pathlib, time
from mpidirect.engine import connection
from mpidirect.job import mpi_start

here, begin, connect = pathlib.Path(__file__).parent, mpi_start.begin_mpi, connection.connect

def wait_while(name):
    while (here / name).exists():
        time.sleep(0.01)

@contextlib.contextmanager
def connect_and_die(invitation, engine):
    with connect(invitation, engine) as connections:
        if (here / "die").exists():
            (here / "connected").touch()
            wait_while("wait")
            os._exit(1)
        yield connections

def begin_mpi(*arguments, **keywords):
    MPI = begin(*arguments, **keywords)
    from mpidirect.engine.mpi import spawning
    send = spawning.send_start
    spawning.send_start = lambda *arguments: (send(*arguments), wait_while("hold"))
    admit = spawning.await_admission
    spawning.await_admission = lambda tasks: (admit(tasks), wait_while("stall"))[0]
    if (here / "impatient").exists():
        spawning.JOIN_LIMIT = 5.0
    from mpidirect.controller.engines.replacement import Replacement
    start = Replacement.start
    Replacement.start = lambda self, engines, asked_by, within, *more: start(
        self, engines, asked_by, 4.0 if (here / "hurry").exists() else within, *more)
    return MPI

connection.connect, mpi_start.begin_mpi = connect_and_die, begin_mpi
"""


def spawned(cluster, *engines):
    """Return the processes that were spawned as these engines."""
    variables = {f"{SPAWNED_RANK}={engine + 1}".encode() for engine in engines}
    found = []
    for process in processes.members(cluster.cluster):
        with contextlib.suppress(OSError):  # the process has ended
            environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
            found += [process] if variables & {*environment} else []
    return found


def test_a_new_engine_that_dies_before_mpi_begins_costs_the_anchor(start, tmp_path):
    """The anchor waits in MPI for the dead engine for ever. An engine that spawns later waits, too."""
    python = tmp_path / "python"
    broken = tmp_path / "broken"
    # The others of the same spawn wait for the anchor.
    python.write_text(
        f'#!/bin/sh\n[ -e {broken} ] && [ "${SPAWNED_RANK}" = 2 ] && exit 7\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    cluster, rc = start(4, python=str(python))
    kill(rc, 1, 2)
    broken.touch()
    with pytest.raises(MPIDirectError, match="code 7; the process, which was to start it"):
        rc.restart("dead")
    assert rc.ids == [0, 3]
    until(lambda: not spawned(cluster, 1, 2))
    with pytest.raises(MPIDirectError, match="code 7; engine 0, which was to start it"):
        rc.restart("dead")
    until(lambda: 0 not in rc.ids)
    until(lambda: not spawned(cluster, 1, 2))
    assert rc[:].apply(lambda: comm.allreduce(1)).get(WITHIN) == [1]  # noqa: F821
    broken.unlink()
    assert rc.restart("dead") == [0, 1, 2]
    all_work_together(rc)
    assert rc.restart() == [0, 1, 2, 3]  # by an anchor that the controller starts
    all_work_together(rc)
    assert rc.restart([2]) == [2]
    all_work_together(rc)


def test_a_size_that_does_not_start_leaves_the_former_one_possible(start, tmp_path):
    """An engine of the larger generation dies before MPI has begun, as if memory ran out."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "${SPAWNED_RANK}" = 4 ] && exit 7\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    _, rc = start(2, python=str(python))
    why = r"new engine 3 died: it exited with code 7(.|\n)*rc.restart\(\) starts 2"
    with pytest.raises(MPIDirectError, match=why):
        rc.resize(4)
    with pytest.raises(NoEnginesRegistered, match=r"rc.restart\(\) starts new ones"):
        rc[:].apply_sync(int)
    assert rc.restart() == [0, 1]
    all_work_together(rc, 2)


@pytest.fixture
def hooked(start, tmp_path):
    """Return a function that starts a cluster whose ranks run `HOOK`, and the directory of its files."""
    hooks, python = tmp_path / "hooks", tmp_path / "python"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK)
    python.write_text(f'#!/bin/sh\nPYTHONPATH={hooks} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return lambda n: (*start(n, python=str(python)), hooks)


@contextlib.contextmanager
def restart(rc, *targets):
    """Restart engines in a thread; yield a list that contains the answer after the block."""
    answer = []

    def ask():
        try:
            answer.append(rc.restart(*targets))
        except MPIDirectError as e:
            answer.append(str(e))

    thread = threading.Thread(target=ask)
    thread.start()
    yield answer
    thread.join(WITHIN)


@pytest.mark.mpich_proof
def test_a_new_engine_that_dies_before_its_spawn_is_reported(hooked):
    _, rc, files = hooked(3)
    kill(rc, 1)
    for name in ("hold", "wait", "die"):
        (files / name).touch()
    with restart(rc, "dead") as answer:
        until((files / "connected").exists)
        for _ in range(2):  # two turns: the controller handles the messages between them
            rc.queue_status()
        (files / "wait").unlink()
        until((Path(rc.facts["logs"]) / "rank-2.exit").exists)
        (files / "hold").unlink()
    assert "the new engine 1 died: it exited with code 1" in answer[0]
    assert "waits for ever" not in answer[0]
    (files / "die").unlink()
    assert rc.restart() == [0, 1, 2]  # by the anchor


def test_a_start_from_which_mpi_does_not_return(hooked):
    cluster, rc, files = hooked(3)
    for name in ("hold", "hurry"):
        (files / name).touch()
    with pytest.raises(MPIDirectError, match=r"MPI has not returned from their start within \d+ s"):
        rc.restart()
    for name in ("hold", "hurry"):
        (files / name).unlink()
    until(lambda: not spawned(cluster, 0, 1, 2))
    assert rc.restart() == [0, 1, 2]
    all_work_together(rc, 3)


@pytest.mark.mpich_proof
def test_a_new_engine_that_hangs_before_it_joins_costs_nothing(hooked, tmp_path):
    (tmp_path / "hooks" / "impatient").touch()
    cluster, rc, files = hooked(3)
    rc[:].push({"kept": 7}, block=True)
    kill(rc, 1)
    (files / "stall").touch()
    with pytest.raises(MPIDirectError, match="have not connected by MPI in time"):
        rc.restart("dead")
    until(lambda: not spawned(cluster, 1))
    (files / "stall").unlink()
    assert rc[:].pull("kept", block=True) == [7, 7]
    assert rc.restart("dead") == [1]
    all_work_together(rc, 3)


def kill_anchor(cluster, rc):
    log = str(Path(rc.facts["logs"]) / "anchor.log")
    for process in processes.members(cluster.cluster):
        with contextlib.suppress(OSError):  # the process has ended
            if str(Path(f"/proc/{process.pid}/fd/1").readlink()) == log:
                os.kill(process.pid, signal.SIGKILL)


@pytest.mark.mpich_proof
def test_the_anchor_dies_while_it_starts_all_engines(hooked):
    cluster, rc, files = hooked(3)
    (files / "hold").touch()
    with restart(rc) as answer:
        until(lambda: "is to start engines" in (Path(rc.facts["logs"]) / "controller.log").read_text())
        kill_anchor(cluster, rc)
    assert "the process that was to start it died" in answer[0]
    until(lambda: not spawned(cluster, 0, 1, 2))
    (files / "hold").unlink()
    assert rc.restart() == [0, 1, 2]


@pytest.mark.mpich_proof
def test_the_anchor_dies_while_all_engines_end(start):
    cluster, rc = start(2)
    os.kill(rc.engines_info[0]["pid"], signal.SIGSTOP)  # the engine does not leave by itself
    with restart(rc) as answer:
        until(lambda: not rc.ids)
        kill_anchor(cluster, rc)
    assert answer == [[0, 1]]
    all_work_together(rc, 2)
