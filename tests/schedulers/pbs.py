"""PBS for tests: its commands, faked, in a directory that goes onto the path."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

FAKES = Path(__file__).parents[1] / "fakes"


def install(directory, monkeypatch):
    """Put the commands into `directory`/bin and onto the path; returns where the jobs are."""
    (directory / "bin").mkdir(exist_ok=True)
    for name in ("qsub", "qstat", "qdel"):
        command = directory / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKES}/pbs.py {name} "$@"\n')
        command.chmod(0o755)
    jobs = directory / "pbs"
    jobs.mkdir()
    monkeypatch.setenv("PATH", f"{directory / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PBS", str(jobs))
    return jobs


def state(job):
    """The state of the job in a file, as a letter."""
    return json.loads(job.read_text())["job_state"]


def end(jobs, limit=20):
    """End all jobs, and wait until they have ended."""
    for job in jobs.glob("*.pbs1"):
        subprocess.run(["qdel", "-W", "force", job.name], capture_output=True, timeout=limit, check=False)
    deadline = time.monotonic() + limit
    while any(state(job) == "R" for job in jobs.glob("*.pbs1")) and time.monotonic() < deadline:
        time.sleep(0.05)
