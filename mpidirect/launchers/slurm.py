"""The launcher for Slurm: sbatch, scontrol, scancel."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError, LaunchError
from .base import JobState, JobStatus
from .batch import BatchLauncher, held_reason, quoted
from .clocks import parse_duration, parse_local_time
from .mpi_implementation import Implementation

_PENDING = {  # states, and their reasons
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "RESV_DEL_HOLD",
    "SPECIAL_EXIT",
}
_ENDED = {  # states, and the reason of a job's end
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

# Reasons of a pending job that will never start.
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
# Reasons of a held job, and the text that follows them.
_HELD = {
    "JobHeldUser": "",
    "JobHeldAdmin": " by an administrator",
    "job_requeued_in_held_state": ", as it was requeued",
    "launch_failed_requeued_held": ", as it could not be launched",
    "JobHoldMaxRequeue": ", as it was requeued too often",
}
_NO_OUTPUT = "53"  # the signal number that Slurm reports when a node can't write the job's output
_JOB_LIMIT = re.compile(r"(QOS|Assoc)\w*(PerJob|PerNode|WallDuration|MinCpu|MinGRES|MinMemory)\w*")


class SlurmLauncher(BatchLauncher):
    """Submits the job to Slurm."""

    name = "slurm"
    summary = "a Slurm job (sbatch)"
    keeps_time = True
    names_have_blanks = True
    can_continue = True
    tells_cancellation = True
    scheduler = "Slurm"
    directive_prefix = "#SBATCH "
    job_variable = "SLURM_JOB_ID"
    # The cluster's name follows in a federation; wrappers may leave out --parsable.
    id_pattern = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S*| on cluster \S+)?")
    variable_prefixes = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "PMIX_", "PMI_", "PMI2_")
    kept_variables = ("SLURM_CONF", "SLURM_CLUSTERS")

    def resources(self) -> Iterator[str]:
        """Yield the directives."""
        settings = self.settings
        nodes, each = self.request.nodes_and_tasks
        self.request.gpus(1)  # raises an error if settings contradict each other
        yield f"--job-name={self.job_name}"
        yield f"--output={quoted(self.output)}"
        yield "--no-requeue"  # a requeued job would be another cluster, with empty namespaces
        if nodes:
            yield f"--nodes={nodes + self.request.controller_node}"
            yield f"--ntasks-per-node={each}"
        else:
            yield f"--ntasks={self.request.tasks}"
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
            if settings[option]:
                yield f"--{flag}={settings[option]}"

    def submission(self, script: Path) -> list[str]:
        """Return the ``sbatch`` command."""
        return ["sbatch", "--parsable", str(script)]

    def place_controller(self, starter: str, implementation: Implementation) -> tuple[list[str], list[str]]:
        """Put rank 0 on a node of its own, by a file with a host for each rank."""
        each = self.request.nodes_and_tasks[1]
        if each is None:
            raise ConfigError(
                "A node of the controller's own (controller = 'node') is one node more than the engines "
                "have: say how many nodes the engines have, by --nodes or --ntasks-per-node."
            )
        file = str(self.job.log.with_name("hosts"))
        lines = [
            'scontrol show hostnames "$SLURM_JOB_NODELIST" | '
            f"awk '{{for (k = NR == 1 ? {each} : 1; k <= {each}; k++) print}}' | "
            f"head -n {self.job.ranks} > {shlex.quote(file)}"
        ]
        if Path(starter).name == "srun":
            return ["--distribution=arbitrary"], [*lines, f"export SLURM_HOSTFILE={shlex.quote(file)}"]
        arguments = implementation.hostfile_arguments(file)
        if not arguments:
            raise ConfigError(
                f"mpidirect does not know how to tell {starter} where ranks go, so the controller can't have "
                "a node of its own: controller = 'slot' gives it a task on the first node."
            )
        return arguments, lines

    def environment(self) -> dict[str, str]:
        """Return the environment for Slurm's commands, without the user's filters and formats."""
        formats = ("SQUEUE_", "SLURM_TIME_FORMAT", "SACCT_")
        return {k: v for k, v in super().environment().items() if not k.startswith(formats)}

    def after(self, id: str) -> list[str]:
        """Return the arguments for a job that begins when job `id` has ended."""
        return [f"--dependency=afterany:{id}"]

    def allow_requeue(self) -> bool:
        """Allow Slurm to queue the job again. The script forbids this, because a failure saves nothing."""
        return self.run("scontrol", "update", f"JobId={self.id}", "Requeue=1").returncode == 0

    def requeue(self) -> None:
        """Run ``scontrol requeue``."""
        done = self.run("scontrol", "requeue", self.id)
        if done.returncode != 0:
            raise LaunchError(f"scontrol requeue says: {(done.stderr or done.stdout).strip()}")

    def query(self) -> JobStatus:
        """Ask ``scontrol``, and ``sacct`` if ``scontrol`` has forgotten the job."""
        shown = self.run("scontrol", "--oneliner", "show", "job", self.id)
        if shown.returncode == 0 and "JobState=" in shown.stdout:
            return parse_job(shown.stdout)
        if "Invalid job id" not in shown.stderr + shown.stdout:
            raise LaunchError(f"Slurm does not answer: {(shown.stderr or shown.stdout).strip()}")
        record = self.run("sacct", "-n", "-X", "-P", "-j", self.id, "-o", "State,ExitCode")
        state, _, code = record.stdout.strip().partition("|")
        if record.returncode == 0 and state:
            return _ended_status(state.split()[0], code)
        return JobStatus(JobState.ENDED, f"Slurm does not know job {self.id} (any more)")

    def cancel(self, force: bool) -> None:
        """Run ``scancel``; with `force` send a SIGKILL to all processes of the job first."""
        if force:
            self.run("scancel", "--quiet", "--full", "--signal=KILL", self.id)
        self.run_change("scancel", "--quiet", self.id)


def parse_job(text: str) -> JobStatus:
    """Return the status of the job that ``scontrol --oneliner show job`` prints."""
    fields = dict(re.findall(r"(\w+)=(\S*)", text))
    state, reason = fields["JobState"], fields.get("Reason", "None")
    hosts = "" if fields.get("NodeList") in (None, "", "(null)") else fields["NodeList"]
    if state in _ENDED:
        return _ended_status(state, fields.get("ExitCode", ""), hosts)
    if state in _PENDING:
        status = _pending_status(reason, fields.get("StartTime", ""), fields.get("JobId", ""))
        if fields.get("Restarts", "0") != "0":
            status = status._replace(reason=f"it was requeued and will begin anew: {status.reason}")
        return status
    if state == "COMPLETING":
        why = "its walltime is over" if reason == "TimeLimit" else "it ends"
        return JobStatus(JobState.RUNNING, why, hosts=hosts, ending=True)
    if state in ("RUNNING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"):
        why = "" if state == "RUNNING" else f"Slurm says {state}"
        return JobStatus(JobState.RUNNING, why, hosts=hosts, left=_seconds_left(fields))
    return _ended_status(state, fields.get("ExitCode", ""), hosts)


def _pending_status(reason: str, start: str, id: str) -> JobStatus:
    """Return the status of a pending job; `start` is its expected start."""
    if reason in _HELD:
        return JobStatus(JobState.PENDING, held_reason(f"scontrol release {id}", _HELD[reason]))
    never = _HOPELESS.get(reason)
    if never is None and _JOB_LIMIT.fullmatch(reason):
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
    described = words.get(reason, reason.replace("_", " "))  # Slurm writes blanks as underscores
    begins = _parse_time(start)
    if begins is not None and begins - time.time() > 60:
        described += f", expected to start at {start.replace('T', ' ')}"
    return JobStatus(JobState.PENDING, described, hopeless=None if reason == "None" else False)


def _ended_status(state: str, code: str, hosts: str = "") -> JobStatus:
    """Return the status of a job that has ended; `code` is ``EXIT:SIGNAL``."""
    reason = _ENDED.get(state, "it ended")
    exit_code, _, signum = code.partition(":")
    if state == "FAILED" and signum == _NO_OUTPUT:
        reason += ": its node can't write its output, which must be on a file system that the nodes share"
    elif state == "FAILED":
        reason += f" by signal {signum}" if signum not in ("", "0") else f" with exit code {exit_code}"
    elif state != "COMPLETED":
        reason += f" (Slurm says {state})"
    return JobStatus(JobState.ENDED, reason, failed=state != "COMPLETED", hosts=hosts)


def _seconds_left(fields: dict[str, str]) -> float | None:
    """Return the seconds until the walltime ends a job, by Slurm's clock; this host's may differ."""
    ends, began = _parse_time(fields.get("EndTime", "")), _parse_time(fields.get("StartTime", ""))
    passed = parse_duration(fields.get("RunTime", ""))
    if ends is None or began is None or passed is None:
        return None
    return max(0.0, ends - began - passed)


def _parse_time(text: str) -> float | None:
    """Return a time of Slurm in seconds since the epoch; None for Unknown, N/A and NONE."""
    return parse_local_time(text, "%Y-%m-%dT%H:%M:%S")
