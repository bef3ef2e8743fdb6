"""The supervisor of a job: ``python -m mpidirect.job.supervisor JOBFILE MPIEXEC …``.

The supervisor runs the MPI launcher. When the controller has left a handover file, the supervisor ends the
remaining processes and runs the same launcher again, in the same allocation. So all engines can be started
anew even if MPI can't spawn a second generation of them.

If the cluster may continue in another job, the supervisor takes the place of the job's shell, to which the
scheduler sends its warning signals.  The supervisor passes a warning on to the controller by a file.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ..files import job_file
from ..files.job_file import handover_file, warning_file
from . import handover, processes
from .handover import STARTING
from .parent import end_with_parent
from .variables import CLUSTER, SPAWNS, SUPERVISED

CHECK_INTERVAL = (
    1.0  # seconds between two checks for a handover file; the end of the launcher is noticed at once
)
END_CHECK_INTERVAL = 0.1  # the same while the launcher must end
LEAVE_TIMEOUT = 1.0  # seconds that ranks have to leave after the handover
END_TIMEOUT = 5.0  # seconds that the launcher has to end its ranks

_ASKED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_WARNINGS = {signal.SIGUSR1, signal.SIGUSR2}
_WATCHED = {signal.SIGCHLD, *_WARNINGS, *_ASKED}


def supervised(command: Sequence[str], job_file: Path, python: str = "") -> list[str]:
    """Return the command that runs `command`, a launcher and its arguments, under a supervisor."""
    return [python or sys.executable, "-m", "mpidirect.job.supervisor", str(job_file), *command]


class Supervisor:
    """Runs the launcher of a job, once for each generation of its processes.

    Parameters
    ----------
    path : Path
        The job file.
    command : list of str
        The launcher, its arguments with ``-n`` and the number of ranks, and the command of a rank.
    """

    def __init__(self, path: Path, command: list[str]) -> None:
        self.job_file = path
        self.command = command
        self.cluster = os.environ.get(CLUSTER, "")
        self.handover = handover_file(path)
        self.resumes = job_file.read(path).resume is not None
        self.generation = 1
        self.stopping = False
        # A process that starts a new session for this process sends signals to this process only.
        self._forwards = self.resumes or os.getsid(0) == os.getpid()
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self._overdue = self._signalled = 0.0
        self._step = ""

    def run(self) -> int:
        """Run the launcher until the job ends; return the exit code of its last run."""
        self.handover.unlink(missing_ok=True)  # the file of an earlier run, if the job was requeued
        if self.resumes:
            warning_file(self.job_file).unlink(missing_ok=True)
            ranks, engines = self.command[self.command.index("-n") + 1], job_file.read(self.job_file).engines
            if not os.environ.get(SPAWNS) and ranks != str(engines + 1):  # the previous job was resized
                self._set_size(engines)
        retried = False
        while True:
            code = self._run_launcher()
            asked = None if self.stopping else self._await_handover()
            if asked is None:
                break
            new = asked.generation > self.generation
            if not new and retried:
                break
            retried = not new
            self.generation = asked.generation
            # No controller has taken the handover: perhaps MPI can't start so many engines.
            self._prepare(asked.engines if new else asked.former)
        if self.generation > 1 or self.handover.exists():
            self._give_up()
        return code if code >= 0 else 128 - code

    def _await_handover(self) -> handover.Handover | None:
        """Return what the controller leaves to its successor; a controller that lives has a moment for it."""
        deadline = time.monotonic() + END_TIMEOUT
        while (asked := handover.head(self.handover)) is None and time.monotonic() < deadline:
            if not processes.count(self.cluster, ["mpidirect.job", str(self.job_file)]):
                return handover.head(self.handover)
            time.sleep(END_CHECK_INTERVAL)
        return asked

    def _give_up(self) -> None:
        """Remove the files of a controller that has no successor, or that has not ended in order."""
        from ..files.private_directories import socket_directory

        self.handover.unlink(missing_ok=True)
        shutil.rmtree(socket_directory(self.cluster), ignore_errors=True)

    def _run_launcher(self) -> int:
        environment = {**os.environ, SUPERVISED: self.cluster}
        launcher = subprocess.Popen(self.command, env=environment, preexec_fn=self._begin_child)
        began, self._overdue = time.monotonic(), 0.0
        while launcher.poll() is None:
            info = signal.sigtimedwait(_WATCHED, END_CHECK_INTERVAL if self._overdue else CHECK_INTERVAL)
            if info is not None and info.si_signo != signal.SIGCHLD:
                self._receive(launcher, info.si_signo)
            self._look(launcher, time.monotonic(), began)
        return launcher.returncode

    def _begin_child(self) -> None:
        """Unblock signals for the launcher, and let it end with this process."""
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        if self.resumes:
            os.setpgid(0, 0)  # otherwise Grid Engine warns the whole process group, and MPI signals the ranks
        end_with_parent(signal.SIGTERM)

    def _receive(self, launcher: subprocess.Popen[bytes], number: int) -> None:
        self.stopping = self.stopping or number in _ASKED
        if self.resumes and number in _WARNINGS:
            warning_file(self.job_file).touch(mode=0o600)
        elif self._forwards:
            launcher.send_signal(number)

    def _look(self, launcher: subprocess.Popen[bytes], now: float, began: float) -> None:
        """End the launcher if the ranks do not leave after a handover, or do not join after one."""
        if self._overdue:
            self._end(launcher, now)
        elif (asked := handover.head(self.handover)) is not None and not self.stopping:
            if asked.generation > self.generation:
                self._overdue, self._step = now + LEAVE_TIMEOUT, asked.step
            elif now - began > STARTING:
                self._overdue, self._step = now, ""

    def _end(self, launcher: subprocess.Popen[bytes], now: float) -> None:
        if now < self._overdue:
            return
        if self._signalled < self._overdue:
            self._signalled = now
            if not self._kill_step():
                launcher.terminate()
        elif now - self._signalled > END_TIMEOUT:
            launcher.kill()

    def _kill_step(self) -> bool:
        """Kill the ranks that srun has started, because srun would wait for hanging ranks."""
        if Path(self.command[0]).name != "srun" or not self._step:
            return False
        return subprocess.run(["scancel", "--signal=KILL", self._step], check=False).returncode == 0

    def _prepare(self, engines: int) -> None:
        """Remove the remains of the former generation, and let `engines` engines be started next."""
        print(f"mpidirect: generation {self.generation} of this job, {engines} engines", flush=True)
        spec = job_file.read(self.job_file)
        processes.end(spec.cluster, 0)
        for note in Path(spec.log_directory).glob("rank-*.exit"):
            note.unlink(missing_ok=True)
        if spec.engines != engines:
            spec.engines = engines
            job_file.write(spec, self.job_file)
        self._set_size(engines)

    def _set_size(self, engines: int) -> None:
        """Have the launcher start the controller and `engines` engines."""
        self.command[self.command.index("-n") + 1] = str(engines + 1)
        if Path(self.command[0]).name == "srun" and "--overcommit" not in self.command:
            self.command.insert(1, "--overcommit")


def main(argv: list[str]) -> int:
    """Supervise a job."""
    if len(argv) < 3:
        print(
            "usage: python -m mpidirect.job.supervisor JOBFILE MPIEXEC … (launchers do this)", file=sys.stderr
        )
        return 2
    return Supervisor(Path(argv[1]), argv[2:]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
