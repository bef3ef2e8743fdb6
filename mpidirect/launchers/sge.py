"""The launcher for Grid Engine (SGE and its successors): qsub, qstat, qacct, qdel."""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Iterator
from pathlib import Path

from ..config.option import Option
from ..config.values import text
from ..errors import ConfigError, LaunchError
from .base import JobState, JobStatus
from .batch import BatchLauncher, held_reason, quoted
from .clocks import parse_local_time

_ACCOUNTING_DELAY = 20.0  # seconds until qacct knows a job that has ended
_CLOCK_SKEW = 1.0  # maximum seconds between the clocks of Grid Engine's hosts


class SGELauncher(BatchLauncher):
    """Submits the job to Grid Engine."""

    name = "sge"
    summary = "a Grid Engine job (qsub)"
    can_continue = True
    tells_cancellation = True
    scheduler = "Grid Engine"
    directive_prefix = "#$ "
    job_variable = "PE_HOSTFILE"
    # The tasks of an array follow the id; wrappers may leave out -terse.
    id_pattern = re.compile(r"(?:Your job(?:-array)? )?(\d+)(?:\.\S+)?(?: \(.*\) has been submitted)?")
    variable_prefixes = (
        "SGE_",
        "PE_",
        "JOB_",
        "NSLOTS",
        "NHOSTS",
        "NQUEUES",
        "QUEUE",
        "REQUEST",
        "RESTARTED",
        "ARC",
    )
    kept_variables = ("SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "SGE_CLUSTER_NAME")
    options = (
        Option("pe", text, "mpi", "The parallel environment of the ranks (qconf -spl lists them).", "NAME"),
    )

    _vanished = 0.0  # when qstat first did not list the job
    _deleted = False  # whether qstat showed that the job is being deleted
    _ends: float | None = None  # end of the walltime, in seconds since the epoch; 0 for none

    def resources(self) -> Iterator[str]:
        """Yield the directives."""
        settings = self.settings
        if settings["constraint"]:
            yield f"-l {settings['constraint']}"
        if settings["nodes"] and not settings["ntasks_per_node"]:
            raise ConfigError(
                "Grid Engine's parallel environment says how ranks are spread: leave out --nodes, and choose "
                "the environment by --set pe=NAME."
            )
        if settings["gpus_per_task"] and (settings["cpus_per_task"] or 1) > 1:
            raise ConfigError(
                "Grid Engine gives GPUs to slots, and engines with --cpus-per-task have several slots. Ask "
                "for your site's GPU resource by --directive='-l gpu=…' instead of --gpus-per-task."
            )
        self.request.gpus(1)  # raises an error if settings contradict each other
        yield f"-N {self.job_name}"
        yield "-S /bin/bash"
        yield f"-o {quoted(self.output)}"
        yield "-j y"
        yield "-cwd"
        yield "-V"
        yield "-r n"  # a requeued job would be another cluster, with empty namespaces
        yield f"-pe {settings['pe']} {self.request.tasks * (settings['cpus_per_task'] or 1)}"
        for option, flag in (
            ("walltime", "-l h_rt="),
            ("mem", "-l h_vmem="),
            ("gpus", "-l gpu="),
            ("gpus_per_task", "-l gpu="),  # for each slot
            ("queue", "-q "),
            ("account", "-P "),
            ("qos", "-l qos="),
        ):
            if settings[option]:
                yield f"{flag}{settings[option]}"

    def submission(self, script: Path) -> list[str]:
        """Return the command ``qsub -terse``, which prints the id alone."""
        return ["qsub", "-terse", str(script)]

    def after(self, id: str) -> list[str]:
        """Return the arguments for a job that begins when job `id` has ended."""
        return ["-hold_jid", id]

    def query(self) -> JobStatus:
        """Ask ``qstat`` for all jobs, and ``qacct`` if the job is not among them."""
        shown = self.run("qstat", "-u", "*")
        if shown.returncode != 0:
            raise LaunchError(f"Grid Engine does not answer: {(shown.stderr or shown.stdout).strip()}")
        for line in shown.stdout.splitlines():
            words = line.split()
            if words and words[0] == self.id:
                return self._listed_status(words)
        return self._ended_status()

    def _listed_status(self, words: list[str]) -> JobStatus:
        """Return the status by a line of ``qstat``: id, priority, name, user, state, date, time, queue."""
        state = words[4]
        host = words[7].partition("@")[2] if len(words) > 7 else ""
        if "E" in state:
            why = f"it can't start: {self._pending_reason()}; 'qmod -cj {self.id}' lets it try again"
            return JobStatus(JobState.PENDING, why, hopeless=True)
        if "q" in state or state == "t":
            if "h" in state and self._waits_for_job():
                return JobStatus(JobState.PENDING, "it waits for another job")
            if "h" in state:
                return JobStatus(JobState.PENDING, held_reason(f"qrls {self.id}"))
            if why := self._pending_reason():
                return JobStatus(JobState.PENDING, why)
            return JobStatus(JobState.PENDING, "it waits for its turn", hopeless=None)
        if "d" in state:
            self._deleted = True
            return JobStatus(JobState.RUNNING, "it ends", hosts=host, ending=True)
        if self._ends is None:  # asked only once: the limit of a job does not change
            self._ends = self._walltime_end(f"{words[5]} {words[6]}")
        left = max(0.0, self._ends - time.time()) if self._ends else None
        return JobStatus(JobState.RUNNING, hosts=host, left=left)

    def hosts_asked(self) -> int:
        """Return the number of hosts that Grid Engine has given."""
        found: set[str] = set()
        mine = False
        for line in self.run("qstat", "-u", "*", "-g", "t").stdout.splitlines():
            words = line.split()
            if words and words[0].isdecimal():  # the line of a job; lines of its other slots follow
                mine = words[0] == self.id
            if mine:
                found.update(word for word in words if "@" in word)
        return len(found)

    def _walltime_end(self, began: str) -> float:
        """Return the end of the walltime of a job that `began` then, in epoch seconds; 0 if there is none."""
        shown = self.run("qstat", "-j", self.id).stdout
        limit = re.search(r"^hard resource_list:.*\bh_rt=(\d+)", shown, re.M)
        start = parse_local_time(began, "%m/%d/%Y %H:%M:%S")
        return start + int(limit[1]) if limit and start is not None else 0.0

    def _waits_for_job(self) -> bool:
        """Return whether the job is held until another one has ended."""
        return "jid_predecessor_list:" in self.run("qstat", "-j", self.id).stdout

    def _pending_reason(self) -> str:
        """Return the scheduler's reason for a job that waits."""
        shown = self.run("qstat", "-j", self.id).stdout
        found = re.search(r"^(?:error reason\s+\d+|scheduling info):\s+(.*(?:\n {10,}.*)*)", shown, re.M)
        lines = [line.strip() for line in found[1].splitlines()] if found else []
        return "; ".join(
            dict.fromkeys(
                line for line in lines if not line.startswith(("There are no messages", "Job is in hold"))
            )
        )

    def _ended_status(self) -> JobStatus:
        """Return the status of a job that has ended, which Grid Engine knows after some seconds."""
        self._vanished = self._vanished or time.time()
        record = self.run("qacct", "-j", self.id)
        if record.returncode != 0:
            return self._status_without_accounting()
        fields = dict(re.findall(r"^(\w+)\s+(.*?)\s*$", record.stdout, re.M))
        failed = fields.get("failed", "0")
        code = fields.get("exit_status", "0").partition(" ")[0]  # "137    (Killed)"
        reason = failed.partition(":")[2].strip() or failed
        if failed.split()[0] == "100" or "h_rt" in reason or code in ("137", "143"):
            return JobStatus(JobState.ENDED, _kill_reason(fields), failed=True)
        if failed.split()[0] != "0":
            return JobStatus(JobState.ENDED, f"it failed: {reason}", failed=True)
        reason = "it ended by itself" if code == "0" else f"it failed with exit code {code}"
        return JobStatus(JobState.ENDED, reason, failed=code != "0")

    def _status_without_accounting(self) -> JobStatus:
        """Return the status of an ended job that is not in the accounting yet, by its earlier statuses."""
        final = time.time() > self._vanished + _ACCOUNTING_DELAY
        if self._deleted:
            return JobStatus(JobState.ENDED, "it was deleted (qdel)", failed=True)
        if self._ends and self._vanished > self._ends - _CLOCK_SKEW:
            return JobStatus(JobState.ENDED, "its walltime was over", failed=True)
        why = f"it has ended, and Grid Engine's accounting does not know how{'' if final else ' yet'}"
        return JobStatus(JobState.ENDED, why, settled=final)

    def cancel(self, force: bool) -> None:
        """Run ``qdel``, which kills at once.

        With `force`, also delete a job that was deleted before without an effect on its host. Only a manager
        can do this: for other users ``qdel -f`` deletes the job, sleeps for a minute, and is then refused.
        """
        manager = force and self._deleted and getpass.getuser() in self.run("qconf", "-sm").stdout.split()
        self.run_change("qdel", *(["-f"] if manager else []), self.id)
        if force and self._deleted and not manager:
            self._last_complaint = f"its host has not heard of it; a manager can:  qdel -f {self.id}"


def _kill_reason(fields: dict[str, str]) -> str:
    """Return why a job was killed, by the fields of ``qacct``."""
    if fields.get("deleted_by", "NONE") != "NONE":  # a field of Univa Grid Engine
        return f"it was deleted by {fields['deleted_by']}"
    limit = re.search(r"\bh_rt=(\d+)", fields.get("category", ""))
    lasted = re.match(r"[\d.]+", fields.get("ru_wallclock", ""))
    if limit and lasted and float(lasted[0]) >= int(limit[1]) - _CLOCK_SKEW:
        return "its walltime was over"
    if "enforced" in fields.get("failed", ""):
        return "it went over a limit on its time or memory"
    return "it was deleted (qdel), or killed"
