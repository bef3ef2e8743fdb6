"""The launcher for Slurm: sbatch, scontrol, scancel."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError, LaunchError
from . import mpi
from .base import JobState, JobStatus
from .batch import BatchLauncher, held, quoted

_PENDING = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}
_ENDED = {
    "COMPLETED": "it ended by itself",
    "FAILED": "it failed",
    "CANCELLED": "it was cancelled",
    "TIMEOUT": "its walltime was over",
    "PREEMPTED": "it was preempted: another job took its place",
    "NODE_FAIL": "a node failed",
    "OUT_OF_MEMORY": "it used more memory than it asked for: --mem asks for more",
    "BOOT_FAIL": "a node did not boot",
    "DEADLINE": "its deadline was over",
}

# Reasons of a job that pends which no patience resolves.
_HOPELESS = {
    "PartitionTimeLimit": "its walltime is longer than the partition allows (--walltime, --partition)",
    "PartitionNodeLimit": "it asks for more nodes than the partition has or allows (--nodes, --partition)",
    "PartitionConfig": "it asks for more than the partition has or allows "
    "(-n, --nodes, --walltime, --partition)",
    "BadConstraints": "no node has what it asks for (--constraint, --mem, --gpus)",
    "InvalidAccount": "its account may not be used (--account)",
    "InvalidQOS": "its quality of service may not be used (--qos)",
    "DependencyNeverSatisfied": "what it depends on failed",
    "AccountNotAllowed": "its account may not use the partition (--account, --partition)",
    "QOSNotAllowed": "its quality of service may not use the partition (--qos, --partition)",
    "QOSTimeLimit": "its walltime is longer than its quality of service allows (--walltime, --qos)",
}
# Reasons of a job that somebody must release, and what they add to that.
_HELD = {
    "JobHeldUser": "",
    "JobHeldAdmin": " by an administrator",
    "job_requeued_in_held_state": ", as it was requeued",
    "launch_failed_requeued_held": ", as it could not be launched",
    "JobHoldMaxRequeue": ", as it was requeued too often",
}
_NO_OUTPUT = "53"  # what Slurm calls a signal when a node can't write the job's output
_LIMIT = re.compile(r"(QOS|Assoc)\w*(PerJob|PerNode|WallDuration|MinCpu|MinGRES|MinMemory)\w*")


class SlurmLauncher(BatchLauncher):
    """Submits the job to Slurm."""

    name = "slurm"
    summary = "a Slurm job (sbatch)"
    keeps_time = True
    names_have_blanks = True
    scheduler = "Slurm"
    prefix = "#SBATCH "
    inside = "SLURM_JOB_ID"
    # The cluster's name follows in a federation; wrappers may leave out --parsable.
    answer = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S*| on cluster \S+)?")
    inherited = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "PMIX_", "PMI_", "PMI2_")
    kept = ("SLURM_CONF", "SLURM_CLUSTERS")

    def resources(self) -> Iterator[str]:
        """The job's directives."""
        said = self.settings
        nodes, each = self.shape
        self.gpus(1)
        yield f"--job-name={self.job_name}"
        yield f"--output={quoted(self.output)}"
        yield "--no-requeue"  # started again it would be another cluster, with empty namespaces
        if nodes:
            yield f"--nodes={nodes + self.alone}"
            yield f"--ntasks-per-node={each}"
        else:
            yield f"--ntasks={self.tasks}"
        for option, flag in (
            ("cpus_per_task", "cpus-per-task"),
            ("mem", "mem"),
            ("gpus", "gpus-per-node"),
            ("gpus_per_task", "gpus-per-task"),
            ("walltime", "time"),
            ("queue", "partition"),
            ("account", "account"),
            ("qos", "qos"),
            ("constraint", "constraint"),
        ):
            if said[option]:
                yield f"--{flag}={said[option]}"

    def submission(self, script: Path) -> list[str]:
        """``sbatch``."""
        return ["sbatch", "--parsable", str(script)]

    def apart(self, starter: str, kind: mpi.Flavour) -> tuple[list[str], list[str]]:
        """By a file with a host for each rank, the first node's name in the first line alone."""
        each = self.shape[1]
        if each is None:
            raise ConfigError(
                "A node of the controller's own (controller = 'node') is one more than the engines have: say "
                "how many those are, by --nodes or --ntasks-per-node."
            )
        file = str(self.job.log.with_name("hosts"))
        lines = [
            'scontrol show hostnames "$SLURM_JOB_NODELIST" | '
            f"awk '{{for (k = NR == 1 ? {each} : 1; k <= {each}; k++) print}}' | "
            f"head -n {self.job.ranks} > {shlex.quote(file)}"
        ]
        if Path(starter).name == "srun":
            return ["--distribution=arbitrary"], [*lines, f"export SLURM_HOSTFILE={shlex.quote(file)}"]
        words = kind.placed_by(file)
        if not words:
            raise ConfigError(
                f"Nobody knows how {starter} is told where ranks go, so the controller can't have a node of "
                "its own: controller = 'slot' gives it a task on the first node."
            )
        return words, lines

    def environment(self) -> dict[str, str]:
        """No filter or format of the user's changes what the commands say."""
        dropped = ("SQUEUE_", "SLURM_TIME_FORMAT", "SACCT_")
        return {k: v for k, v in super().environment().items() if not k.startswith(dropped)}

    def look(self) -> JobStatus:
        """Ask ``scontrol``, and of a job that it has forgotten, ``sacct``."""
        shown = self.ask("scontrol", "--oneliner", "show", "job", self.id)
        if shown.returncode == 0 and "JobState=" in shown.stdout:
            return _understood(shown.stdout)
        if "Invalid job id" not in shown.stderr + shown.stdout:
            raise LaunchError(f"Slurm does not answer: {(shown.stderr or shown.stdout).strip()}")
        kept = self.ask("sacct", "-n", "-X", "-P", "-j", self.id, "-o", "State,ExitCode")
        state, _, code = kept.stdout.strip().partition("|")
        if kept.returncode == 0 and state:
            return _ended(state.split()[0], code)
        return JobStatus(JobState.ENDED, f"Slurm does not know job {self.id} (any more)")

    def cancel(self, force: bool) -> None:
        """``scancel``; by force with a SIGKILL to all of it first."""
        if force:
            self.ask("scancel", "--quiet", "--full", "--signal=KILL", self.id)
        self.order("scancel", "--quiet", self.id)


def _understood(text: str) -> JobStatus:
    """How a job fares, by what ``scontrol --oneliner show job`` prints."""
    fields = dict(re.findall(r"(\w+)=(\S*)", text))
    state, reason = fields["JobState"], fields.get("Reason", "None")
    hosts = "" if fields.get("NodeList") in (None, "", "(null)") else fields["NodeList"]
    if state in _ENDED:
        return _ended(state, fields.get("ExitCode", ""), hosts)
    if state in _PENDING:
        status = _pending(reason, fields.get("StartTime", ""), fields.get("JobId", ""))
        if fields.get("Restarts", "0") != "0":
            status = status._replace(reason=f"it was requeued and will begin anew: {status.reason}")
        return status
    if state == "COMPLETING":
        why = "its walltime is over" if reason == "TimeLimit" else "it ends"
        return JobStatus(JobState.RUNNING, why, hosts=hosts, ending=True)
    if state in ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"):
        why = "" if state == "RUNNING" else f"Slurm says {state}"
        return JobStatus(JobState.RUNNING, why, hosts=hosts, left=_left(fields))
    return _ended(state, fields.get("ExitCode", ""), hosts)


def _pending(reason: str, start: str, id: str) -> JobStatus:
    if reason in _HELD:
        return JobStatus(JobState.PENDING, held(f"scontrol release {id}", _HELD[reason]))
    never = _HOPELESS.get(reason)
    if never is None and _LIMIT.fullmatch(reason):
        never = "it asks for more than a limit on one job allows (--qos, --account, --walltime, --nodes)"
    if never:
        return JobStatus(JobState.PENDING, f"{never}; Slurm says {reason}", hopeless=True)
    words = {
        "None": "it is new",
        "Resources": "no free nodes",
        "Priority": "others come first",
        "BeginTime": "its time to begin has not come",
        "Dependency": "it waits for another job",
    }
    said = words.get(reason, reason.replace("_", " "))  # on one line Slurm writes them so
    began = _moment(start)
    if began is not None and began - time.time() > 60:
        said += f", expected to start at {start.replace('T', ' ')}"
    return JobStatus(JobState.PENDING, said, hopeless=None if reason == "None" else False)


def _ended(state: str, code: str, hosts: str = "") -> JobStatus:
    """A job that has ended; `code` is ``EXIT:SIGNAL``."""
    reason = _ENDED.get(state, "it ended")
    exit_code, _, signum = code.partition(":")
    if state == "FAILED" and signum == _NO_OUTPUT:
        reason += ": its node can't write its output, which must be on a file system that the nodes share"
    elif state == "FAILED":
        reason += f" by signal {signum}" if signum not in ("", "0") else f" with exit code {exit_code}"
    elif state != "COMPLETED":
        reason += f" (Slurm says {state})"
    return JobStatus(JobState.ENDED, reason, failed=state != "COMPLETED", hosts=hosts)


def _left(fields: dict[str, str]) -> float | None:
    """Seconds until the walltime ends a job, by Slurm's own clock: this host's may be another."""
    ends, began = _moment(fields.get("EndTime", "")), _moment(fields.get("StartTime", ""))
    passed = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", fields.get("RunTime", ""))
    if ends is None or began is None or passed is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in passed.groups())
    return max(0.0, ends - began - (((days * 24 + hours) * 60 + minutes) * 60 + seconds))


def _moment(text: str) -> float | None:
    """A moment as Slurm writes it, in seconds since the epoch."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):  # Unknown, N/A, NONE
        return None
