"""Idle engines import numpy, at most as many at once on a host as there are cores."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import until

from mpidirect.arrays import lazy_numpy

pytestmark = [
    pytest.mark.openmpi_only,  # nothing here depends on the MPI
    pytest.mark.skipif(sys.platform != "linux", reason="names without files are Linux's"),
]


def test_engines_take_turns(monkeypatch):
    user, cores = 1 << 31 | os.getpid(), len(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "getuid", lambda: user)  # so that engines of running clusters do not take part
    monkeypatch.setattr(lazy_numpy, "warm", lambda: None)
    with contextlib.ExitStack() as busy:
        for core in range(cores):
            busy.enter_context(socket.socket(socket.AF_UNIX)).bind(f"\0mpidirect-{user}-warm-{core}")
        assert not lazy_numpy.warm_in_turn()
    assert lazy_numpy.warm_in_turn()


@pytest.mark.parametrize("role", ["engine", "controller"])
def test_a_rank_starts_without_numpy(role):
    code = (
        "import sys, mpi4py; mpi4py.rc.initialize = False; "
        f"import mpidirect.job.roles.{role}; assert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_idle_engine_imports_numpy(start):
    _, rc = start(1)
    maps = Path(f"/proc/{rc.engines_info[0]['pid']}/maps")
    until(lambda: "_multiarray_umath" in maps.read_text())
