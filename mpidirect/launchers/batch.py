"""The base of the launchers for schedulers: make a script, submit it, watch the job, cancel it.

The launcher of a scheduler defines how its directives are written, and how to submit, query and cancel a job.
"""

from __future__ import annotations

import functools
import re
import textwrap
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..errors import ConfigError, LaunchError
from ..files.regular import read_regular
from ..job.allocation import HOSTS
from . import mpi
from .base import JobState, JobStatus, Launcher
from .mpi_implementation import Implementation
from .resources import ResourceRequest, engine_count
from .scheduler_commands import SchedulerCommands
from .script import JobScript
from .submission import Submission

_NO_ANSWER = 10.0  # seconds without an answer of the scheduler after which `stop` gives up
_FORCED_END = 40.0  # seconds that a scheduler may take to end a job by force


def held_reason(release: str, cause: str = "") -> str:
    """Return the reason of a held job; `release` is the command that releases the job."""
    return f"it is held{cause}; it goes on after '{release}'"


def quoted(value: str) -> str:
    """Return the value of a directive, in quotes if it has blanks."""
    return f'"{value}"' if re.search(r"\s", value) else value


class BatchLauncher(SchedulerCommands, Launcher):
    """Starts the job by a scheduler."""

    local = False
    scheduled = True
    poll_interval = 0.1
    ip = "*"

    directive_prefix: ClassVar[str]  # the beginning of a line with a directive
    id_pattern: ClassVar[re.Pattern[str]] = re.compile(r"(\S+)")  # the line with the job's id
    names_have_blanks: ClassVar[bool] = False  # whether the scheduler permits blanks in a job's name
    live_output: ClassVar[bool] = True  # whether a job's output can be read before the job ends

    _last_status: JobStatus | None = None
    _first_query = _next_query = 0.0  # times on the monotonic clock

    # Methods that each scheduler's launcher defines

    @abstractmethod
    def resources(self) -> Iterator[str]:
        """Yield the directives, without their prefix."""

    @abstractmethod
    def submission(self, script: Path) -> list[str]:
        """Return the command that submits a script."""

    def after(self, id: str) -> list[str]:
        """Return the arguments of the submission for a job that begins when job `id` has ended."""
        raise LaunchError(f"The launcher '{self.name}' can't continue a cluster in another job.")

    @abstractmethod
    def query(self) -> JobStatus:
        """Ask the scheduler for the status of the job.

        Raises
        ------
        LaunchError
            When the scheduler does not answer.
        """

    @abstractmethod
    def cancel(self, force: bool) -> None:
        """Ask the scheduler to end the job; with `force` at once."""

    def place_controller(self, starter: str, implementation: Implementation) -> tuple[list[str], list[str]]:
        """Put rank 0 on a node of its own.

        Parameters
        ----------
        starter : str
            The command that starts the ranks.
        implementation : Implementation
            The MPI of that command.

        Returns
        -------
        arguments : list of str
            Arguments for the command that starts the ranks.
        setup : list of str
            Lines of the script before that command.

        Raises
        ------
        ConfigError
            When the scheduler can't do this.
        """
        raise ConfigError(
            f"{self.scheduler} can't be asked for a node of the controller's own here: controller = 'slot' "
            "gives it a task on the first node, 'shared' none."
        )

    def read_id(self, output: str) -> str:
        """Return the job's id from the output of the submission; empty if the output has none, or several."""
        lines = (self.id_pattern.fullmatch(line.strip()) for line in output.splitlines())
        found = dict.fromkeys(line[1] for line in lines if line)
        return next(iter(found)) if len(found) == 1 else ""

    # The resources of the job

    @classmethod
    def engines(cls, settings: Mapping[str, Any]) -> int:
        """Return the number of engines that nodes and tasks result in, without the controller's own task."""
        return engine_count(settings)

    @functools.cached_property
    def request(self) -> ResourceRequest:
        """The nodes, tasks and GPUs of the job."""
        return ResourceRequest(self.settings, self.job.spec.engines)

    def hosts_asked(self) -> int:
        """Return the number of requested nodes."""
        return self.request.nodes_and_tasks[0] or 0

    @property
    def one_host(self) -> bool | None:
        """Whether all ranks will share a host; None if this is only known when the job runs."""
        if self.request.controller_node:
            return False
        nodes = self.request.nodes_and_tasks[0]
        return None if nodes is None and self.name in HOSTS else nodes == 1

    def spawns(self) -> bool:
        """Whether engines are spawned: on one host with Open MPI; with MPICH `hydra.begin` decides later."""
        _, implementation = mpi.rank_command(self.job, self.settings, elsewhere=True)
        return implementation.name == "openmpi" and implementation.can_spawn and bool(self.one_host)

    # The script

    @property
    def script_file(self) -> Path:
        """The file of the script."""
        return Path(self.job.spec.log_directory) / "job.sh"

    @property
    def job_name(self) -> str:
        """The job's name, in the form of a directive.

        Raises
        ------
        ConfigError
            When the scheduler permits no such name.
        """
        name = str(self.settings["job_name"])
        if not self.names_have_blanks and len(name.split()) != 1:
            raise ConfigError(f'job_name = "{name}": {self.scheduler} takes a name without blanks.')
        return quoted(name)

    @property
    def output(self) -> str:
        """The file to which the scheduler writes the job's output."""
        if self.settings["output"]:
            return str(self.settings["output"])
        return str(self.job.log if self.live_output else self.job.log.with_suffix(".out"))

    def job_script(self) -> str:
        """Return the script that was submitted, or that would be submitted."""
        try:
            return read_regular(self.script_file)
        except OSError:
            return self._new_script()

    def _new_script(self) -> str:
        command, implementation = mpi.rank_command(self.job, self.settings, elsewhere=True)
        setup: list[str] = []
        if self.request.controller_node:
            command[1:1], setup = self.place_controller(command[0], implementation)
        elif Path(command[0]).name == "srun" and self.request.tasks < self.job.ranks:
            command.insert(1, "--overcommit")  # else srun refuses one rank more than tasks
        script = JobScript(self.job, self.settings, self.name, implementation, self.one_host)
        copy_output = bool(self.settings["output"]) or not self.live_output
        return script.render(
            self._directives(), self.submission(self.script_file), command, setup, copy_output
        )

    def _directives(self) -> list[str]:
        without = tuple(self.settings["without"])
        lines = [line for line in self.resources() if not line.startswith(without)]
        return [f"{self.directive_prefix}{line}" for line in (*lines, *self.settings["directives"])]

    # Submission

    def start(self) -> dict[str, Any]:
        """Submit the script."""
        self.script_file.write_text(self._new_script())
        return self._submit(self.submission(self.script_file))

    def submit_continuation(self) -> dict[str, Any]:
        """Submit the script once more, to begin when the present job has ended; return the new handle."""
        command, *arguments = self.submission(self.script_file)
        return self._submit([command, *self.after(self.id), *arguments])

    def _submit(self, command: list[str]) -> dict[str, Any]:
        try:
            submission = Submission(command, self.environment(), self.scheduler)
        except OSError as e:
            raise self.cannot_run(command[0], e) from None
        try:
            output = submission.output()
        except KeyboardInterrupt:
            self._learn_id_after_interrupt(submission, command[0])
            raise
        id = self.read_id(output)
        if not id:
            raise LaunchError(
                f"A job may have been submitted, but no line of what {command[0]} printed is a job's id:\n"
                f"{textwrap.indent(output.strip() or '(nothing)', '    ')}\n"
                f"{self._unknown_job_advice}"
            )
        self.handle = {"id": id}
        return self.handle

    def _learn_id_after_interrupt(self, submission: Submission, command: str) -> None:
        """Learn the id of a job that was submitted before a Ctrl-C, so that `stop` can cancel the job."""
        try:
            output = submission.output_after_interrupt()
        except TimeoutError:
            raise LaunchError(
                f"{command} was interrupted: a job may have been submitted.\n{self._unknown_job_advice}"
            ) from None
        self.handle = {"id": self.read_id(output)}

    @property
    def _unknown_job_advice(self) -> str:
        name = self.settings["job_name"]
        return f"Look for a job called {name!r}, and cancel it: no command of mpidirect knows of it."

    # Status and end

    def state(self) -> JobStatus:
        """Return the status of the job.

        The scheduler is asked twice a second at first, and finally every ten seconds.
        """
        now = time.monotonic()
        if self._last_status is None:
            self._first_query = now
        elif _is_final(self._last_status) or now < self._next_query:
            return self._last_status
        self._last_status = self._status()
        self._next_query = time.monotonic() + min(10.0, max(0.5, (now - self._first_query) / 20))
        return self._last_status

    def _status(self) -> JobStatus:
        """Ask the scheduler now."""
        if not self.id:
            return JobStatus(JobState.ENDED, "it was not submitted")
        try:
            status = self.query()
        except LaunchError as e:
            return JobStatus(JobState.UNKNOWN, str(e))
        if status.state is JobState.ENDED:
            ended = self.ended(status.reason, status.failed)
            return ended._replace(hosts=status.hosts, settled=status.settled)
        return status

    def stop(self, grace: float) -> None:
        """Cancel the job, and check that it has ended."""
        status = self._status()
        if grace > 0 and status.state is not JobState.ENDED:
            status = self._cancelled(force=False, deadline=time.monotonic() + grace)
        if status.state is not JobState.ENDED:
            status = self._cancelled(force=True, deadline=time.monotonic() + _FORCED_END)
        self._last_status = status
        if status.state is not JobState.ENDED:
            raise LaunchError(
                f"Job {self.id} was cancelled but has not ended: "
                f"{self._last_complaint or status.reason or status.state.value}.\n"
                "Look again in a while:  mpidirect status"
            )

    def _cancelled(self, force: bool, deadline: float) -> JobStatus:
        """Cancel the job, and return its status when it has ended, or at the deadline."""
        self._last_complaint = ""
        try:
            self.cancel(force)
        except LaunchError as e:  # the scheduler may still have executed the command
            self._last_complaint = str(e)
        answered = time.monotonic()
        while (status := self._status()).state is not JobState.ENDED and time.monotonic() < deadline:
            if status.state is not JobState.UNKNOWN:
                answered = time.monotonic()
            elif time.monotonic() - answered > _NO_ANSWER:
                raise LaunchError(
                    f"Whether job {self.id} has ended is not known: "
                    f"{self._last_complaint or status.reason}.\n"
                    f"Try again when {self.scheduler} answers:  mpidirect stop"
                )
            time.sleep(self.poll_interval)
        return status


def _is_final(status: JobStatus) -> bool:
    return status.state is JobState.ENDED and status.settled
