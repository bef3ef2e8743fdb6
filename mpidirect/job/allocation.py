"""The allocation of a scheduler's job, as its processes see it: the job's id, slots, hosts and end."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

ENDS = "MPIDIRECT_ENDS"  # When the walltime ends the job, in seconds since the epoch. Job scripts set this.

# The variable that holds the job's id, by launcher.
_IDS = {"slurm": "SLURM_JOB_ID", "pbs": "PBS_JOBID", "sge": "JOB_ID"}

# The variable that holds the number of the job's hosts, by launcher.
HOSTS = {"slurm": "SLURM_JOB_NUM_NODES", "sge": "NHOSTS"}


def enclosing() -> tuple[str, str]:
    """Return the launcher's name and the id of the job of this process; both are empty outside a job."""
    for launcher, variable in _IDS.items():
        job = os.environ.get(variable, "")
        if job and (launcher != "sge" or "SGE_ROOT" in os.environ or "PE_HOSTFILE" in os.environ):
            return launcher, job
    return "", ""


def slots() -> int:
    """Return how many ranks have room in this job; outside a job, the number of cores of this host."""
    launcher, _ = enclosing()
    if launcher == "slurm":
        return int(os.environ.get("SLURM_NTASKS") or 0) or _sum_counts(
            os.environ.get("SLURM_TASKS_PER_NODE", "")
        )
    if launcher == "pbs":
        try:
            return len(Path(os.environ["PBS_NODEFILE"]).read_text().split())
        except (KeyError, OSError):
            return int(os.environ.get("PBS_NP", 1))
    if launcher == "sge":
        return int(os.environ.get("NSLOTS", 1))
    return cores()


def room() -> int:
    """Return the most engines that this job holds, by tasks or by cores; 0 without a limit: on one host.

    A step of the job may have fewer tasks than the job, so with Slurm the cores of the job count as well.
    """
    cores_of_job = _expand_counts(os.environ.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return max(slots(), sum(cores_of_job)) if hosts() > 1 else 0


def hosts() -> int:
    """Return the number of hosts of this job; 0 outside a job, or if it is not known."""
    launcher, _ = enclosing()
    if launcher == "pbs":
        try:
            return len(set(Path(os.environ["PBS_NODEFILE"]).read_text().split()))
        except (KeyError, OSError):
            return 0
    return int(os.environ.get(HOSTS.get(launcher, ""), 0))


def nodes() -> list[tuple[str, int]]:
    """Return the hosts of this job, and how many ranks have room on each; empty if it is not known."""
    launcher, _ = enclosing()
    try:
        if launcher == "slurm":
            counts = _expand_counts(os.environ["SLURM_TASKS_PER_NODE"])
            return list(zip(_expand_hosts(os.environ["SLURM_JOB_NODELIST"]), counts, strict=True))
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


def _expand_hosts(hosts: str) -> list[str]:
    """Expand Slurm's notation of hosts, like ``n[1-3]``."""
    import subprocess

    command = ["scontrol", "show", "hostnames", hosts]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.split()


def cores() -> int:
    """Return how many cores of this host this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sum_counts(counts: str) -> int:
    """Return the sum of counts in Slurm's notation, like ``2(x3),1``."""
    return sum(_expand_counts(counts)) or 1


def _expand_counts(counts: str) -> list[int]:
    """Expand counts in Slurm's notation."""
    found = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    return [int(n) for n, times in found for _ in range(int(times or 1))]


def job_end() -> float:
    """Return when the walltime ends this job by its script, in seconds since the epoch; 0 if not known."""
    return _time_from(ENDS)


def slurm_job_end() -> float:
    """Return when the walltime ends this job by Slurm's clock, in seconds since the epoch; 0 if not known."""
    return _time_from("SLURM_JOB_END_TIME")


def _time_from(variable: str) -> float:
    """Return the time in an environment variable, in seconds since the epoch; 0 if it is not set."""
    try:
        return float(os.environ[variable])
    except (KeyError, ValueError):
        return 0.0
