"""The launcher for PBS (OpenPBS, PBS Professional) and Torque: qsub, qstat, qdel."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config.option import Option
from ..config.values import one_of
from ..errors import LaunchError
from .base import JobState, JobStatus
from .batch import BatchLauncher, held_reason, quoted
from .clocks import parse_duration, parse_local_time
from .mpi_implementation import Implementation

_PENDING = {  # states, and their reasons
    "Q": "it waits for its turn",
    "W": "it waits for its time",
    "T": "it is on its way",
    "M": "it moves",
}
_RUNNING = {"R": "", "E": "it ends", "S": "it is suspended", "B": "", "U": "it is suspended"}
_FINISHED = {"F", "C", "X"}
_UNKNOWN_JOB = {35, 153}  # exit codes of qstat: the job has finished; there is no such job
_DELETED, _WALLTIME_OVER = 271, -29  # exit statuses
_TERMINATED = "91"  # substate of a deleted job, with any exit code of its script
_USAGE_AGE = 300.0  # maximum age in seconds of the used walltime in PBS's answers


class PBSLauncher(BatchLauncher):
    """Submits the job to PBS."""

    name = "pbs"
    summary = "a PBS or Torque job (qsub)"
    keeps_time = True
    can_continue = True
    scheduler = "PBS"
    directive_prefix = "#PBS "
    job_variable = "PBS_JOBID"
    id_pattern = re.compile(r"(\d+(?:\[\d*\])?(?:\.[\w.-]+)?)")
    variable_prefixes = ("PBS_",)
    kept_variables = ("PBS_CONF_FILE", "PBS_EXEC", "PBS_SERVER", "PBS_DEFAULT")
    live_output = False
    options = (
        Option(
            "dialect",
            one_of("pbs", "torque"),
            "pbs",
            "How nodes are asked for: select=2:mpiprocs=16 ('pbs'), or nodes=2:ppn=16 ('torque').",
            "NAME",
        ),
    )

    def resources(self) -> Iterator[str]:
        """Yield the directives."""
        settings = self.settings
        yield f"-N {self.job_name}"
        yield f"-o {quoted(self.output)}"
        yield "-j oe"
        yield "-V"
        yield "-r n"  # a requeued job would be another cluster, with empty namespaces
        yield f"-l {self._nodes() if settings['dialect'] == 'torque' else self._select()}"
        if settings["dialect"] == "pbs" and (
            self.request.controller_node or (self.request.nodes_and_tasks[0] or 1) > 1
        ):
            yield "-l place=scatter"  # otherwise one node may get several chunks
        if settings["walltime"]:
            yield f"-l walltime={settings['walltime']}"
        for option, flag in (("queue", "-q"), ("account", "-A"), ("qos", "-l qos=")):
            if settings[option]:
                yield f"{flag}{'' if flag.endswith('=') else ' '}{settings[option]}"

    @property
    def one_host(self) -> bool:
        """Whether all ranks share a host: PBS never spreads a chunk over hosts."""
        return self.request.nodes_and_tasks[0] in (None, 1) and not self.request.controller_node

    def _select(self) -> str:
        """Return the resources as PBS writes them."""
        nodes, each = self.request.nodes_and_tasks
        each = each or self.request.tasks
        cpus = self.settings["cpus_per_task"] or 1
        own = "1:ncpus=1:mpiprocs=1+" if self.request.controller_node else ""
        parts = [f"select={own}{nodes or 1}", f"ncpus={each * cpus}", f"mpiprocs={each}"]
        parts.append(f"ompthreads={cpus}")  # otherwise OMP_NUM_THREADS is the number of all cores
        parts += [f"mem={self.settings['mem']}"] if self.settings["mem"] else []
        gpus = self.request.gpus(each)
        parts += [f"ngpus={gpus}"] if gpus else []
        parts += [self.settings["constraint"]] if self.settings["constraint"] else []
        return ":".join(parts)

    def _nodes(self) -> str:
        """Return the resources as Torque writes them."""
        nodes, each = self.request.nodes_and_tasks
        own = "1:ppn=1+" if self.request.controller_node else ""
        parts = [
            f"nodes={own}{nodes or 1}",
            f"ppn={(each or self.request.tasks) * (self.settings['cpus_per_task'] or 1)}",
        ]
        gpus = self.request.gpus(each or self.request.tasks)
        parts += [f"gpus={gpus}"] if gpus else []
        parts += [self.settings["constraint"]] if self.settings["constraint"] else []
        return ":".join(parts) + (f",mem={self.settings['mem']}" if self.settings["mem"] else "")

    def place_controller(self, starter: str, implementation: Implementation) -> tuple[list[str], list[str]]:
        """Return nothing to add: the first chunk of the resources is the controller's."""
        return [], []

    def submission(self, script: Path) -> list[str]:
        """Return the ``qsub`` command."""
        return ["qsub", str(script)]

    def after(self, id: str) -> list[str]:
        """Return the arguments for a job that begins when job `id` has ended."""
        return ["-W", f"depend=afterany:{id}"]

    def query(self) -> JobStatus:
        """Ask ``qstat`` for JSON with the history, then for less: not every PBS supports both."""
        complaint = ""
        for flags in (["-x", "-f", "-F", "json"], ["-f", "-F", "json"], ["-f"]):
            shown = self.run("qstat", *flags, self.id)
            complaint = (shown.stderr or shown.stdout).strip()
            attributes = _parse_json(shown.stdout) if "json" in flags else _parse_text(shown.stdout)
            if attributes:
                return parse_job(attributes, self.id)
            if shown.returncode in _UNKNOWN_JOB or re.search("unknown job|has finished", complaint, re.I):
                return JobStatus(JobState.ENDED, f"PBS does not know job {self.id} (any more)")
        raise LaunchError(f"PBS does not answer: {complaint}")

    def cancel(self, force: bool) -> None:
        """Run ``qdel``; with `force` PBS deletes the job without asking its host."""
        if not force or self.run("qdel", "-W", "force", self.id).returncode != 0:
            self.run_change("qdel", self.id)


def _parse_json(text: str) -> dict[str, Any]:
    """Return the attributes of the one job in the answer of ``qstat -F json``; empty if there is none."""
    try:
        jobs = json.loads(text).get("Jobs", {})
    except (json.JSONDecodeError, AttributeError):
        return {}
    return next(iter(jobs.values()), {})


def _parse_text(text: str) -> dict[str, Any]:
    """Return the attributes in the answer of ``qstat -f``: ``key = value``, continued on lines with a tab."""
    joined = re.sub(r"\n\t(?!\S+ = )", "", text)  # some versions begin each line with a tab
    found: dict[str, Any] = dict(re.findall(r"^\s+(\S+) = (.*)$", joined, re.M))
    for name in ("Resource_List", "resources_used"):
        found[name] = {k.partition(".")[2]: v for k, v in found.items() if k.startswith(f"{name}.")}
    return found if "job_state" in found else {}


def parse_job(job: dict[str, Any], id: str) -> JobStatus:
    """Return the status by the attributes of a job."""
    state, comment = str(job.get("job_state", "")), str(job.get("comment", ""))
    hosts = ",".join(
        dict.fromkeys(part.partition("/")[0] for part in str(job.get("exec_host", "")).split("+"))
    )
    if state in _FINISHED:
        return _ended_status(job, comment, hosts)
    if state == "H" and job.get("depend"):
        return JobStatus(JobState.PENDING, "it waits for another job")
    if state == "H":
        return JobStatus(JobState.PENDING, held_reason(f"qrls {id}"))
    if state in _PENDING:
        never = "can never run" in comment.lower()
        words = comment.partition(":")[2].strip() if never else comment
        reason = f"it asks for more than there is; PBS says {words}" if never else words or _PENDING[state]
        return JobStatus(JobState.PENDING, reason, hopeless=never if comment else None)
    reason = _RUNNING.get(state, f"PBS says {state}")
    return JobStatus(JobState.RUNNING, reason, hosts=hosts, left=_seconds_left(job), ending=state == "E")


def _ended_status(job: dict[str, Any], comment: str, hosts: str) -> JobStatus:
    """Return the status of a job that has ended."""
    try:
        code = int(job.get("Exit_status", job.get("exit_status", "")))
    except ValueError:
        return JobStatus(JobState.ENDED, "it was deleted before it ran", failed=True)
    by = re.search(r"\bterminated\b(?: by (\S+))?", comment)
    if by or str(job.get("substate", "")) == _TERMINATED or code == _DELETED:
        who = f" by {by[1]}" if by and by[1] else ""
        return JobStatus(JobState.ENDED, f"it was deleted{who} (qdel)", failed=True, hosts=hosts)
    reasons = {0: "it ended by itself", _WALLTIME_OVER: "its walltime was over"}
    reason = reasons.get(code, f"it failed with exit status {code}")
    return JobStatus(JobState.ENDED, reason, failed=code != 0, hosts=hosts)


def _seconds_left(job: dict[str, Any]) -> float | None:
    """Return the seconds until the walltime ends a job.

    The used walltime in PBS's answers is minutes old. The start time of the job is exact, but by the server's
    clock.
    """
    limit = parse_duration(job.get("Resource_List", {}).get("walltime"))
    used = parse_duration(job.get("resources_used", {}).get("walltime")) or 0.0
    began = parse_local_time(str(job.get("stime", "")), "%a %b %d %H:%M:%S %Y")
    if began is not None:
        passed = time.time() - began
        used = passed if 0 <= passed - used <= _USAGE_AGE else used
    return None if limit is None else max(0.0, limit - used)
