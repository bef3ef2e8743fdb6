"""What all schedulers have in common: a script that is made, submitted, watched and cancelled.

A launcher for one more scheduler says how its directives are written, how it submits, looks and cancels.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ..errors import ConfigError, LaunchError
from ..job.allocation import ENDS, HOSTS
from ..job.variables import CLUSTER, SPAWNS
from . import mpi
from .base import JobState, JobStatus, Launcher

ANSWERING = 10.0  # seconds without an answer after which the end of a job is not waited for
CANCELLING = 40.0  # seconds that a scheduler may take to end a job by force
INTERRUPTED = 5.0  # seconds that a submission has to answer after a Ctrl-C
_RANKS = "MPIDIRECT_RANKS"  # in a script: how many ranks mpiexec is to start
SCRIPT = """\
#!/bin/bash
# {title}. Submitted by:
#   {submit}
{directives}

{prologue}{environment}
{command}
"""


def held(release: str, who: str = "") -> str:
    """Why a job waits that is held."""
    return f"it is held{who}; it goes on after '{release}'"


def quoted(value: str) -> str:
    """A value of a directive, in quotes where it has blanks."""
    return f'"{value}"' if re.search(r"\s", value) else value


class BatchLauncher(Launcher):
    """Starts the job by a scheduler."""

    local = False
    scheduled = True
    poll_interval = 0.1
    ip = "*"

    scheduler: ClassVar[str]  # its name, for people
    prefix: ClassVar[str]  # what a directive's line begins with
    inside: ClassVar[str]  # the variable that a job's processes have
    answer: ClassVar[re.Pattern[str]] = re.compile(r"(\S+)")  # what a line with the job's id is
    inherited: ClassVar[tuple[str, ...]] = ()  # what begins so in their environment is theirs alone
    kept: ClassVar[tuple[str, ...]] = ()  # of that, what is not
    names_have_blanks: ClassVar[bool] = False  # whether a job's name may
    live_output: ClassVar[bool] = True  # whether a job's output can be read before it ends

    _seen: JobStatus | None = None
    _complaint = ""  # of the last command that was to change something
    _first = _next = 0.0  # of the looks at the job

    # What a scheduler's launcher says

    @abstractmethod
    def resources(self) -> Iterator[str]:
        """The directives, without their prefix."""

    @abstractmethod
    def submission(self, script: Path) -> list[str]:
        """The command that submits a script."""

    @abstractmethod
    def look(self) -> JobStatus:
        """Ask the scheduler how the job fares."""

    @abstractmethod
    def cancel(self, force: bool) -> None:
        """Ask the scheduler to end the job; with `force`, without giving it time."""

    def apart(self, starter: str, kind: mpi.Flavour) -> tuple[list[str], list[str]]:
        """What puts rank 0 on a node of its own: words for the command that starts ranks, lines before it.

        Raises
        ------
        ConfigError
            When the scheduler can't be asked for that.
        """
        raise ConfigError(
            f"{self.scheduler} can't be asked for a node of the controller's own here: controller = 'slot' "
            "gives it a task on the first node, 'shared' none."
        )

    def read_id(self, output: str) -> str:
        """The job's id, in what the submission printed; empty if no line, or more than one, has one."""
        lines = (self.answer.fullmatch(line.strip()) for line in output.splitlines())
        found = dict.fromkeys(line[1] for line in lines if line)
        return next(iter(found)) if len(found) == 1 else ""

    # What follows from that

    @classmethod
    def engines(cls, settings: Mapping[str, Any]) -> int:
        """What nodes and tasks say, with the controller's own slot taken off."""
        nodes, tasks = settings["nodes"], settings["ntasks_per_node"]
        if tasks is None:
            raise ConfigError("How many engines? Say -n, or --ntasks-per-node and --nodes.")
        found = (nodes or 1) * tasks - (settings["controller"] == "slot")
        if found < 1:
            raise ConfigError(
                "One task is the controller's own (controller = 'slot'): one engine needs at least two."
            )
        return int(found)

    @property
    def alone(self) -> bool:
        """Whether the controller has a node of its own, which is not among the engines' nodes."""
        return bool(self.settings["controller"] == "node")

    @property
    def tasks(self) -> int:
        """How many tasks the engines' nodes have: one for each engine, and perhaps the controller's."""
        return self.job.spec.engines + (self.settings["controller"] == "slot")

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """Nodes, and tasks on each, where they are said or follow.

        Raises
        ------
        ConfigError
            When the engines don't fit into what is asked for.
        """
        nodes, each = self.settings["nodes"], self.settings["ntasks_per_node"]
        if nodes and each and nodes * each < self.tasks:
            own = " and one for the controller" if self.tasks > self.job.spec.engines else ""
            raise ConfigError(
                f"{self.job.spec.engines} tasks for engines{own} don't fit: --nodes {nodes} "
                f"--ntasks-per-node {each} make {nodes * each}."
            )
        if nodes and not each:  # left to itself a scheduler may put 7 on one node and 1 on the other
            each = -(-self.tasks // nodes)
        elif each and not nodes:
            nodes = -(-self.tasks // each)
        return nodes, each

    def hosts_asked(self) -> int:
        """As many as nodes are asked for."""
        return self.shape[0] or 0

    @property
    def one_host(self) -> bool | None:
        """Whether all ranks will share a host; None if that turns out when the job runs."""
        if self.alone:
            return False
        nodes = self.shape[0]
        return None if nodes is None and self.name in HOSTS else nodes == 1

    def spawns(self) -> bool:
        """On one host with Open MPI; with MPICH that is decided when the job runs (`hydra.begin`)."""
        _, kind = mpi.ranks(self.job, self.settings, elsewhere=True)
        return kind.name == "openmpi" and bool(self.one_host) and self._can_spawn(kind)

    def _can_spawn(self, kind: mpi.Flavour) -> bool:
        return kind.spawns

    def gpus(self, tasks: int) -> int | None:
        """How many GPUs so many engines of a node have, with those that a node is to have.

        Raises
        ------
        ConfigError
            When both are said.
        """
        each, node = self.settings["gpus_per_task"], self.settings["gpus"]
        if each and node:
            raise ConfigError("Say how many GPUs each engine has (--gpus-per-task), or each node (--gpus).")
        return each * tasks if each else node

    @property
    def script_file(self) -> Path:
        """The script, as it is or was submitted."""
        return Path(self.job.spec.log_directory) / "job.sh"

    @property
    def job_name(self) -> str:
        """The job's name, as a directive has it.

        Raises
        ------
        ConfigError
            When the scheduler has no such names.
        """
        name = str(self.settings["job_name"])
        if not self.names_have_blanks and len(name.split()) != 1:
            raise ConfigError(f'job_name = "{name}": {self.scheduler} takes a name without blanks.')
        return quoted(name)

    @property
    def output(self) -> str:
        """Where the scheduler writes what the job prints."""
        if self.settings["output"]:
            return str(self.settings["output"])
        return str(self.job.log if self.live_output else self.job.log.with_suffix(".out"))

    def job_script(self) -> str:
        """The script: the one that was submitted, or that would be."""
        try:
            return self.script_file.read_text()
        except OSError:
            return self._rendered()

    def _rendered(self) -> str:
        command, environment = self._command()
        without = self.settings["without"]
        directives = [line for line in self.resources() if not any(line.startswith(w) for w in without)]
        directives += self.settings["directives"]
        if self.settings["output"] or not self.live_output:
            copy = f"exec > >(tee -a {shlex.quote(str(self.job.log))}) 2>&1  # to be read while it runs"
            environment = [copy, *environment]
        parts = {
            "title": f"mpidirect: cluster {self.job.spec.cluster} of profile {self.job.spec.profile!r}, "
            f"{self.job.spec.engines} engines and the controller",
            "submit": shlex.join(self.submission(self.script_file)),
            "directives": "\n".join(f"{self.prefix}{line}" for line in directives),
            "prologue": "".join(f"{line}\n" for line in self.settings["prologue"]),
            "environment": "\n".join(environment),
            "command": command,
            "engines": str(self.job.spec.engines),
            "ranks": str(self.job.ranks),
            "log": str(self.job.log),
        }
        return re.sub(r"(?<!\$)\{(\w+)\}", lambda m: parts.get(m[1], m[0]), self._template())

    def _template(self) -> str:
        if not self.settings["template"]:
            return SCRIPT
        path = Path(self.settings["template"]).expanduser()
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as e:
            raise ConfigError(f"The template {path} can't be read: {e}") from None
        if "{command}" not in text:
            raise ConfigError(f"The template {path} has no {{command}}: nothing would start the ranks.")
        return text

    def _command(self) -> tuple[str, list[str]]:
        """The command that starts the ranks, and the lines that set its environment."""
        command, kind = mpi.ranks(self.job, self.settings, elsewhere=True)
        placed: list[str] = []
        if self.alone:
            command[1:1], placed = self.apart(command[0], kind)
        elif Path(command[0]).name == "srun" and self.tasks < self.job.ranks:
            command.insert(1, "--overcommit")  # else a rank more than tasks is refused
        text = shlex.join(command)
        variables = {CLUSTER: self.job.spec.cluster, SPAWNS: "1" if self.job.spec.spawns else ""}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
        needed = kind.environment(bool(self.one_host))
        if self.settings["cpus_per_task"]:  # else OpenMP has as many threads as it sees cores
            needed = {**needed, "OMP_NUM_THREADS": str(self.settings["cpus_per_task"])}
        lines += _exported(needed)
        if kind.name == "mpich" and self._can_spawn(kind):
            python = self.settings["python"] or sys.executable
            starts = [python, "-m", "mpidirect.launchers.hydra", self._directory, str(self.job.spec.engines)]
            text = shlex.join([*starts, *command])
        elif self.one_host is None and self._can_spawn(kind):
            more = {k: v for k, v in kind.environment(alone=True).items() if k not in needed}
            lines += [
                f"{_RANKS}={self.job.ranks}",
                f'if [ "${HOSTS[self.name]}" = 1 ]; then  # engines are spawned, as a world of their own',
                f"    {_RANKS}=2",
                f"    export {SPAWNS}=1",
                *(f"    {line}" for line in _exported(more)),
                "fi",
            ]
            text = text.replace(f" -n {self.job.ranks} ", f' -n "${_RANKS}" ', 1)
        old = f"{shlex.quote(self._directory)}/rank-*.exit {shlex.quote(self.job.spec.connection_file)}"
        lines.append(f"rm -f {old}  # of an earlier run, if the job was requeued")
        if self.settings["walltime"]:
            hours, minutes, seconds = map(int, self.settings["walltime"].split(":"))
            lines.append(f"export {ENDS}=$(( $(date +%s) + {(hours * 60 + minutes) * 60 + seconds} ))")
        return text, [*lines, *placed]

    def start(self) -> dict[str, Any]:
        """Submit the script."""
        self.script_file.write_text(self._rendered())
        command = self.submission(self.script_file)
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=self.environment(),
                start_new_session=True,  # a Ctrl-C between submission and its answer would lose the job
            )
        except OSError as e:
            raise self._missing(command[0], e) from None
        try:
            out, err = process.communicate()
        except KeyboardInterrupt:
            self._answered_late(process, command[0])
            raise
        id = self.read_id(out)
        if process.returncode != 0:
            raise LaunchError(
                f"{self.scheduler} refused the job: {err.strip() or out.strip() or 'no reason given'}\n"
                f"  (exit code {process.returncode} of {shlex.join(command)})\n"
                "What is asked of it:  mpidirect script, with the same options"
            )
        if not id:
            raise LaunchError(
                f"A job may have been submitted, but no line of what {command[0]} printed is a job's id:\n"
                f"{textwrap.indent(out.strip() or '(nothing)', '    ')}\n"
                f"{self._forgotten}"
            )
        self.handle = {"id": id}
        return self.handle

    @property
    def _forgotten(self) -> str:
        """What to do about a job whose id is not known."""
        name = self.settings["job_name"]
        return f"Look for a job called {name!r}, and cancel it: no command of mpidirect knows of it."

    def _answered_late(self, process: subprocess.Popen[str], name: str) -> None:
        """After a Ctrl-C: learn the id of a job that was submitted, so that it can be cancelled."""
        try:
            out, _ = process.communicate(timeout=INTERRUPTED)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(process.pid, signal.SIGKILL)  # with what a site's wrapper has started
            process.communicate()
            raise LaunchError(
                f"{name} was interrupted: a job may have been submitted.\n{self._forgotten}"
            ) from None
        if process.returncode == 0:
            self.handle = {"id": self.read_id(out)}

    def state(self) -> JobStatus:
        """How the job fares; the scheduler is asked twice a second at first, every ten seconds in the end."""
        now = time.monotonic()
        if self._seen is None:
            self._first = now
        elif (self._seen.state is JobState.ENDED and self._seen.settled) or now < self._next:
            return self._seen
        self._seen = self._looked()
        self._next = time.monotonic() + min(10.0, max(0.5, (now - self._first) / 20))
        return self._seen

    def _looked(self) -> JobStatus:
        if not self.id:
            return JobStatus(JobState.ENDED, "it was not submitted")
        try:
            status = self.look()
        except LaunchError as e:
            return JobStatus(JobState.UNKNOWN, str(e))
        if status.state is JobState.ENDED:
            ended = self.ended(status.reason, status.failed)
            return ended._replace(hosts=status.hosts, settled=status.settled)
        return status

    def stop(self, grace: float) -> None:
        """Cancel the job, and see that it is gone."""
        deadline = time.monotonic() + grace
        status = self._looked()
        force = grace <= 0
        while status.state is not JobState.ENDED:
            self._complaint = ""
            try:
                self.cancel(force)
            except LaunchError as e:  # it may have been heard all the same
                self._complaint = str(e)
            until = time.monotonic() + CANCELLING if force else deadline
            answered = time.monotonic()
            while (status := self._looked()).state is not JobState.ENDED and time.monotonic() < until:
                if status.state is not JobState.UNKNOWN:
                    answered = time.monotonic()
                elif time.monotonic() - answered > ANSWERING:
                    raise LaunchError(
                        f"Whether job {self.id} has ended is not known: {self._complaint or status.reason}.\n"
                        "Try again when it answers:  mpidirect stop"
                    )
                time.sleep(self.poll_interval)
            if force:
                break
            force = True
        self._seen = status
        if status.state is not JobState.ENDED:
            raise LaunchError(
                f"Job {self.id} was cancelled but has not ended: "
                f"{self._complaint or status.reason or status.state.value}.\n"
                "Look again in a while:  mpidirect status"
            )

    def environment(self) -> dict[str, str]:
        """The environment to submit in: without what an enclosing job left there."""
        environment = mpi.outside(os.environ)
        for name in (CLUSTER, ENDS):
            environment.pop(name, None)
        if self.inside in environment:
            for name in [n for n in environment if n.startswith(self.inherited) and n not in self.kept]:
                del environment[name]
        return environment

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the scheduler to its end.

        Raises
        ------
        LaunchError
            When it can't be run, or does not end.
        """
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.patience,
                check=False,
                env={**self.environment(), "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired:
            raise LaunchError(f"{command[0]} did not answer within {self.patience:g} s") from None
        except OSError as e:
            raise self._missing(command[0], e) from None

    def order(self, *command: str) -> bool:
        """Run a command that changes something; whether it did. Its complaint is told if nothing helps."""
        done = self.ask(*command)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()
            self._complaint = f"{shlex.join(command)} says: {said or f'exit code {done.returncode}'}"
        return done.returncode == 0

    def _missing(self, command: str, error: OSError) -> LaunchError:
        return LaunchError(
            f"{command} can't be run here: {error.strerror}.\n"
            f"Is this a host that {self.scheduler} jobs are submitted from, and is its module loaded?"
        )


def _exported(variables: Mapping[str, str]) -> list[str]:
    """Lines that set variables which the user has not set otherwise."""
    return [
        (f'[ -n "${{{mpi.INSTEAD[name]}-}}" ] || ' if name in mpi.INSTEAD else "")
        + f'export {name}="${{{name}-{value}}}"'
        for name, value in variables.items()
    ]
