"""The launcher for one host, or for hosts that mpiexec itself reaches: it runs mpiexec."""

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
from ..job.variables import CLUSTER, SPAWNS
from . import hydra, mpi
from .base import JobState, JobStatus, Launcher

# What tells mpiexec of hosts, or how to spread over them.
_HOSTS = {
    f"{dashes}{word}"
    for dashes in ("-", "--")
    for word in ("H", "host", "hosts", "hostfile", "machinefile", "f", "map-by", "ppn", "rankfile", "app")
}

# What files may tell Open MPI of how ranks talk: the environment would overrule it.
_TRANSPORTS = {"btl", "btl_tcp_if_include", "btl_tcp_if_exclude"}


class MpiexecLauncher(Launcher):
    """Starts the job by the mpiexec that belongs to mpi4py's MPI."""

    name = "mpiexec"
    summary = "mpiexec on this host, or on those that it is told of"

    _most = 0  # ranks that were seen at once
    _process: subprocess.Popen[bytes] | None = None  # when this object started it

    def start(self) -> dict[str, Any]:
        """Start mpiexec as the head of a session of its own: no Ctrl-C at the terminal reaches it."""
        self._say_if_crowded()
        command, kind = mpi.ranks(self.job, self.settings)
        environment = mpi.environment(kind, alone=self._alone(command[0]))
        environment[CLUSTER] = self.job.spec.cluster
        environment[SPAWNS] = "1" if self.job.spec.spawns else ""
        if kind.name == "mpich" and self.job.spec.spawns:
            directory = Path(self.job.spec.log_directory)
            command, more = hydra.begin(command, self.job.spec.engines, directory, self.settings["python"])
            environment |= more
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

    def _say_if_crowded(self) -> None:
        (scheduler, id), n, room = allocation.enclosing(), self.job.spec.engines, allocation.slots()
        if scheduler and n > room:
            print(
                f"mpidirect: {n} engines share what is meant for {room}: job {id} has so many tasks.",
                file=sys.stderr,
            )

    def state(self) -> JobStatus:
        """A job lives as long as its mpiexec."""
        if self._process is not None:
            code = self._process.poll()
            if code is not None:
                if code == -signal.SIGPIPE and self.job.spec.spawns:
                    # MPICH's tells the launched of the end of the spawned, and those may have ended as well.
                    # How the controller did, its guard has noted.
                    code = 0
                return self.ended(f"mpiexec ended {_how(code)}", code != 0)
        elif not self._runs():
            return self.ended("mpiexec has ended")
        return JobStatus(JobState.RUNNING)

    def _runs(self) -> bool:
        """Whether the mpiexec of the handle runs, and no other process has its number."""
        pid, born = self.handle.get("pid", 0), self.handle.get("born", "")
        return processes.alive(pid, born) and processes.belongs(pid, self.job.spec.cluster)

    def losses(self) -> str:
        """Ranks of this host that were there and are no more, or whose guard has noted their end."""
        there = processes.count(self.job.spec.cluster, self.job.command()[1:])
        self._most = max(self._most, there)
        return f"{self._most - there} of its ranks died" if there < self._most else super().losses()

    def stop(self, grace: float) -> None:
        """SIGTERM to mpiexec, which ends its ranks; then SIGKILL to whatever has the cluster's mark."""
        deadline = time.monotonic() + grace
        if grace > 0 and self.state().state is JobState.RUNNING:
            if self._runs():  # else its number may be another's by now
                os.kill(self.handle["pid"], signal.SIGTERM)
            while self.state().state is JobState.RUNNING and time.monotonic() < deadline:
                time.sleep(self.poll_interval)
        # Ranks end a moment after their mpiexec, by themselves.
        left = processes.end(self.job.spec.cluster, min(grace, 1.0))
        self.state()  # collects mpiexec if it is our child
        if left:
            raise LaunchError(f"These processes of cluster {self.job.spec.cluster} can't be ended: {left}")

    def spawns(self) -> bool:
        """On one host, with an MPI that can; MPICH can on several."""
        try:
            starter, *arguments = mpi.find_mpiexec(self.settings["mpiexec"], self.settings["python"])
        except LaunchError:  # told when it is started
            return False
        kind = mpi.flavour(starter)
        if kind.name == "mpich":
            return kind.spawns and bool(hydra.found(arguments) and hydra.proxy(starter))
        return kind.spawns and self._one_host(starter, arguments)

    def _one_host(self, mpiexec: str, arguments: list[str]) -> bool:
        """Whether nothing tells mpiexec of other hosts."""
        return not _HOSTS & set(arguments) and _stays_here(mpi.parameters(mpiexec))

    def _alone(self, mpiexec: str) -> bool:
        """Whether nothing tells mpiexec of other hosts, and no file what ranks shall talk by."""
        said = len(shlex.split(self.settings["mpiexec"])) > 1
        names = mpi.parameters(mpiexec)
        return not (said or _TRANSPORTS & names) and _stays_here(names)

    def hosts_asked(self) -> int:
        """As many as the job of a scheduler has that this runs in, if its tasks are all used."""
        return allocation.hosts() if self.job.spec.engines >= allocation.slots() else 0

    def job_script(self) -> str:
        """The command, with the environment that is added to this one."""
        command, kind = mpi.ranks(self.job, self.settings)
        spec = self.job.spec
        added = [f"{SPAWNS}={1 if spec.spawns else ''}"]
        needed = mpi.unsaid(kind, os.environ, self._alone(command[0]))
        added += [f"{name}={shlex.quote(value)}" for name, value in needed.items()]
        ranks = (
            f"# The controller, and a rank that spawns the {spec.engines} engines:\n" if spec.spawns else ""
        )
        return ranks + " \\\n    ".join([*added, shlex.join(command)]) + "\n"


def _stays_here(names: set[str]) -> bool:
    """Whether neither a parameter of these names, nor the job that this process is in, has other hosts."""
    named = any("hostfile" in name for name in (*os.environ, *names))
    return not named and (not allocation.enclosing()[0] or allocation.hosts() == 1)


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
