"""The launcher that runs mpiexec: on this host, or on hosts that mpiexec itself reaches."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import LaunchError
from ..job import allocation, processes
from ..job.supervisor import supervised
from ..job.variables import CLUSTER, SPAWNS
from . import hydra, mpi
from .base import JobState, JobStatus, Launcher
from .mpi_environment import configured_parameters, launch_environment, missing_variables

# Arguments of mpiexec that name hosts, or distribute ranks over hosts.
_HOST_ARGUMENTS = {
    f"{dashes}{word}"
    for dashes in ("-", "--")
    for word in ("H", "host", "hosts", "hostfile", "machinefile", "f", "map-by", "ppn", "rankfile", "app")
}

# Parameters in Open MPI's files that choose transports: the environment would overrule them.
_TRANSPORT_PARAMETERS = {"btl", "btl_tcp_if_include", "btl_tcp_if_exclude"}


class MpiexecLauncher(Launcher):
    """Starts the job by the mpiexec that belongs to mpi4py's MPI."""

    name = "mpiexec"
    summary = "mpiexec on this host, or on the hosts that its arguments name"

    _most_ranks = 0  # maximum number of ranks that have run at one time
    _process: subprocess.Popen[bytes] | None = None  # set if this object has started mpiexec

    def start(self) -> dict[str, Any]:
        """Start mpiexec in a session of its own, so that no Ctrl-C at the terminal reaches it."""
        self._warn_if_oversubscribed()
        command, implementation = mpi.rank_command(self.job, self.settings)
        environment = launch_environment(implementation, one_host=self._is_local(command[0]))
        environment[CLUSTER] = self.job.spec.cluster
        environment[SPAWNS] = "1" if self.job.spec.spawns else ""
        if implementation.name == "mpich" and self.job.spec.spawns:
            directory = Path(self.job.spec.log_directory)
            command, more = hydra.begin(command, self.job.spec.engines, directory, self.settings["python"])
            environment |= more
        if not self.job.spec.spawns:
            command = supervised(command, self.job.file)
        self.job.log.touch(0o600)
        with self.job.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as e:
                raise LaunchError(f"{command[0]} can't be run: {e}") from None
        pid = self._process.pid
        self.handle = {"pid": pid, "born": processes.birth(pid) or ""}
        return self.handle

    def _warn_if_oversubscribed(self) -> None:
        """Warn that engines share the tasks of the enclosing job."""
        (scheduler, id), n, room = allocation.enclosing(), self.job.spec.engines, allocation.slots()
        if scheduler and n > room:
            print(
                f"mpidirect: {n} engines share the {room} task(s) of job {id}.",
                file=sys.stderr,
            )

    def state(self) -> JobStatus:
        """Return the status of the job, which lives as long as its mpiexec."""
        if self._process is not None:
            code = self._process.poll()
            if code is not None:
                if code == -signal.SIGPIPE and self.job.spec.spawns:
                    # MPICH's mpiexec tells the launched ranks of the end of the spawned ones. If the launched
                    # ranks have ended as well, it dies of SIGPIPE. The rank wrapper knows how rank 0 ended.
                    code = 0
                return self.ended(f"mpiexec ended {_describe_exit(code)}", code != 0)
        elif not self._is_running():
            return self.ended("mpiexec has ended")
        return JobStatus(JobState.RUNNING)

    def _is_running(self) -> bool:
        """Whether the mpiexec of the handle runs; another process may have its number by now."""
        pid, born = self.handle.get("pid", 0), self.handle.get("born", "")
        return processes.alive(pid, born) and processes.belongs(pid, self.job.spec.cluster)

    def losses(self) -> str:
        """Return how many ranks have died, by their processes on this host or by their wrappers' notes."""
        running = processes.count(self.job.spec.cluster, self.job.command()[1:])
        self._most_ranks = max(self._most_ranks, running)
        return (
            f"{self._most_ranks - running} of its ranks died"
            if running < self._most_ranks
            else super().losses()
        )

    def stop(self, grace: float) -> None:
        """Send SIGTERM to mpiexec, which ends its ranks; then kill the remaining processes of the cluster."""
        deadline = time.monotonic() + grace
        if grace > 0 and self.state().state is JobState.RUNNING:
            if self._is_running():  # otherwise another process may have its number now
                os.kill(self.handle["pid"], signal.SIGTERM)
            while self.state().state is JobState.RUNNING and time.monotonic() < deadline:
                time.sleep(self.poll_interval)
        # Ranks end by themselves a moment after their mpiexec.
        left = processes.end(self.job.spec.cluster, min(grace, 1.0))
        self.state()  # reaps mpiexec if it is a child of this process
        if left:
            raise LaunchError(f"These processes of cluster {self.job.spec.cluster} can't be ended: {left}")

    def spawns(self) -> bool:
        """Whether engines are spawned: on one host, with MPICH also on several."""
        try:
            starter, *arguments = mpi.find_mpiexec(self.settings["mpiexec"], self.settings["python"])
        except LaunchError:  # `start` will raise the same error
            return False
        implementation = mpi.implementation(starter)
        if implementation.name == "mpich":
            return implementation.can_spawn and bool(
                hydra.find_hosts(arguments) and hydra.find_proxy(starter)
            )
        return implementation.can_spawn and self._one_host(starter, arguments)

    def _one_host(self, mpiexec: str, arguments: list[str]) -> bool:
        """Whether no argument and no file names other hosts."""
        return not _HOST_ARGUMENTS & set(arguments) and _names_no_hosts(configured_parameters(mpiexec))

    def _is_local(self, mpiexec: str) -> bool:
        """Whether mpiexec stays on this host and no setting chooses a transport."""
        has_arguments = len(shlex.split(self.settings["mpiexec"])) > 1
        names = configured_parameters(mpiexec)
        return not (has_arguments or _TRANSPORT_PARAMETERS & names) and _names_no_hosts(names)

    def hosts_asked(self) -> int:
        """Return the hosts of the enclosing scheduler's job, if the engines use all of its tasks."""
        return allocation.hosts() if self.job.spec.engines >= allocation.slots() else 0

    def job_script(self) -> str:
        """Return the command, with the variables that it needs in addition to this environment."""
        command, implementation = mpi.rank_command(self.job, self.settings)
        spec = self.job.spec
        added = [f"{SPAWNS}={1 if spec.spawns else ''}"]
        needed = missing_variables(implementation, os.environ, self._is_local(command[0]))
        added += [f"{name}={shlex.quote(value)}" for name, value in needed.items()]
        ranks = (
            f"# The controller, and a rank that spawns the {spec.engines} engines:\n" if spec.spawns else ""
        )
        return ranks + " \\\n    ".join([*added, shlex.join(command)]) + "\n"


def _names_no_hosts(names: set[str]) -> bool:
    """Whether no parameter, no variable and no enclosing job names other hosts."""
    named = any("hostfile" in name for name in (*os.environ, *names))
    return not named and (not allocation.enclosing()[0] or allocation.hosts() == 1)


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
