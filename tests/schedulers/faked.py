"""A scheduler for tests: the commands are fakes on the path, the jobs are real processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

from waiting import until

FAKES = Path(__file__).parents[1] / "fakes"
COMMANDS = {"pbs": ("qsub", "qstat", "qdel"), "sge": ("qsub", "qstat", "qacct", "qdel", "qconf")}
FORCE = {"pbs": ("-W", "force"), "sge": ()}


class Scheduler:
    """PBS or Grid Engine, as users see them: by their commands.

    Parameters
    ----------
    name : str
        The name of the scheduler.
    directory : pathlib.Path
        The directory of its commands and its jobs.
    """

    def __init__(self, name, directory):
        self.name = name
        self.commands, self.jobs = directory / "bin", directory / name
        self.jobs.mkdir(exist_ok=True)
        self.commands.mkdir(exist_ok=True)
        for command in COMMANDS[name]:
            path = self.commands / command
            path.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKES}/{name}.py {command} "$@"\n')
            path.chmod(0o755)

    def enter(self, monkeypatch):
        """Put the commands first on the path."""
        monkeypatch.setenv("PATH", f"{self.commands}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("FAKE_JOBS", str(self.jobs))
        return self

    def job(self, id):
        """Return the record of a job; ``job_state`` is its state."""
        return json.loads((self.jobs / f"{id}.job").read_text())

    def state(self, id):
        """Return the state of a job as the scheduler's letter."""
        return self.job(id)["job_state"]

    def submit(self, script):
        """Submit a script as a user would; return the id of the job."""
        done = subprocess.run(["qsub", str(script)], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip() if self.name == "pbs" else done.stdout.split()[2]

    def let_time_pass(self, id):
        """End the walltime of a job, as if the job had begun long ago."""
        job = self.job(id)
        if self.name == "sge":  # Grid Engine computes the end from the start of the job
            new = self.jobs / f"{id}.shifted"
            new.write_text(json.dumps({**job, "started": job["started"] - 24 * 3600}))
            new.rename(self.jobs / f"{id}.job")
        (self.jobs / f"{id}.over").touch()

    def end(self, limit=20):
        """End all jobs, and wait until they have ended."""
        ids = [path.stem for path in self.jobs.glob("*.job")]
        running = [id for id in ids if self.state(id) in ("R", "r")]
        for id in running:
            subprocess.run(["qdel", *FORCE[self.name], id], capture_output=True, timeout=limit, check=False)
        until(lambda: not any(self.state(id) in ("R", "r") for id in running), limit)
