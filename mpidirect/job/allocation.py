"""What a scheduler tells the processes of its jobs: the job's id, its slots, its end."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path

ENDS = "MPIDIRECT_ENDS"  # when the walltime ends the job, in seconds since the epoch: set by job scripts

# The variable that holds the job's id, by the launcher that can ask for it.
_IDS = {"slurm": "SLURM_JOB_ID", "pbs": "PBS_JOBID", "sge": "JOB_ID"}

# The variable that tells a job's processes how many hosts it has, by the launcher.
HOSTS = {"slurm": "SLURM_JOB_NUM_NODES", "sge": "NHOSTS"}


def enclosing() -> tuple[str, str]:
    """The launcher's name and the id of the job that this process is part of; empty outside a job."""
    for launcher, variable in _IDS.items():
        job = os.environ.get(variable, "")
        if job and (launcher != "sge" or "SGE_ROOT" in os.environ or "PE_HOSTFILE" in os.environ):
            return launcher, job
    return "", ""


def slots() -> int:
    """How many ranks this job has room for; outside a job, the cores of this host."""
    launcher, _ = enclosing()
    if launcher == "slurm":
        return int(os.environ.get("SLURM_NTASKS") or 0) or _sum(os.environ.get("SLURM_TASKS_PER_NODE", ""))
    if launcher == "pbs":
        try:
            return len(Path(os.environ["PBS_NODEFILE"]).read_text().split())
        except (KeyError, OSError):
            return int(os.environ.get("PBS_NP", 1))
    if launcher == "sge":
        return int(os.environ.get("NSLOTS", 1))
    return cores()


def hosts() -> int:
    """How many hosts this job has; 0 outside a job, or where that is not known."""
    launcher, _ = enclosing()
    if launcher == "pbs":
        try:
            return len(set(Path(os.environ["PBS_NODEFILE"]).read_text().split()))
        except (KeyError, OSError):
            return 0
    return int(os.environ.get(HOSTS.get(launcher, ""), 0))


def nodes() -> list[tuple[str, int]]:
    """The hosts of this job, and how many ranks each has room for; empty if that is not known."""
    launcher, _ = enclosing()
    try:
        if launcher == "slurm":
            counts = _each(os.environ["SLURM_TASKS_PER_NODE"])
            return list(zip(_names(os.environ["SLURM_JOB_NODELIST"]), counts, strict=True))
        if launcher == "pbs":
            return list(Counter(Path(os.environ["PBS_NODEFILE"]).read_text().split()).items())
        if launcher == "sge":
            lines = Path(os.environ["PE_HOSTFILE"]).read_text().splitlines()
            return [(words[0], int(words[1])) for words in map(str.split, lines) if words]
    except (KeyError, OSError, ValueError, IndexError):
        pass
    return []


def step() -> str:
    """Return Slurm's id of the step that started this process; empty outside of a step."""
    job, number = os.environ.get("SLURM_JOB_ID", ""), os.environ.get("SLURM_STEP_ID", "")
    return f"{job}.{number}" if job and number else ""


def _names(hosts: str) -> list[str]:
    """What Slurm writes like ``n[1-3]``, one by one."""
    import subprocess

    command = ["scontrol", "show", "hostnames", hosts]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.split()


def cores() -> int:
    """How many cores of this host this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sum(counts: str) -> int:
    """The sum of counts that are written like ``2(x3),1``."""
    return sum(_each(counts)) or 1


def _each(counts: str) -> list[int]:
    """The counts, one by one."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [int(n) for n, times in found for _ in range(int(times or 1))]


def ends() -> float:
    """When the walltime ends this job, in seconds since the epoch; 0 if that is not known."""
    # By the clock of the job's first host; else by Slurm's.
    return _moment(ENDS) or ends_now(_moment("SLURM_JOB_END_TIME"))


def _moment(variable: str) -> float:
    """A moment that the environment tells; 0 if it does not."""
    try:
        return float(os.environ[variable])
    except (KeyError, ValueError):
        return 0.0


def ends_now(known: float) -> float:
    """The same, as the scheduler says it now: it may have been moved since the job began.

    Parameters
    ----------
    known : float
        What is known already: returned if the scheduler does not answer.
    """
    launcher, job = enclosing()
    if not launcher:
        return known
    from ..launchers import launcher_class

    here = launcher_class(launcher).of(job)
    here.command_timeout = 5.0
    left = here.state().left
    return known if left is None else time.time() + left
