"""What a launcher is: it starts a job, says how it fares, ends it, and shows its log."""

from __future__ import annotations

import enum
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..config import config
from ..config.options import Option, Options
from ..files.job_file import JobSpec

if TYPE_CHECKING:
    from typing_extensions import Self


class JobState(str, enum.Enum):
    """How a job fares."""

    PENDING = "pending"  # it waits for resources
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"  # nobody answered, or it can't be seen from here


class JobStatus(NamedTuple):
    """How a job fares.

    Attributes
    ----------
    state : JobState
        In a word.
    reason : str
        Why, in words.
    failed : bool or None
        Of a job that ended, whether it failed; None: not known.
    hosts : str
        Where it runs, if that is known.
    left : float or None
        Seconds until its walltime ends it, if anything will.
    hopeless : bool or None
        Of a job that is pending: whether it would wait for ever; None: the scheduler does not say yet.
    ending : bool
        Of a job that runs: whether it is being ended.
    settled : bool
        Of a job that ended: whether no more will be known of how it did.
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
    """What a launcher starts: `ranks` times `command`."""

    spec: JobSpec
    file: Path

    def command(self, python: str = "") -> list[str]:
        """The command that each rank is."""
        return [python or sys.executable, "-m", "mpidirect.job", str(self.file)]

    @property
    def ranks(self) -> int:
        """The controller and the engines; or the controller and an anchor, which spawns the engines."""
        return 2 if self.spec.spawns else self.spec.engines + 1

    @property
    def log(self) -> Path:
        """What the job prints before its ranks have their own logs."""
        return Path(self.spec.log_directory) / "job.log"


class Launcher(ABC):
    """One way to start a job.

    A subclass says how; everything else (profiles, files, waiting, errors) is `mpidirect.Cluster`'s.

    Parameters
    ----------
    job : Job
        What to start, or what was started.
    settings : mapping
        The value of every option.
    handle : dict, optional
        What `start` returned: given when the job was started earlier, perhaps by another process.
    """

    name: ClassVar[str]
    summary: ClassVar[str]  # a line for `mpidirect start --help` and `doctor`
    options: ClassVar[tuple[Option, ...]] = ()  # what it has beyond mpidirect.config.options
    poll_interval: ClassVar[float] = 0.02  # seconds between looks at a job that starts or ends
    local: ClassVar[bool] = True  # whether its jobs can be seen only from the host that started them
    scheduled: ClassVar[bool] = False  # whether a scheduler runs its jobs, and heeds `options.BATCH`
    keeps_time: ClassVar[bool] = False  # whether time left is known without comparing clocks of two hosts
    command_timeout: float = 20.0  # seconds that a command of the scheduler may take
    ip: ClassVar[str] = ""  # what the controller listens on if nobody says

    def __init__(self, job: Job, settings: Mapping[str, Any], handle: dict[str, Any] | None = None) -> None:
        self.job = job
        self.settings = settings
        self.handle = handle or {}

    @classmethod
    def of(cls, id: str) -> Self:
        """A launcher that knows no more of a job than its id: enough to look at it and to end it."""
        spec = JobSpec(cluster="", engines=0, profile="", connection_file="", log_directory="")
        return cls(Job(spec, Path()), config.defaults(Options(cls.options)), {"id": id})

    @classmethod
    def engines(cls, settings: Mapping[str, Any]) -> int:
        """How many engines there are when nobody says: one per core of this host, or of the allocation."""
        from ..job import allocation

        return allocation.slots()

    def spawns(self) -> bool:
        """Whether the job is to spawn its engines, as an MPI world of their own."""
        return False

    @property
    def id(self) -> str:
        """What people call the job."""
        return str(self.handle.get("id") or self.handle.get("pid") or "")

    @abstractmethod
    def start(self) -> dict[str, Any]:
        """Start the job; returns the handle that it is found by later.

        Raises
        ------
        LaunchError
            When it can't be started.
        """

    @abstractmethod
    def state(self) -> JobStatus:
        """How the job fares. A look that fails is `JobState.UNKNOWN`, not an end."""

    def left(self, told: float | None) -> float | None:
        """Seconds until the walltime ends the job, where the controller knows of `told`."""
        if told is not None and not self.keeps_time:
            return told
        left = self.state().left  # it may have been moved since
        return told if left is None else left

    def losses(self) -> str:
        """In words, ranks that have died though the job goes on; empty if none are known to have.

        Asked once a second while a job starts: an MPI that survives deaths would wait for them for ever.
        """
        count = len(self._notes())
        return f"{count} of its ranks died" if count else ""

    def hosts_asked(self) -> int:
        """On how many hosts the engines are to be; 0 if nobody has said."""
        return 0

    def ended(self, reason: str, failed: bool | None = None) -> JobStatus:
        """The status of a job that has ended; with guarded ranks it does not tell how rank 0 did."""
        code = self._notes().get("rank-0", "0")
        if not failed and code != "0":
            full = f"failed, and could not write how to {self._directory}: is the disk full?"
            how = f"with exit code {code}" if code else full
            return JobStatus(JobState.ENDED, f"{reason}; its first rank {how}", failed=True)
        return JobStatus(JobState.ENDED, reason, failed=failed)

    def _notes(self) -> dict[str, str]:
        """The exit codes that the guards of ranks have noted."""
        notes = Path(self._directory).glob("rank-*.exit")
        return {note.stem: note.read_text().strip() for note in notes} if self._directory else {}

    @property
    def _directory(self) -> str:
        return self.job.spec.log_directory

    @abstractmethod
    def stop(self, grace: float) -> None:
        """End the job: with what it listens to, and after `grace` seconds by force.

        On return nothing of it is left. It may have ended already.

        Raises
        ------
        LaunchError
            When something is left all the same.
        """

    @abstractmethod
    def job_script(self) -> str:
        """What `start` does, as a person would type or submit it."""

    def log(self) -> str:
        """What the job printed before its ranks had their own logs."""
        try:
            return self.job.log.read_text(errors="replace")
        except OSError:
            return ""
