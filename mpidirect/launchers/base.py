"""The base of all launchers: a launcher starts a job, tells its status, ends it, and shows its log."""

from __future__ import annotations

import enum
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..config import config
from ..config.option import Option
from ..config.options import Options
from ..errors import LaunchError
from ..files import logs
from ..files.job_file import JobSpec
from ..files.regular import read_regular

if TYPE_CHECKING:
    from typing_extensions import Self


class JobState(str, enum.Enum):
    """The state of a job."""

    PENDING = "pending"  # the job waits for resources
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"  # the scheduler did not answer, or the job can't be seen from this host


class JobStatus(NamedTuple):
    """The status of a job.

    Attributes
    ----------
    state : JobState
        The state.
    reason : str
        The reason of the state, as text.
    failed : bool or None
        Whether a job that has ended failed; None if not known.
    hosts : str
        The hosts of the job; empty if not known.
    left : float or None
        Seconds until the walltime ends the job; None without a walltime.
    hopeless : bool or None
        Whether a pending job would wait for ever; None if the scheduler does not say yet.
    ending : bool
        Whether a running job is about to end.
    settled : bool
        Whether the status of a job that has ended is final.
    """

    state: JobState
    reason: str = ""
    failed: bool | None = None
    hosts: str = ""
    left: float | None = None
    hopeless: bool | None = False
    ending: bool = False
    settled: bool = True


class Job(NamedTuple):
    """A job: `ranks` processes of `command`."""

    spec: JobSpec
    file: Path

    def command(self, python: str = "") -> list[str]:
        """Return the command of each rank."""
        return [python or sys.executable, "-m", "mpidirect.job", str(self.file)]

    @property
    def ranks(self) -> int:
        """The number of ranks: controller and engines; or controller and anchor, which spawns the engines."""
        return 2 if self.spec.spawns else self.spec.engines + 1

    @property
    def log(self) -> Path:
        """The file with the job's output from before its ranks open their own logs."""
        return Path(self.spec.log_directory) / "job.log"


class Launcher(ABC):
    """One way to start a job.

    A subclass defines how. `mpidirect.Cluster` does everything else: profiles, files, waiting, errors.

    Parameters
    ----------
    job : Job
        The job to start, or that was started.
    settings : mapping
        The value of every option.
    handle : dict, optional
        The return value of `start`, if the job was started earlier, perhaps by another process.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # a line for `mpidirect start --help` and `doctor`
    options: ClassVar[tuple[Option, ...]] = ()  # in addition to mpidirect.config.definitions
    poll_interval: ClassVar[float] = 0.02  # seconds between queries while a job starts or ends
    local: ClassVar[bool] = True  # whether a job can be seen only from the host that started it
    scheduled: ClassVar[bool] = False  # whether a scheduler runs the jobs, by `config.definitions.BATCH`
    keeps_time: ClassVar[bool] = False  # whether `left` does not depend on two hosts' clocks
    can_continue: ClassVar[bool] = False  # whether a job can be submitted that begins after another one
    tells_cancellation: ClassVar[bool] = False  # whether a cancelled job is `JobStatus.ending` at once
    command_timeout: float = 20.0  # seconds that a command of the scheduler may take
    ip: ClassVar[str] = ""  # the address that the controller listens on by default

    def __init__(self, job: Job, settings: Mapping[str, Any], handle: dict[str, Any] | None = None) -> None:
        self.job = job
        self.settings = settings
        self.handle = handle or {}

    @classmethod
    def of(cls, id: str) -> Self:
        """Return a launcher that knows only the id of a job, which is enough to query and to end the job."""
        spec = JobSpec(cluster="", engines=0, profile="", connection_file="", log_directory="")
        return cls(Job(spec, Path()), config.defaults(Options(cls.options)), {"id": id})

    @classmethod
    def engines(cls, settings: Mapping[str, Any]) -> int:
        """Return the default number of engines: one for each core of this host, or slot of the allocation."""
        from ..job import allocation

        return allocation.slots()

    def spawns(self) -> bool:
        """Whether the job spawns its engines as an MPI world of their own."""
        return False

    @property
    def id(self) -> str:
        """The job's id for people: the scheduler's id, or a process number."""
        return str(self.handle.get("id") or self.handle.get("pid") or "")

    @abstractmethod
    def start(self) -> dict[str, Any]:
        """Start the job and return the handle by which the job is found later.

        Raises
        ------
        LaunchError
            When the job can't be started.
        """

    def submit_continuation(self) -> dict[str, Any]:
        """Submit the job once more, to begin when the present one has ended; return the new handle.

        Raises
        ------
        LaunchError
            When that is not possible.
        """
        raise LaunchError(f"The launcher '{self.name}' can't continue a cluster in another job.")

    def allow_requeue(self) -> bool:
        """Ask the scheduler to permit that the job is queued again; return whether this is permitted."""
        return False

    def requeue(self) -> None:
        """End the job, and queue the same job again.

        Raises
        ------
        LaunchError
            When the scheduler refuses.
        """
        raise LaunchError(f"The launcher '{self.name}' can't queue a job again.")

    @abstractmethod
    def state(self) -> JobStatus:
        """Return the status of the job. If the query fails, the status is `JobState.UNKNOWN`, not `ENDED`."""

    def left(self, reported: float | None) -> float | None:
        """Return the seconds until the walltime ends the job; `reported` are the controller's seconds."""
        if reported is not None and not self.keeps_time:
            return reported
        left = self.state().left  # the walltime may have been changed
        return reported if left is None else left

    def losses(self) -> str:
        """Return, as text, how many ranks have died while the job continues; empty if none.

        This is called once a second while a job starts: an MPI that survives deaths would wait for the dead
        for ever.
        """
        count = len(self._exit_codes())
        return f"{count} of its ranks died" if count else ""

    def hosts_asked(self) -> int:
        """Return the number of hosts that were requested for the engines; 0 if unknown."""
        return 0

    def ended(self, reason: str, failed: bool | None = None) -> JobStatus:
        """Return the status of a job that has ended; a failure of rank 0 is in its wrapper's note."""
        code = self._exit_codes().get("rank-0", "0")
        if not failed and code != "0":
            unwritten = f"failed, and could not write its exit code to {self._directory}"
            how = f"ended with exit code {code}" if code else f"{unwritten}: is the disk full?"
            return JobStatus(JobState.ENDED, f"{reason}; its first rank {how}", failed=True)
        note = logs.end_note(Path(self._directory)) if self._directory else ""
        if note:
            return JobStatus(JobState.ENDED, note, failed=False)
        return JobStatus(JobState.ENDED, reason, failed=failed)

    def _exit_codes(self) -> dict[str, str]:
        """Return the exit codes that the wrappers of ranks have noted."""
        notes = Path(self._directory).glob("rank-*.exit") if self._directory else ()
        return {note.stem: read_regular(note).partition(" ")[0].strip() for note in notes}

    @property
    def _directory(self) -> str:
        return self.job.spec.log_directory

    @abstractmethod
    def stop(self, grace: float) -> None:
        """End the job: ask it to end, and after `grace` seconds end it by force.

        After the return, no process of the job is left. The job may have ended before.

        Raises
        ------
        LaunchError
            When a process remains.
        """

    @abstractmethod
    def job_script(self) -> str:
        """Return the commands of `start`, as a person would type or submit them."""

    def log(self) -> str:
        """Return the job's output from the time before its ranks opened their logs."""
        try:
            return read_regular(self.job.log)
        except OSError:
            return ""
