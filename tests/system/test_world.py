"""The engines' world contains only the engines, also in C; restarts of all engines in any state."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import PROGRAMS
from schedulers.slurm import SLURM
from waiting import until, until_assigned

from mpidirect import Cluster
from mpidirect.cluster.doctor import examine
from mpidirect.errors import CompositeError, EngineError, MPIDirectError, NoEnginesRegistered
from mpidirect.job import processes
from mpidirect.job.variables import C_WORLD
from mpidirect.launchers import mpi
from mpidirect.launchers.mpiexec import MpiexecLauncher

N = 4
WITHIN = 30.0  # seconds: much more than any step needs


@pytest.fixture
def petsc(tmp_path):
    """Make a package that starts as petsc4py does, and replaces it; return its directory."""
    (tmp_path / "petsc4py").mkdir()
    (tmp_path / "petsc4py" / "__init__.py").write_text(
        "def init(args=None, arch=None, comm=None):\n    from . import PETSc\n    PETSc._initialize(comm)\n"
    )
    (tmp_path / "petsc4py" / "PETSc.py").write_text(
        "begun = []\ndef _initialize(comm=None):\n    begun.append(comm)\n"
    )
    return str(tmp_path)


def world_is_theirs(rc, n: int = N) -> None:
    """Check that the world contains only the engines, in C and in Python."""
    rc[:].run(str(PROGRAMS / "cworld.py"), block=True)
    everyone = sum(range(n))
    assert rc[:].pull("world.facts()").get(WITHIN) == [(k, n, everyone) for k in range(n)]
    found = rc[:].pull("rank, size, MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size, comm.allreduce(rank)")
    assert found.get(WITHIN) == [(k, n, k, n, everyone) for k in range(n)]


def is_new(rc, n: int = N) -> None:
    """Check that all engines live, have empty namespaces, and work together."""
    assert rc.ids == list(range(n))
    assert not any(rc[:].pull("'known' in globals()").get(WITHIN))
    world_is_theirs(rc, n)
    data = np.arange(300_000.0)
    rc[:].scatter("part", data).get(WITHIN)
    assert (rc[:].gather("part").get(WITHIN) == data).all()
    rc[:].execute("known = 1", block=True)


@pytest.mark.mpich_proof
def test_the_c_world_contains_the_engines_only(start):
    cluster, rc = start(2)
    assert "in C and Fortran as in Python" in rc.facts["world"]
    with cluster.connect_client() as other:
        is_new(rc, 2)
        assert rc.restart() == [0, 1]
        is_new(rc, 2)
        until(lambda: other.ids == [0, 1])
        assert other[:].apply(int).get(WITHIN) == [0, 0]


def stuck_in_c(rc, lock: bool) -> None:
    rc[1:].execute(f"world.barrier({lock})")
    until_assigned(rc, rc.ids[1:])


def frozen(rc) -> None:
    os.kill(rc.engines_info[2]["pid"], signal.SIGSTOP)


def killed(rc) -> None:
    for engine in rc.engines_info.values():
        os.kill(engine["pid"], signal.SIGKILL)


def all_dead(rc) -> None:
    killed(rc)
    until(lambda: not rc.ids)
    with pytest.raises(NoEnginesRegistered, match=r"rc.restart\(\) starts new ones"):
        rc[:].apply(int)


def one_dead(rc) -> None:
    os.kill(rc.engines_info[1]["pid"], signal.SIGKILL)
    until(lambda: 1 not in rc.ids)


def in_a_push(rc) -> None:
    rc[:].push({"large": np.ones(30_000_000)}, block=False)


def deaf(rc) -> None:
    rc[0].execute("import signal, time\nwhile True:\n try: time.sleep(60)\n except BaseException: pass")


TROUBLES = {
    "barrier": lambda rc: stuck_in_c(rc, lock=False),
    "barrier-locked": lambda rc: stuck_in_c(rc, lock=True),
    "frozen": frozen,
    "killed": killed,
    "all-dead": all_dead,
    "one-dead": one_dead,
    "push": in_a_push,
    "deaf": deaf,
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "troubles",
    [
        ("barrier-locked", "frozen", "all-dead", "push"),
        pytest.param(("barrier", "killed", "one-dead", "deaf"), marks=pytest.mark.proof),
    ],
    ids=" ".join,
)
def test_a_restart_of_all_engines_in_any_state(start, troubles):
    n = 3
    _, rc = start(n)
    is_new(rc, n)
    for name in troubles:
        TROUBLES[name](rc)
        assert rc.restart() == list(range(n)), name
        is_new(rc, n)


def restart_in_four_situations(rc, large: np.ndarray) -> None:
    """Restart all after a barrier in C, with a frozen engine, after the death of all, and during a push."""
    for trouble in (TROUBLES["barrier-locked"], frozen, all_dead, None):
        is_new(rc)
        if trouble is None:
            rc[:].push({"large": large}, block=False)
        else:
            trouble(rc)
        assert rc.restart() == list(range(N)), trouble


@pytest.mark.openmpi_only
@pytest.mark.proof
@pytest.mark.timeout(900)
def test_twenty_restarts_in_a_row(start):
    """After a barrier in C, a frozen engine, the death of all, and during a push of 1 GB."""
    cluster, rc = start(N)
    controller = rc.facts["pid"]
    large = np.ones(1 << 30, np.uint8)
    descriptors, there = [], []
    for _ in range(5):
        restart_in_four_situations(rc, large)
        descriptors.append(len(list(Path(f"/proc/{controller}/fd").iterdir())))
        there.append(len(processes.members(cluster.cluster)))
    assert descriptors[-1] <= descriptors[1] + 3, descriptors
    assert there[-1] <= there[0], there


@pytest.mark.openmpi_only
@pytest.mark.proof
@pytest.mark.slurm
@pytest.mark.timeout(1800)
def test_twenty_restarts_in_a_row_on_two_hosts(hosts):
    """With Open MPI, a supervisor starts all processes anew each time."""
    with Cluster(**SLURM, walltime="50m") as rc:
        large, there = np.ones(400_000_000, np.uint8), []
        for _ in range(5):
            restart_in_four_situations(rc, large)
            there.append(len(processes.members(rc.facts["cluster"])))
        is_new(rc)
        assert set(rc[:].pull("node").get(WITHIN)) == {"n1", "n2"}
        assert there[-1] <= there[0], there


@pytest.mark.mpich_proof
def test_earlier_calls_end_with_an_error_that_names_the_restart(start):
    _, rc = start(2)
    runs = rc[:].apply(time.sleep, 60)
    until_assigned(rc)
    waits = rc[:].apply(int)
    rc.restart()
    for asked in (runs, waits):
        with pytest.raises(CompositeError, match=r"EngineError: engine 0 .*rc.restart\(\)"):
            asked.get(WITHIN)
    assert rc[:].apply(int).get(WITHIN) == [0, 0]
    with pytest.raises(EngineError) as e:
        rc[0].execute("import os, sys; print('mine', file=sys.__stderr__); os._exit(3)").get(WITHIN)
    assert "mine" in e.value.traceback and "leaving" not in e.value.traceback  # nothing of its predecessor


def test_single_engines_are_replaced_in_a_generation(start, petsc):
    """Deaths, one after the other, of engines that were started together; some have replaced others.

    The world in C is lost then: clients are told, and PETSc does not wait for ever.
    """
    cluster, rc = start(N)

    def petsc_is_refused():
        refused = rc[:].execute(f"import sys; sys.path.insert(0, {petsc!r})\nfrom petsc4py import PETSc")
        assert refused.wait(WITHIN) and sorted(refused.failures) == rc.ids
        for failure in refused.failures.values():
            assert failure.ename == "ImportError" and "rc.restart() of all" in failure.evalue

    def kill(*victims):
        for victim in victims:
            os.kill(rc.engines_info[victim]["pid"], signal.SIGKILL)
        until(lambda: not set(victims) & set(rc.ids))
        n = len(rc.ids)
        assert rc[:].pull("comm.allreduce(1)").get(WITHIN) == [n] * n

    assert "as in Python" in rc.facts["world"]
    kill(0)
    assert "engine 0 has died" in rc.facts["world"]
    with cluster.connect_client() as other:
        assert other.facts["world"] == rc.facts["world"]
    petsc_is_refused()
    kill(1, 2)
    assert rc.restart("dead") == [0, 1, 2]
    petsc_is_refused()
    kill(3)
    kill(0)
    assert rc.restart("dead") == [0, 3]
    assert rc[:].pull("comm.allreduce(1)").get(WITHIN) == [N] * N
    kill(2)
    Cluster.from_profile().restart_engines_sync()
    is_new(rc)
    assert "as in Python" in rc.facts["world"]
    rc[:].execute(f"import sys; sys.path.insert(0, {petsc!r})\nfrom petsc4py import PETSc", block=True)


@pytest.mark.mpich_proof
@pytest.mark.timeout(600)
def test_restarts_leave_nothing(start):
    cluster, rc = start(2)
    controller = rc.facts["pid"]
    descriptors, there, shared = [], [], set()
    for _ in range(4):
        assert rc.restart() == [0, 1]
        texts = rc[:].apply(lambda: __import__("pathlib").Path("/proc/self/maps").read_text()).get(WITHIN)
        last = set(re.findall(r"/dev/shm/(?:sm_segment|mpich_shm)\S+", " ".join(texts)))
        shared |= last
        descriptors.append(len(list(Path(f"/proc/{controller}/fd").iterdir())))
        there.append(len(processes.members(cluster.cluster)))
    assert rc[:].apply(lambda: comm.allreduce(1)).get(WITHIN) == [2, 2]  # noqa: F821
    assert not [file for file in shared - last if Path(file).exists()]
    assert descriptors[-1] <= descriptors[1] + 3, descriptors
    assert there[-1] <= there[0], there


@pytest.mark.mpich_proof
def test_a_restart_frees_interrupted_transfers(start, monkeypatch):
    """Also data over MPI, as between hosts; and nothing is read from dead engines."""
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    _, rc = start(2)
    data, used = np.ones(12_500_000), []
    for _ in range(3):
        rc[:].push({"data": data}, block=False)
        rc[:].pull("np.ones(12_500_000)", block=False)
        assert rc.restart() == [0, 1]
        rc[:].execute("import numpy as np", block=True)
        pages = Path(f"/proc/{rc.facts['pid']}/statm").read_text().split()[1]
        used.append(int(pages) * os.sysconf("SC_PAGE_SIZE"))
    assert used[-1] < used[0] + 2.5 * data.nbytes, used


@pytest.mark.timeout(600)
@pytest.mark.openmpi_only  # with fault tolerance only
@pytest.mark.parametrize(
    ("launched", "lock"),
    [
        (False, True),
        (True, False),
        pytest.param(False, False, marks=pytest.mark.proof),
        pytest.param(True, True, marks=pytest.mark.proof),
    ],
)
def test_an_interrupt_gets_engines_out_of_c(start, launched, lock, monkeypatch):
    """Free engines revoke the world in which the others wait; all engines keep their names."""
    if launched:
        monkeypatch.setattr(MpiexecLauncher, "spawns", lambda self: False)
    _, rc = start(3)
    is_new(rc, 3)
    stuck_in_c(rc, lock)
    rc.interrupt(timeout=8)
    assert rc[:].pull("known").get(WITHIN) == [1, 1, 1]
    assert rc[:].pull("comm.allreduce(rank)").get(WITHIN) == [3, 3, 3]
    rc.restart()
    is_new(rc, 3)


def test_an_interrupt_without_effect_names_a_remedy(start):
    _, rc = start(2)
    is_new(rc, 2)
    asked = rc[:].execute("ctypes.PyDLL(None).sleep(600)")
    until_assigned(rc)
    with pytest.raises(TimeoutError, match=r"rc.restart\(\) ends all engines"):
        rc.interrupt(timeout=1)
    rc.restart()
    assert set(map(str, asked.failures)) == {"0", "1"}
    is_new(rc, 2)


@pytest.mark.openmpi_only  # with fault tolerance only
def test_the_end_of_one_engine_frees_those_that_wait_for_it_in_c(start):
    """No engine is free to revoke the world in C."""
    _, rc = start(3)
    is_new(rc, 3)
    receive = "world.mpi.MPI_Recv(ctypes.byref(ctypes.c_int()), 1, world.int, 1, 7, world.world, None)"
    rc[0].execute(receive)
    stuck_in_c(rc, lock=False)
    until_assigned(rc)
    with pytest.raises(TimeoutError, match=r"rc.restart\(\[0\]\) replaces engine 0.*rc.restart\(\) ends all"):
        rc.interrupt(timeout=1)
    assert rc.restart([0]) == [0]
    assert rc[1:].pull("known").get(WITHIN) == [1, 1]
    assert rc[:].pull("comm.allreduce(rank)").get(WITHIN) == [3, 3, 3]


@pytest.mark.mpich_proof
def test_another_number_of_engines(start):
    cluster, rc = start(2)
    is_new(rc, 2)
    dv = rc[:]
    with cluster.connect_client() as other:
        waits = dv.apply(time.sleep, 60)
        assert rc.resize(3) == [0, 1, 2]
        is_new(rc, 3)
        with pytest.raises(CompositeError, match=r"EngineError: engine 0 .*rc.resize\(3\)"):
            waits.get(WITHIN)
        assert rc.resize(1) == [0]
        is_new(rc, 1)
        assert rc.restart() == [0]
        with pytest.raises(IndexError, match="No such engine: 1"):
            dv.apply_sync(int)
        until(lambda: other.ids == [0])
        other.wait_for_engines(timeout=WITHIN)
    with pytest.raises(ValueError, match="at least one engine"):
        rc.resize(0)


@pytest.mark.openmpi_only
def test_resize_at_a_prompt_asks_for_confirmation(start, monkeypatch):
    """There is no question in a program, or in a notebook that a program executes."""
    _, rc = start(1)
    is_new(rc, 1)
    asked = []

    def answer(text):
        def reply(question):
            asked.append(question)
            if isinstance(text, type):
                raise text
            return text

        return reply

    monkeypatch.setattr("sys.ps1", ">>> ", raising=False)
    for text in ("", "no", EOFError):
        monkeypatch.setattr("builtins.input", answer(text))
        assert rc.resize(2) == []
    assert rc[:].pull("known").get(WITHIN) == [1]
    assert "will be lost" in asked[0] and "rc.save(path)" in asked[0]
    for n, text in enumerate(("y", NotImplementedError), 2):
        monkeypatch.setattr("builtins.input", answer(text))
        assert rc.resize(n) == list(range(n))
    monkeypatch.setattr("builtins.input", answer(AssertionError))
    assert rc.resize(1, ask=False) == [0]
    monkeypatch.delattr("sys.ps1")
    assert rc.resize(2) == [0, 1]


@pytest.mark.mpich_proof
def test_two_restarts_at_the_same_time(start):
    cluster, rc = start(2)
    errors = []
    with cluster.connect_client() as other:

        def ask(client):
            try:
                client.restart()
            except MPIDirectError as e:
                errors.append(str(e))

        both = [threading.Thread(target=ask, args=(client,)) for client in (rc, other)]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(WITHIN)
        assert all("just now" in text for text in errors)
        assert len(errors) <= 1
        until(lambda: len(rc.ids) == 2)
        is_new(rc, 2)


@pytest.mark.mpich_proof
def test_petsc_starts_on_the_engines_communicator(start, monkeypatch, petsc):
    """If the world in C contains the controller."""
    monkeypatch.setattr(MpiexecLauncher, "spawns", lambda self: False)
    monkeypatch.setenv(C_WORLD, "launcher")
    _, rc = start(2)
    assert "its rank 0 is the controller" in rc.facts["world"]
    found = [finding.found for finding in examine() if finding.subject == "clusters"]
    assert len(found) == 1 and "is running, with" in found[0] and rc.facts["world"] in found[0]
    rc[:].execute(f"import sys; sys.path.insert(0, {petsc!r})", block=True)
    rc[:].execute("from petsc4py import PETSc", block=True)
    assert rc[:].pull("[each is comm for each in PETSc.begun]").get(WITHIN) == [[True]] * 2
    assert rc[:].pull("type(comm).__module__").get(WITHIN) == ["mpi4py.MPI"] * 2


@pytest.mark.openmpi_only
def test_the_c_world_without_fault_tolerance(start):
    _, rc = start(2, mpiexec=f"{mpi.find_mpiexec()[0]} --with-ft no")
    world_is_theirs(rc, 2)
    with pytest.raises(MPIDirectError, match="can't all be started anew"):
        rc.restart()
    assert rc[:].apply(int).get(WITHIN) == [0, 0]


@pytest.mark.openmpi_only
def test_networks_that_the_user_excludes(start, monkeypatch):
    """Open MPI would start nothing if other networks were set, too."""
    monkeypatch.setenv("OMPI_MCA_btl_tcp_if_exclude", "docker0")
    _, rc = start(2)
    world_is_theirs(rc, 2)


OWNER = """
import sys, time
from mpidirect import Cluster
cluster = Cluster(n=2, python=sys.argv[1], start_timeout=sys.argv[2], shutdown_atexit=sys.argv[3] == "owned")
print(cluster.start().cluster, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("limit", "owned"), [("10m", "owned"), pytest.param("4s", "free", marks=pytest.mark.mpich_proof)]
)
def test_engines_that_never_come_leave_nothing(tmp_path, monkeypatch, limit, owned):
    """MPI does not return from the spawn: the owner of the job is killed, or the time is over."""
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ -n "$MPIDIRECT_PLACE" ] && exec sleep 1000\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    command = [sys.executable, "-c", OWNER, str(python), limit, owned]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    cluster = owner.stdout.readline().strip()
    until(lambda: "sleep" in [each.name() for each in processes.members(cluster)])
    owner.kill()
    until(lambda: not processes.members(cluster))
    owner.wait()


def test_an_engine_that_can_not_start_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ -n "$MPIDIRECT_PLACE" ] && exit 7\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    cluster = Cluster(n=2, python=str(python)).start()
    try:
        with pytest.raises(MPIDirectError, match="of its ranks died before all engines answered"):
            cluster.wait()
    finally:
        cluster.stop()


STUCK_OWNER = """
import ctypes, time
from mpidirect import Cluster
cluster = Cluster(n=2)
rc = cluster.start_and_connect_sync()
rc[1].execute("import ctypes; ctypes.PyDLL(None).sleep(600)")
print(cluster.cluster, flush=True)
time.sleep(600)
"""


@pytest.mark.mpich_proof
def test_an_engine_that_holds_pythons_lock_ends_with_its_owner(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    owner = subprocess.Popen([sys.executable, "-c", STUCK_OWNER], stdout=subprocess.PIPE, text=True)
    cluster = owner.stdout.readline().strip()
    assert processes.members(cluster)
    owner.kill()
    until(lambda: not processes.members(cluster))
    owner.wait()
