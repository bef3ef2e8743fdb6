"""The launcher for Grid Engine (SGE and its successors): qsub, qstat, qacct, qdel."""

from __future__ import annotations

import getpass
import re
import time
from collections.abc import Iterator
from pathlib import Path

from ..config.options import Option, text
from ..errors import ConfigError, LaunchError
from .base import JobState, JobStatus
from .batch import BatchLauncher, held, quoted

ACCOUNTING = 20.0  # seconds until qacct knows of a job that has ended
SLACK = 1.0  # seconds that Grid Engine's clocks may be apart


class SGELauncher(BatchLauncher):
    """Submits the job to Grid Engine."""

    name = "sge"
    summary = "a Grid Engine job (qsub)"
    scheduler = "Grid Engine"
    prefix = "#$ "
    inside = "PE_HOSTFILE"
    # The tasks of an array follow the id; wrappers may leave out -terse.
    answer = re.compile(r"(?:Your job(?:-array)? )?(\d+)(?:\.\S+)?(?: \(.*\) has been submitted)?")
    inherited = ("SGE_", "PE_", "JOB_", "NSLOTS", "NHOSTS", "NQUEUES", "QUEUE", "REQUEST", "RESTARTED", "ARC")
    kept = ("SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "SGE_CLUSTER_NAME")
    options = (
        Option("pe", text, "mpi", "The parallel environment of the ranks (qconf -spl lists them).", "NAME"),
    )

    _vanished = 0.0  # when qstat first did not know of the job
    _deleted = False  # whether it was seen to be deleted
    _ends: float | None = None  # when its walltime ends it; 0: never

    def resources(self) -> Iterator[str]:
        """The job's directives."""
        said = self.settings
        if said["constraint"]:
            yield f"-l {said['constraint']}"
        if said["nodes"] and not said["ntasks_per_node"]:
            raise ConfigError(
                "Grid Engine's parallel environment says how ranks are spread: leave out --nodes, and choose "
                "the environment by --set pe=NAME."
            )
        if said["gpus_per_task"] and (said["cpus_per_task"] or 1) > 1:
            raise ConfigError(
                "Grid Engine gives GPUs to slots, and engines with --cpus-per-task have several of them. Say "
                "what your site's resource needs by --directive='-l gpu=…' instead of --gpus-per-task."
            )
        self.gpus(1)
        yield f"-N {self.job_name}"
        yield "-S /bin/bash"
        yield f"-o {quoted(self.output)}"
        yield "-j y"
        yield "-cwd"
        yield "-V"
        yield "-r n"  # started again it would be another cluster, with empty namespaces
        yield f"-pe {said['pe']} {self.tasks * (said['cpus_per_task'] or 1)}"
        for option, flag in (
            ("walltime", "-l h_rt="),
            ("mem", "-l h_vmem="),
            ("gpus", "-l gpu="),
            ("gpus_per_task", "-l gpu="),  # of each slot
            ("queue", "-q "),
            ("account", "-P "),
            ("qos", "-l qos="),
        ):
            if said[option]:
                yield f"{flag}{said[option]}"

    def submission(self, script: Path) -> list[str]:
        """``qsub -terse``, which prints the id alone."""
        return ["qsub", "-terse", str(script)]

    def look(self) -> JobStatus:
        """Ask ``qstat`` for all jobs, and ``qacct`` for one that is no more among them."""
        shown = self.ask("qstat", "-u", "*")
        if shown.returncode != 0:
            raise LaunchError(f"Grid Engine does not answer: {(shown.stderr or shown.stdout).strip()}")
        for line in shown.stdout.splitlines():
            words = line.split()
            if words and words[0] == self.id:
                return self._listed(words)
        return self._accounted()

    def _listed(self, words: list[str]) -> JobStatus:
        """How a job fares that ``qstat`` lists: number, priority, name, user, state, date, time, queue."""
        state = words[4]
        host = words[7].partition("@")[2] if len(words) > 7 else ""
        if "E" in state:
            why = f"it can't start: {self._explained()}; 'qmod -cj {self.id}' lets it try again"
            return JobStatus(JobState.PENDING, why, hopeless=True)
        if "q" in state or state == "t":
            if "h" in state:
                return JobStatus(JobState.PENDING, held(f"qrls {self.id}"))
            if why := self._explained():
                return JobStatus(JobState.PENDING, why)
            return JobStatus(JobState.PENDING, "it waits for its turn", hopeless=None)
        if "d" in state:
            self._deleted = True
            return JobStatus(JobState.RUNNING, "it ends", hosts=host, ending=True)
        if self._ends is None:  # asked once: a job's limit stays
            self._ends = self._limit(f"{words[5]} {words[6]}")
        left = max(0.0, self._ends - time.time()) if self._ends else None
        return JobStatus(JobState.RUNNING, hosts=host, left=left)

    def hosts_asked(self) -> int:
        """As many as Grid Engine has given: its environment spreads the ranks."""
        found: set[str] = set()
        mine = False
        for line in self.ask("qstat", "-u", "*", "-g", "t").stdout.splitlines():
            words = line.split()
            if words and words[0].isdecimal():  # a job; its other slots follow
                mine = words[0] == self.id
            if mine:
                found.update(word for word in words if "@" in word)
        return len(found)

    def _limit(self, began: str) -> float:
        """When the walltime ends a job that began then, in seconds since the epoch; 0 if it has none."""
        found = re.search(
            r"^hard resource_list:.*\bh_rt=(\d+)", self.ask("qstat", "-j", self.id).stdout, re.M
        )
        try:
            return time.mktime(time.strptime(began, "%m/%d/%Y %H:%M:%S")) + int(found[1]) if found else 0.0
        except ValueError:
            return 0.0

    def _explained(self) -> str:
        """What the scheduler says of a job that waits."""
        shown = self.ask("qstat", "-j", self.id).stdout
        found = re.search(r"^(?:error reason\s+\d+|scheduling info):\s+(.*(?:\n {10,}.*)*)", shown, re.M)
        lines = [line.strip() for line in found[1].splitlines()] if found else []
        return "; ".join(
            dict.fromkeys(
                line for line in lines if not line.startswith(("There are no messages", "Job is in hold"))
            )
        )

    def _accounted(self) -> JobStatus:
        """How a job ended; it takes Grid Engine some seconds to know."""
        self._vanished = self._vanished or time.time()
        kept = self.ask("qacct", "-j", self.id)
        if kept.returncode != 0:
            return self._presumed()
        fields = dict(re.findall(r"^(\w+)\s+(.*?)\s*$", kept.stdout, re.M))
        failed = fields.get("failed", "0")
        code = fields.get("exit_status", "0").partition(" ")[0]  # "137    (Killed)"
        reason = failed.partition(":")[2].strip() or failed
        if failed.split()[0] == "100" or "h_rt" in reason or code in ("137", "143"):
            return JobStatus(JobState.ENDED, _killed(fields), failed=True)
        if failed.split()[0] != "0":
            return JobStatus(JobState.ENDED, f"it failed: {reason}", failed=True)
        reason = "it ended by itself" if code == "0" else f"it failed with exit code {code}"
        return JobStatus(JobState.ENDED, reason, failed=code != "0")

    def _presumed(self) -> JobStatus:
        """How a job ended that no accounting knows (yet), by what was seen of it before."""
        final = time.time() > self._vanished + ACCOUNTING
        if self._deleted:
            return JobStatus(JobState.ENDED, "it was deleted (qdel)", failed=True)
        if self._ends and self._vanished > self._ends - SLACK:
            return JobStatus(JobState.ENDED, "its walltime was over", failed=True)
        why = f"it has ended, and Grid Engine's accounting does not know how{'' if final else ' yet'}"
        return JobStatus(JobState.ENDED, why, settled=final)

    def cancel(self, force: bool) -> None:
        """``qdel``, which kills at once.

        By force also a job that was deleted before, and whose host did not hear it. That is for managers:
        of others ``qdel -f`` deletes the job, sleeps for a minute, and is refused then.
        """
        manager = force and self._deleted and getpass.getuser() in self.ask("qconf", "-sm").stdout.split()
        self.order("qdel", *(["-f"] if manager else []), self.id)
        if force and self._deleted and not manager:
            self._complaint = f"its host has not heard of it; a manager can:  qdel -f {self.id}"


def _killed(fields: dict[str, str]) -> str:
    """Why a job was killed, by what ``qacct`` says of it."""
    if fields.get("deleted_by", "NONE") != "NONE":  # Univa's
        return f"it was deleted by {fields['deleted_by']}"
    limit = re.search(r"\bh_rt=(\d+)", fields.get("category", ""))
    lasted = re.match(r"[\d.]+", fields.get("ru_wallclock", ""))
    if limit and lasted and float(lasted[0]) >= int(limit[1]) - SLACK:
        return "its walltime was over"
    if "enforced" in fields.get("failed", ""):
        return "it went over a limit on its time or memory"
    return "it was deleted (qdel), or killed"
