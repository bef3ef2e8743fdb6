"""A cluster from its start to its end, for programs and for the command line."""

from __future__ import annotations

import atexit
import enum
import math
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..config import config, ipyparallel_keywords
from ..errors import ClusterNotFound, ClusterRunning, LaunchError, MPIDirectError
from ..files import connection_file
from ..files.job_file import Owner
from ..files.profiles import ClusterRecord, Profile, appeared
from ..job.process_identity import belongs, is_gone, this_process
from ..launchers import jobs
from ..launchers.base import JobState, JobStatus, Launcher
from .ipyparallel_methods import IPyParallelMethods, launcher_of
from .readiness import Readiness, Watcher, connect

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..client import Client

UNOWNED = 5.0  # seconds that a job has to notice that its owner is gone


class ClusterState(str, enum.Enum):
    """How a cluster fares."""

    STOPPED = "stopped"
    PENDING = "pending"  # its job waits for resources
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    DEAD = "dead"  # its job ended without a stop: `stop` and the next `start` sweep up
    UNKNOWN = "unknown"  # it can't be seen from here, or nobody answered

    def __str__(self) -> str:
        return self.value


class Cluster(IPyParallelMethods):
    """A cluster of n engines and a controller.

    Parameters
    ----------
    n : int, optional
        The number of engines; one per core if neither this nor the profile says.
    profile : str
        The profile whose settings and files to use; created if need be.
    launcher : str, optional
        What starts the job: ``"mpiexec"``, …
    engines : str, optional
        The same under ipyparallel's name, with its names of launchers: ``"mpi"``, ``"slurm"``, …
    profile_dir, cluster_id : optional
        ipyparallel's ways to name a profile: each has one cluster here, and an id makes another one.
    shutdown_atexit : bool
        Stop the cluster when this process ends, however it ends. With False it lives on, and
        `from_profile` finds it again.
    **options
        Anything that can be set in the profile's ``config.toml``.

    Examples
    --------
    >>> with Cluster(n=4) as rc:
    ...     rc[:].apply_sync(os.getpid)

    >>> cluster = Cluster(n=4, profile="mpi").start().wait()
    >>> rc = cluster.connect_client()
    >>> cluster.stop()
    """

    def __init__(
        self,
        n: int | None = None,
        *,
        profile: str = "",
        launcher: str | None = None,
        engines: str | None = None,
        profile_dir: Any = None,
        cluster_id: str = "",
        shutdown_atexit: bool = True,
        **options: Any,
    ) -> None:
        ipyparallel_keywords.ignored("Cluster", options)
        if engines is not None:
            launcher = launcher or launcher_of(engines)
        self.shutdown_atexit = shutdown_atexit
        self.profile = Profile(ipyparallel_keywords.profile_of(profile, profile_dir, cluster_id))
        self._given = {"n": n, "launcher": launcher, **options}
        self._launcher: Launcher | None = None
        self._entered: Client | None = None  # the client of a with block
        self._detached = False
        if options:  # a misspelt one is told at once
            jobs.options_for(self.profile, self._given).check_names(options)

    def __repr__(self) -> str:
        what = f"{self.cluster}, {self.n} engines" if self._launcher else "not started"
        return f"<{type(self).__name__} {self.profile.name}: {what}>"

    @classmethod
    def from_profile(cls, profile: str = "") -> Self:
        """The cluster that was started under `profile`, here or by another process.

        Raises
        ------
        ClusterNotFound
            When none was, or it was stopped.
        """
        self = cls(profile=profile)
        record = self.profile.must_exist().record()
        if record is None:
            raise ClusterNotFound(
                f"No cluster runs under profile {self.profile.name!r}. "
                f"Start one:  mpidirect start -n 4 --profile {self.profile.name}"
            )
        self._given["launcher"] = record.launcher
        self._launcher = jobs.recalled_launcher(self.profile, record)
        self._detached = True  # who only looks at it does not end it
        return self

    # What it is

    @property
    def cluster(self) -> str:
        """The id of the cluster; empty before its start."""
        return self._launcher.job.spec.cluster if self._launcher else ""

    @property
    def started(self) -> bool:
        """Whether there is a job, or was one."""
        return self._launcher is not None

    @property
    def job_id(self) -> str:
        """What the scheduler calls the job; of an mpiexec, its process."""
        return self._started.id

    @property
    def scheduled(self) -> bool:
        """Whether a scheduler runs the job."""
        return self._started.scheduled

    @property
    def job(self) -> JobStatus:
        """How the job fares, as its launcher sees it: hosts, the time that is left, …"""
        return self._started.state()

    def left(self, told: float | None = None) -> float | None:
        """Seconds until the walltime ends the job, where the controller has told of so many."""
        return self._started.left(told)

    def hurry(self, patience: float) -> Self:
        """Give the commands that ask for the job only so many seconds."""
        self._started.command_timeout = patience
        return self

    @property
    def n(self) -> int:
        """The number of engines."""
        return self._launcher.job.spec.engines if self._launcher else jobs.engines(self.settings)

    @property
    def settings(self) -> config.Settings:
        """The value of every option, and where it came from."""
        return jobs.resolve(self.profile, self._given)

    @property
    def connection_file(self) -> Path:
        """Where clients find the controller."""
        return self.profile.connection_file(self._started.job.spec.cluster)

    @property
    def log_directory(self) -> Path:
        """The logs of the job, of the controller and of each engine."""
        return Path(self._started.job.spec.log_directory)

    @property
    def state(self) -> ClusterState:
        """How the cluster fares."""
        return self.look()[0]

    def look(self) -> tuple[ClusterState, str]:
        """How the cluster fares, and why, in words."""
        record = self.profile.record()
        launcher = self._launcher
        if launcher is None or record is None or record.cluster != self.cluster:
            return ClusterState.STOPPED, ""
        status = jobs.status(launcher, record)
        if status.state is JobState.ENDED:
            # A controller that was asked to stop removes its file; so does none that died.
            failed = self.connection_file.exists() if status.failed is None else status.failed
            return (ClusterState.DEAD if failed else ClusterState.STOPPED), status.reason
        if status.state is JobState.RUNNING and not self.connection_file.exists():
            return (ClusterState.ENDING if status.ending else ClusterState.STARTING), status.reason
        never = "it will never start: " if status.hopeless else ""
        return ClusterState(status.state.value), f"{never}{status.reason}"

    def job_script(self) -> str:
        """What `start` would run or submit."""
        return (self._launcher or jobs.new_launcher(self.profile, self.settings)).job_script()

    # From start to stop

    def start(self, owner: Owner | None = None) -> Self:
        """Start the job and return; `wait` waits for its engines.

        When this process ends, the cluster is stopped, unless `shutdown_atexit` is False.

        Parameters
        ----------
        owner : Owner, optional
            Another process whose end stops the cluster.

        Raises
        ------
        ClusterRunning
            When a cluster of this profile runs already.
        LaunchError
            When the job can't be started.
        """
        settings = self.settings
        profile = self.profile.create()
        with profile.locked():
            self._refuse_second()
            if self.shutdown_atexit:
                owner = this_process()
            launcher = jobs.new_launcher(profile, settings, owner)
            jobs.launch(profile, launcher)
        self._launcher, self._detached = launcher, False
        if self.shutdown_atexit:
            _owned[self] = os.getpid()
        profile.prune_logs(settings["keep_logs"])
        return self

    def wait(
        self, timeout: float | None = None, watch: Watcher | None = None, within: float = math.inf
    ) -> Self:
        """Wait until all engines answer.

        Parameters
        ----------
        timeout : float, optional
            Seconds from when the job runs; the setting ``start_timeout`` if not given. How long it may wait
            in a queue before, the setting ``queue_timeout`` says.
        watch : callable, optional
            Called as ``watch(what, ready, n)`` whenever something changes.
        within : float
            Seconds that it may take in all, in the queue and after.

        Raises
        ------
        LaunchError
            When the job ended: carries the tail of its log. `NeverStarts` when it waits in vain.
        TimeoutError
            When the time is over; the job goes on.
        """
        self._ready_client(timeout, watch, within).close()
        return self

    def connect_client(self, timeout: float | None = None) -> Client:
        """A new client of this cluster; waits for the engines first, as `wait` does."""
        return self._ready_client(timeout)

    def _ready_client(
        self, timeout: float | None = None, watch: Watcher | None = None, within: float = math.inf
    ) -> Client:
        launcher = self._started
        limit = launcher.settings["start_timeout"] if timeout is None else timeout
        return Readiness(self.profile, launcher, limit, watch, within).client()

    def stop(self, timeout: float | None = None) -> None:
        """Stop the cluster and remove what it leaves behind, its logs apart.

        The controller is asked first; what has not ended after `timeout` seconds is killed, with a timeout
        of 0 at once. Stopping what is gone is no error.

        Parameters
        ----------
        timeout : float, optional
            Seconds; the setting ``stop_timeout`` if not given.

        Raises
        ------
        LaunchError
            When something could not be ended, or not from this host.
        """
        launcher = self._started
        limit = launcher.settings["stop_timeout"] if timeout is None else timeout
        deadline = time.monotonic() + limit
        record = self.profile.record()
        if record is not None and record.cluster == self.cluster:
            self._must_be_visible(record)
        if limit > 0:
            self._ask_controller(limit / 2)
        if self._within and launcher.state().state is not JobState.ENDED:
            if appeared(self.connection_file):
                raise LaunchError(
                    f"The controller does not answer. The cluster runs inside job {launcher.id}: "
                    "end that job."
                )
        else:
            launcher.stop(max(0.0, deadline - time.monotonic()))
        jobs.sweep(self.profile, self.cluster)
        _owned.pop(self, None)

    def abandon(self, error: BaseException) -> None:
        """Kill what was started in vain; what keeps it from ending is added to `error`, which led to it."""
        try:
            self.stop(0)
        except MPIDirectError as e:
            jobs.tell_besides(error, e)

    def detach(self) -> Self:
        """Let the cluster live when the ``with`` block or this process ends.

        `from_profile` finds it again.
        """
        self._detached = True
        if _owned.pop(self, None):
            jobs.disown(self.profile, self._started)
        return self

    def _ask_controller(self, limit: float) -> None:
        """Let the controller end all; returns when the job has ended, or did not listen."""
        launcher = self._started
        if launcher.state().state is JobState.ENDED or not self.connection_file.exists():
            return
        deadline = time.monotonic() + limit
        try:
            client = connect(self.connection_file, deadline)
            try:
                client.shutdown(hub=True, block=False)
            finally:
                client.close()
        except MPIDirectError:
            return
        while self._goes_on() and time.monotonic() < deadline:
            time.sleep(launcher.poll_interval)

    def _end_with_this_process(self) -> None:
        """Stop it from a process that may start no threads any more, and so have no client."""
        launcher, record = self._started, self.profile.record()
        if record is None or record.cluster != self.cluster:
            return  # another process has stopped it
        limit = launcher.settings["stop_timeout"] / 2
        try:
            controller = connection_file.read(self.connection_file)
            if controller.host == socket.gethostname() and belongs(controller.pid, controller.cluster):
                os.kill(controller.pid, signal.SIGTERM)  # which it takes as a request to stop
        except (MPIDirectError, OSError):
            limit = 0.0
        deadline = time.monotonic() + limit
        while self._goes_on() and time.monotonic() < deadline:
            time.sleep(launcher.poll_interval)
        self.stop(0)

    def _goes_on(self) -> bool:
        """Whether a job that was asked to end is still there."""
        if self._within:
            return self.connection_file.exists()
        return self._started.state().state is JobState.RUNNING

    @property
    def _within(self) -> str:
        """The job of a scheduler that this cluster was started in, on another host: not ours to end."""
        launcher, record = self._started, self.profile.record()
        return launcher.id if record is not None and record.launcher != launcher.name else ""

    # Errors

    @property
    def _started(self) -> Launcher:
        if self._launcher is None:
            raise LaunchError("This cluster was not started: call start(), or Cluster.from_profile(…).")
        return self._launcher

    def _must_be_visible(self, record: ClusterRecord) -> None:
        if not jobs.visible(self._started, record):
            raise LaunchError(
                f"The cluster of profile {self.profile.name!r} was started on host {record.host}; "
                "stop it there.\n"
                f"If it is gone:  mpidirect clean --force --profile {self.profile.name}"
            )

    def _refuse_second(self) -> None:
        record = self.profile.record()
        if record is None:
            return
        launcher = jobs.recalled_launcher(self.profile, record)
        status = jobs.status(launcher, record)
        name = self.profile.name
        if status.state is not JobState.ENDED and not is_gone(record.owner):
            if status.state is JobState.UNKNOWN:
                why = f"can't be seen: {status.reason}"
                remedy = f"If it is gone:  mpidirect clean --force --profile {name}"
            else:
                why = f"runs already ({record.engines} engines, id {record.cluster})"
                if record.owner is not None:
                    own = record.owner.pid == os.getpid() and record.owner.host == socket.gethostname()
                    whose = "this process" if own else f"process {record.owner.pid} on {record.owner.host}"
                    why += f". {whose[0].upper()}{whose[1:]} started it, and it ends with that"
                remedy = f"Stop it:  mpidirect stop --profile {name}"
            raise ClusterRunning(
                f"A cluster of profile {name!r} {why}.\n{remedy}\n"
                f"Or start another beside it:  mpidirect start --profile {name}-2, "
                f'or in a program Cluster(profile="{name}-2")'
            )
        deadline = time.monotonic() + UNOWNED
        while launcher.local and launcher.state().state is not JobState.ENDED and time.monotonic() < deadline:
            time.sleep(launcher.poll_interval)
        launcher.stop(0)
        jobs.sweep(self.profile, record.cluster)

    # Context managers: what they started they stop

    def __enter__(self) -> Client:
        if self.state is ClusterState.STOPPED:
            self.start()
        try:
            self._entered = self.connect_client()
        except BaseException as e:
            if not self._detached:
                self.abandon(e)
            raise
        return self._entered

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    async def __aenter__(self) -> Client:
        import asyncio  # slow to import, and the command line needs none

        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        import asyncio

        await asyncio.to_thread(self._leave)

    def _leave(self) -> None:
        entered, self._entered = self._entered, None
        if entered is not None:
            entered.close()
        if not self._detached:
            self.stop()


_owned: dict[Cluster, int] = {}  # clusters that end with the process of that number


@atexit.register
def _stop_owned() -> None:
    """Stop the clusters that this process has started, if it is not a forked child."""
    for cluster in [cluster for cluster, pid in _owned.items() if pid == os.getpid()]:
        try:
            cluster._end_with_this_process()
        except Exception as e:  # the other ones are to be stopped as well
            print(f"{cluster} could not be stopped: {e}", file=sys.stderr)
