"""The launcher for PBS (OpenPBS, PBS Professional) and Torque: qsub, qstat, qdel."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..config.options import Option, one_of
from ..errors import LaunchError
from . import mpi
from .base import JobState, JobStatus
from .batch import BatchLauncher, held, quoted

_PENDING = {
    "Q": "it waits for its turn",
    "W": "it waits for its time",
    "T": "it is on its way",
    "M": "it moves",
}
_RUNNING = {"R": "", "E": "it ends", "S": "it is suspended", "B": "", "U": "it is suspended"}
_FINISHED = {"F", "C", "X"}
_FORGOTTEN = {35, 153}  # exit codes of qstat: the job has finished; there is no such job
_DELETED, _OVERDUE = 271, -29  # exit statuses
_TERMINATED = "91"  # substate of a job that was deleted, whatever its script made of that
_LAG = 300.0  # seconds that what PBS says of the time used may be old


class PBSLauncher(BatchLauncher):
    """Submits the job to PBS."""

    name = "pbs"
    summary = "a PBS or Torque job (qsub)"
    keeps_time = True
    scheduler = "PBS"
    prefix = "#PBS "
    inside = "PBS_JOBID"
    answer = re.compile(r"(\d+(?:\[\d*\])?(?:\.[\w.-]+)?)")
    inherited = ("PBS_",)
    kept = ("PBS_CONF_FILE", "PBS_EXEC", "PBS_SERVER", "PBS_DEFAULT")
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
        """The job's directives."""
        said = self.settings
        yield f"-N {self.job_name}"
        yield f"-o {quoted(self.output)}"
        yield "-j oe"
        yield "-V"
        yield "-r n"  # started again it would be another cluster, with empty namespaces
        yield f"-l {self._torque() if said['dialect'] == 'torque' else self._select()}"
        if said["dialect"] == "pbs" and (self.alone or (self.shape[0] or 1) > 1):
            yield "-l place=scatter"  # else one node may get several chunks
        if said["walltime"]:
            yield f"-l walltime={said['walltime']}"
        for option, flag in (("queue", "-q"), ("account", "-A"), ("qos", "-l qos=")):
            if said[option]:
                yield f"{flag}{'' if flag.endswith('=') else ' '}{said[option]}"

    @property
    def one_host(self) -> bool:
        """A chunk is never spread."""
        return self.shape[0] in (None, 1) and not self.alone

    def _select(self) -> str:
        nodes, each = self.shape
        each = each or self.tasks
        cpus = self.settings["cpus_per_task"] or 1
        own = "1:ncpus=1:mpiprocs=1+" if self.alone else ""
        parts = [f"select={own}{nodes or 1}", f"ncpus={each * cpus}", f"mpiprocs={each}"]
        parts.append(f"ompthreads={cpus}")  # else OMP_NUM_THREADS is the number of all cores
        parts += [f"mem={self.settings['mem']}"] if self.settings["mem"] else []
        gpus = self.gpus(each)
        parts += [f"ngpus={gpus}"] if gpus else []
        parts += [self.settings["constraint"]] if self.settings["constraint"] else []
        return ":".join(parts)

    def _torque(self) -> str:
        nodes, each = self.shape
        own = "1:ppn=1+" if self.alone else ""
        parts = [
            f"nodes={own}{nodes or 1}",
            f"ppn={(each or self.tasks) * (self.settings['cpus_per_task'] or 1)}",
        ]
        gpus = self.gpus(each or self.tasks)
        parts += [f"gpus={gpus}"] if gpus else []
        parts += [self.settings["constraint"]] if self.settings["constraint"] else []
        return ":".join(parts) + (f",mem={self.settings['mem']}" if self.settings["mem"] else "")

    def apart(self, starter: str, kind: mpi.Flavour) -> tuple[list[str], list[str]]:
        """By what is asked for: the first chunk is the controller's."""
        return [], []

    def submission(self, script: Path) -> list[str]:
        """``qsub``."""
        return ["qsub", str(script)]

    def look(self) -> JobStatus:
        """Ask ``qstat``: for JSON with the history, then for less, since not each PBS has either."""
        complaint = ""
        for flags in (["-x", "-f", "-F", "json"], ["-f", "-F", "json"], ["-f"]):
            shown = self.ask("qstat", *flags, self.id)
            complaint = (shown.stderr or shown.stdout).strip()
            attributes = _json(shown.stdout) if "json" in flags else _text(shown.stdout)
            if attributes:
                return _understood(attributes, self.id)
            if shown.returncode in _FORGOTTEN or re.search("unknown job|has finished", complaint, re.I):
                return JobStatus(JobState.ENDED, f"PBS does not know job {self.id} (any more)")
        raise LaunchError(f"PBS does not answer: {complaint}")

    def cancel(self, force: bool) -> None:
        """``qdel``; by force without a word to its processes."""
        if not force or self.ask("qdel", "-W", "force", self.id).returncode != 0:
            self.order("qdel", self.id)


def _json(text: str) -> dict[str, Any]:
    """The attributes of the one job in ``qstat -F json``'s answer; empty if there is none."""
    try:
        jobs = json.loads(text).get("Jobs", {})
    except (json.JSONDecodeError, AttributeError):
        return {}
    return next(iter(jobs.values()), {})


def _text(text: str) -> dict[str, Any]:
    """The same of ``qstat -f``'s answer: ``key = value``, continued on lines that begin with a tab."""
    joined = re.sub(r"\n\t(?!\S+ = )", "", text)  # some begin each line with a tab
    found: dict[str, Any] = dict(re.findall(r"^\s+(\S+) = (.*)$", joined, re.M))
    for name in ("Resource_List", "resources_used"):
        found[name] = {k.partition(".")[2]: v for k, v in found.items() if k.startswith(f"{name}.")}
    return found if "job_state" in found else {}


def _understood(job: dict[str, Any], id: str) -> JobStatus:
    """How a job fares, by its attributes."""
    state, comment = str(job.get("job_state", "")), str(job.get("comment", ""))
    hosts = ",".join(
        dict.fromkeys(part.partition("/")[0] for part in str(job.get("exec_host", "")).split("+"))
    )
    if state in _FINISHED:
        return _ended(job, comment, hosts)
    if state == "H":
        return JobStatus(JobState.PENDING, held(f"qrls {id}"))
    if state in _PENDING:
        never = "can never run" in comment.lower()
        words = comment.partition(":")[2].strip() if never else comment
        reason = f"it asks for more than there is; PBS says {words}" if never else words or _PENDING[state]
        return JobStatus(JobState.PENDING, reason, hopeless=never if comment else None)
    reason = _RUNNING.get(state, f"PBS says {state}")
    return JobStatus(JobState.RUNNING, reason, hosts=hosts, left=_left(job), ending=state == "E")


def _ended(job: dict[str, Any], comment: str, hosts: str) -> JobStatus:
    try:
        code = int(job.get("Exit_status", job.get("exit_status", "")))
    except ValueError:
        return JobStatus(JobState.ENDED, "it was deleted before it ran", failed=True)
    by = re.search(r"\bterminated\b(?: by (\S+))?", comment)
    if by or str(job.get("substate", "")) == _TERMINATED or code == _DELETED:
        who = f" by {by[1]}" if by and by[1] else ""
        return JobStatus(JobState.ENDED, f"it was deleted{who} (qdel)", failed=True, hosts=hosts)
    reasons = {0: "it ended by itself", _OVERDUE: "its walltime was over"}
    reason = reasons.get(code, f"it failed with exit status {code}")
    return JobStatus(JobState.ENDED, reason, failed=code != 0, hosts=hosts)


def _left(job: dict[str, Any]) -> float | None:
    """Seconds until the walltime ends a job.

    What PBS says of the time used is minutes old; when the job began is exact, but by the server's clock.
    """
    limit = _seconds(job.get("Resource_List", {}).get("walltime"))
    used = _seconds(job.get("resources_used", {}).get("walltime")) or 0.0
    try:
        began = time.mktime(time.strptime(str(job["stime"])))
    except (KeyError, ValueError, OverflowError):
        pass
    else:
        passed = time.time() - began
        used = passed if 0 <= passed - used <= _LAG else used
    return None if limit is None else max(0.0, limit - used)


def _seconds(clock: Any) -> float | None:
    try:
        hours, minutes, seconds = map(int, str(clock).split(":"))
    except ValueError:
        return None
    return float((hours * 60 + minutes) * 60 + seconds)
