"""A login node for tests: a home directory with profiles, and the command line."""

import os
import subprocess
import sys
from pathlib import Path

from waiting import LIMIT

COMMAND = [sys.executable, "-m", "mpidirect"]
ROOT = Path(__file__).parents[2]
JOBSCRIPTS = ROOT / "jobscripts"
SCHEDULERS = ("MPIDIRECT_", "SLURM_", "SBATCH_", "PBS_", "SGE_", "PE_", "JOB_")

# A program that a job script runs.
SCRIPT = """
import os, sys, time, mpidirect
rc = mpidirect.Client()
print("ids", rc.ids, rc[:].apply_sync(lambda: comm.allreduce(1)), sys.argv[1:], flush=True)
if "wait" in sys.argv:
    time.sleep(60)
sys.exit(7)
"""


def make_home(path, monkeypatch):
    """Make a home directory, without the variables of an enclosing job, with `mpidirect` on the path."""
    for name in [name for name in os.environ if name.startswith(SCHEDULERS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MPIDIRECT_DIR", str(path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("UCX_TLS", "tcp,self")  # MPICH would treat the nodes of the tests as one host
    (path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    command(path, "mpidirect", f'exec {sys.executable} -m mpidirect "$@"')
    monkeypatch.chdir(path)
    return path


def command(home, name, text):
    """Write a command onto the path."""
    path = home / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(*words, **environment):
    """Run ``mpidirect`` with arguments, and wait for its end."""
    return subprocess.run(
        [*COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )
