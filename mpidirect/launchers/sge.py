"""The launcher for Grid Engine (SGE and its successors): qsub, qstat, qacct, qdel."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import ConfigError, LaunchError
from ..options import Option, text
from .base import JobState, JobStatus
from .batch import BatchLauncher

ACCOUNTING = 15.0  # seconds until qacct knows of a job that has ended


class SGELauncher(BatchLauncher):
    """Submits the job to Grid Engine."""

    name = "sge"
    summary = "a Grid Engine job (qsub)"
    scheduler = "Grid Engine"
    prefix = "#$ "
    inside = "PE_HOSTFILE"
    inherited = ("SGE_", "PE_", "JOB_", "NSLOTS", "NHOSTS", "NQUEUES", "QUEUE", "REQUEST", "RESTARTED", "ARC")
    kept = ("SGE_ROOT", "SGE_CELL", "SGE_QMASTER_PORT", "SGE_EXECD_PORT", "SGE_CLUSTER_NAME")
    options = (
        Option("pe", text, "mpi", "The parallel environment of the ranks (qconf -spl lists them).", "NAME"),
    )

    _vanished = 0.0  # when qstat first did not know of the job

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
        yield f"-N {said['job_name']}"
        yield "-S /bin/bash"
        yield f"-o {self.output}"
        yield "-j y"
        yield "-cwd"
        yield "-V"
        yield "-r n"  # started again it would be another cluster, with empty namespaces
        yield f"-pe {said['pe']} {self.tasks * (said['cpus_per_task'] or 1)}"
        for option, flag in (
            ("walltime", "-l h_rt="),
            ("mem", "-l h_vmem="),
            ("gpus", "-l gpu="),
            ("queue", "-q "),
            ("account", "-P "),
            ("qos", "-l qos="),
        ):
            if said[option]:
                yield f"{flag}{said[option]}"

    def submission(self, script: Path) -> list[str]:
        """``qsub -terse``, which prints the id alone."""
        return ["qsub", "-terse", str(script)]

    def read_id(self, output: str) -> str:
        """The last line's number, before the tasks of an array; warnings may stand before it."""
        return (output.strip().splitlines() or [""])[-1].partition(".")[0]

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
            return JobStatus(JobState.PENDING, f"it can't start: {self._explained()}", hopeless=True)
        if "q" in state or state == "t":
            held = "h" in state
            return JobStatus(JobState.PENDING, self._explained() or "it waits for its turn", hopeless=held)
        return JobStatus(JobState.RUNNING, "it ends" if "d" in state else "", hosts=host)

    def _explained(self) -> str:
        """What the scheduler says of a job that waits."""
        shown = self.ask("qstat", "-j", self.id).stdout
        found = re.search(r"^(?:error reason\s+\d+|scheduling info):\s+(.*(?:\n {10,}.*)*)", shown, re.M)
        lines = [line.strip() for line in found[1].splitlines()] if found else []
        return "; ".join(dict.fromkeys(lines))

    def _accounted(self) -> JobStatus:
        """How a job ended; it takes Grid Engine some seconds to know."""
        self._vanished = self._vanished or time.monotonic()
        kept = self.ask("qacct", "-j", self.id)
        if kept.returncode != 0:
            if time.monotonic() < self._vanished + ACCOUNTING and self._seen is not None:
                return JobStatus(JobState.ENDED, "it has ended")
            return JobStatus(JobState.ENDED, f"Grid Engine does not know job {self.id} (any more)")
        fields = dict(re.findall(r"^(\w+)\s+(.*?)\s*$", kept.stdout, re.M))
        failed, code = fields.get("failed", "0"), fields.get("exit_status", "0")
        if failed.split()[0] not in ("0", "100"):
            return JobStatus(JobState.ENDED, f"it failed: {failed.partition(':')[2].strip() or failed}", True)
        if failed.startswith("100") or code in ("137", "143"):
            by = fields.get("deleted_by", "NONE")
            why = (
                f"it was deleted by {by}" if by != "NONE" else "it was killed: deleted, or its time was over"
            )
            return JobStatus(JobState.ENDED, why, failed=True)
        reason = "it ended by itself" if code == "0" else f"it failed with exit code {code}"
        return JobStatus(JobState.ENDED, reason, failed=code != "0")

    def cancel(self, force: bool) -> None:
        """``qdel``; by force also where its host does not answer."""
        self.ask("qdel", *(["-f"] if force else []), self.id)
