"""The script of a scheduler's job: directives, environment, and the command that starts the ranks."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..job.allocation import ENDS, HOSTS
from ..job.supervisor import supervised
from ..job.variables import CLUSTER, SPAWNS
from .base import Job
from .clocks import parse_duration
from .mpi_environment import EXCLUDED_BY
from .mpi_implementation import Implementation

_RANKS = "MPIDIRECT_RANKS"  # variable of the script: the number of ranks that mpiexec starts
_TEMPLATE = """\
#!/bin/bash
# {title}. Submitted by:
#   {submit}
{directives}

{prologue}{environment}
{command}
"""


@dataclass(frozen=True)
class JobScript:
    """The script of one job.

    Attributes
    ----------
    job : Job
        The job.
    settings : mapping
        The value of every option.
    scheduler : str
        The name of the launcher, which decides which variable of the job contains its number of hosts.
    implementation : Implementation
        The MPI whose command starts the ranks.
    one_host : bool or None
        Whether all ranks share a host; None if this is only known when the job runs.
    """

    job: Job
    settings: Mapping[str, Any]
    scheduler: str
    implementation: Implementation
    one_host: bool | None

    def render(
        self,
        directives: Sequence[str],
        submission: Sequence[str],
        command: Sequence[str],
        setup: Sequence[str],
        copy_output: bool,
    ) -> str:
        """Return the text of the script.

        Parameters
        ----------
        directives : sequence of str
            Whole lines.
        submission : sequence of str
            The command that submits the script.
        command : sequence of str
            The command that starts the ranks.
        setup : sequence of str
            Lines of shell that `command` needs before it.
        copy_output : bool
            Whether the job must copy its output to its log, because the scheduler does not while the job
            runs.
        """
        starts, spawn_condition = self._start(command)
        environment = [
            *self._copied_output(copy_output),
            *self._environment(),
            *spawn_condition,
            *self._removal_of_old_files(),
            *self._walltime_end(),
            *setup,
        ]
        spec = self.job.spec
        parts = {
            "title": f"mpidirect: cluster {spec.cluster} of profile {spec.profile!r}, "
            f"{spec.engines} engines and the controller",
            "submit": shlex.join(submission),
            "directives": "\n".join(directives),
            "prologue": "".join(f"{line}\n" for line in self.settings["prologue"]),
            "environment": "\n".join(environment),
            "command": starts,
            "engines": str(spec.engines),
            "ranks": str(self.job.ranks),
            "log": str(self.job.log),
        }
        template = _read_template(self.settings["template"])
        return re.sub(r"(?<!\$)\{(\w+)\}", lambda m: parts.get(m[1], m[0]), template)

    def _copied_output(self, copy_output: bool) -> list[str]:
        if not copy_output:
            return []
        return [f"exec > >(tee -a {shlex.quote(str(self.job.log))}) 2>&1  # to be read while the job runs"]

    @property
    def _mpi_variables(self) -> dict[str, str]:
        """The environment of the command that starts the ranks."""
        variables = self.implementation.environment(bool(self.one_host))
        if self.settings["cpus_per_task"]:  # otherwise OpenMP starts as many threads as there are cores
            variables = {**variables, "OMP_NUM_THREADS": str(self.settings["cpus_per_task"])}
        return variables

    def _environment(self) -> list[str]:
        variables = {CLUSTER: self.job.spec.cluster, SPAWNS: "1" if self.job.spec.spawns else ""}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        return lines + _exports(self._mpi_variables)

    def _start(self, command: Sequence[str]) -> tuple[str, list[str]]:
        """Return the command that starts the ranks, and the lines that decide whether engines are spawned."""
        can_spawn = self.implementation.can_spawn
        prefix = "exec " if self.job.spec.resume else ""  # the supervisor gets the signals of the scheduler
        if can_spawn and self.implementation.name == "mpich":
            return prefix + shlex.join([*self._hydra_command(), *command]), []
        if self.job.spec.spawns and not self.job.spec.resume:
            return shlex.join(command), []
        text = prefix + shlex.join(supervised(command, self.job.file, self.settings["python"]))
        if self.job.spec.spawns:
            return text, []
        if not can_spawn or self.one_host is not None:
            return text, []
        known = self._mpi_variables
        more = {k: v for k, v in self.implementation.environment(True).items() if k not in known}
        condition = [
            f"{_RANKS}={self.job.ranks}",
            f'if [ "${HOSTS[self.scheduler]}" = 1 ]; then  # engines are spawned, as a world of their own',
            f"    {_RANKS}=2",
            f"    export {SPAWNS}=1",
            *(f"    {line}" for line in _exports(more)),
            "fi",
        ]
        return text.replace(f" -n {self.job.ranks} ", f' -n "${_RANKS}" ', 1), condition

    def _hydra_command(self) -> list[str]:
        """Return the command that prepares the hosts of the job, and then starts MPICH's mpiexec."""
        python = self.settings["python"] or sys.executable
        spec = self.job.spec
        return [
            python,
            "-m",
            "mpidirect.launchers.hydra",
            str(self.job.file),
            spec.log_directory,
        ]

    def _removal_of_old_files(self) -> list[str]:
        spec = self.job.spec
        old = f"{shlex.quote(spec.log_directory)}/rank-*.exit {shlex.quote(spec.connection_file)}"
        return [f"rm -f {old}  # of an earlier run, if the job was requeued"]

    def _walltime_end(self) -> list[str]:
        duration = parse_duration(self.settings["walltime"])
        return [] if duration is None else [f"export {ENDS}=$(( $(date +%s) + {duration:.0f} ))"]


def _read_template(name: str) -> str:
    if not name:
        return _TEMPLATE
    path = Path(name).expanduser()
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"The template {path} can't be read: {e}") from None
    if "{command}" not in text:
        raise ConfigError(f"The template {path} has no {{command}}: nothing would start the ranks.")
    return text


def _exports(variables: Mapping[str, str]) -> list[str]:
    """Return lines that set the variables which the user has not set."""
    return [
        (f'[ -n "${{{EXCLUDED_BY[name]}-}}" ] || ' if name in EXCLUDED_BY else "")
        + f'export {name}="${{{name}-{value}}}"'
        for name, value in variables.items()
    ]
