"""Intel MPI from PyPI: the engines are launched, and a supervisor restarts all of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROGRAMS
from waiting import until, until_assigned

import mpidirect
from mpidirect.errors import MPIDirectError

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(600)]  # one run is enough

N = 3
WITHIN = 60.0  # seconds: much more than any step needs


@pytest.fixture
def python(request):
    """Make a Python with mpidirect and Intel MPI."""
    home = Path(request.config.cache.mkdir("intel"))
    python = home / "bin" / "python"
    if not (home / "bin" / "mpiexec").exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        source = str(Path(mpidirect.__file__).parent.parent)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-e", f"{source}[impi]"], check=True, timeout=500)
    return str(python)


def works(rc, n: int = N) -> None:
    """Check that all engines live, and that `comm` contains them."""
    assert rc.ids == list(range(n))
    assert (
        rc[:].pull("comm.allreduce(rank), size, MPI.COMM_WORLD.size").get(WITHIN)
        == [(sum(range(n)), n, n)] * n
    )


def stuck_in_c(rc) -> None:
    """All engines but one wait in C for that one, with Python's lock held."""
    rc[:].run(str(PROGRAMS / "cworld.py"), block=True)
    rc[1:].execute("world.barrier(True)")
    until_assigned(rc, rc.ids[1:])


def killed(rc) -> None:
    for engine in rc.engines_info.values():
        os.kill(engine["pid"], signal.SIGKILL)
    until(lambda: not rc.ids)


def frozen(rc) -> None:
    os.kill(rc.engines_info[2]["pid"], signal.SIGSTOP)


def test_starts_deaths_and_restarts(python, start):
    _, rc = start(N, python=python)
    assert "Intel" in rc.facts["mpi"] and "its rank 0 is the controller" in rc.facts["world"]
    works(rc)
    waiting = rc[1:].execute("comm.barrier()")
    until_assigned(rc, [1, 2])
    rc.interrupt()
    assert {failure.ename for failure in waiting.failures.values()} == {"KeyboardInterrupt"}
    works(rc)
    for trouble in (stuck_in_c, frozen, killed):
        trouble(rc)
        assert rc.restart() == list(range(N)), trouble
        works(rc)
    waiting = rc[[0, 2]].execute("comm.barrier()")
    until_assigned(rc, [0, 2])
    os.kill(rc.engines_info[1]["pid"], signal.SIGKILL)
    assert waiting.wait(WITHIN)
    assert {failure.ename for failure in waiting.failures.values()} == {"CommunicatorLost"}
    assert rc[:].pull("comm.allreduce(1)").get(WITHIN) == [2, 2]
    with pytest.raises(MPIDirectError, match=r"rc.restart\(\) of all engines"):
        rc.restart("dead")
    assert rc.resize(2) == [0, 1]
    works(rc, 2)


def test_doctor_names_the_limits(python):
    done = subprocess.run(
        [python, "-m", "mpidirect", "doctor"], capture_output=True, text=True, timeout=100, check=False
    )
    assert "Intel MPI 2021" in done.stdout and "belongs to it" in done.stdout, done.stdout + done.stderr
    assert "MPI_COMM_WORLD has the controller in it as its rank 0" in done.stdout
