"""The commands of a scheduler: their environment, their time limit and their errors."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import ClassVar

from ..errors import LaunchError
from ..job.allocation import ENDS
from ..job.variables import CLUSTER
from .mpi_environment import without_enclosing_job


class SchedulerCommands:
    """Runs the commands of a scheduler."""

    scheduler: ClassVar[str]  # the name of the scheduler for users
    job_variable: ClassVar[str]  # an environment variable of a job's processes
    variable_prefixes: ClassVar[tuple[str, ...]] = ()  # prefixes of the variables of a job
    kept_variables: ClassVar[tuple[str, ...]] = ()  # exceptions from `variable_prefixes`

    command_timeout: float  # seconds that a command may take
    _last_complaint = ""  # the error message of the last command that should change something

    def environment(self) -> dict[str, str]:
        """Return the environment for the scheduler's commands, without an enclosing job's variables."""
        environment = without_enclosing_job(os.environ)
        for name in (CLUSTER, ENDS):
            environment.pop(name, None)
        if self.job_variable not in environment:
            return environment
        return {
            name: value
            for name, value in environment.items()
            if name in self.kept_variables or not name.startswith(self.variable_prefixes)
        }

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the scheduler to its end.

        Raises
        ------
        LaunchError
            When the command can't be run, or does not end.
        """
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.command_timeout,
                check=False,
                env={**self.environment(), "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            raise LaunchError(f"{command[0]} did not answer within {self.command_timeout:g} s") from None
        except OSError as e:
            raise self.cannot_run(command[0], e) from None

    def run_change(self, *command: str) -> None:
        """Run a command that changes something. `stop` reports its error message if the job does not end."""
        done = self.run(*command)
        if done.returncode != 0:
            complaint = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
            self._last_complaint = f"{shlex.join(command)} says: {complaint}"

    def cannot_run(self, command: str, error: OSError) -> LaunchError:
        """Return the error for a command that the system can't run."""
        return LaunchError(
            f"{command} can't be run here: {error.strerror}.\n"
            f"Is this a host that {self.scheduler} jobs are submitted from, and is its module loaded?"
        )
