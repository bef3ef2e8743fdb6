"""A cluster from its start to its end, for programs and for the command line."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..config import config, ipyparallel_keywords
from ..errors import ClusterNotFound, LaunchError, MPIDirectError
from ..files import job_file
from ..files.job_file import Owner
from ..files.profiles import ClusterRecord, Profile, appeared
from ..job.process_identity import this_process
from ..launchers import jobs
from ..launchers.base import JobState, JobStatus, Launcher
from . import owned, shutdown
from .ipyparallel_methods import IPyParallelMethods, launcher_name
from .readiness import Readiness, Watcher
from .running_cluster import free_profile, make_way
from .state import ClusterState, cluster_state

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..client import Client

BAR_DELAY = 1.0  # seconds after which a wait at a prompt shows a bar


class Cluster(IPyParallelMethods):
    """A cluster of n engines and a controller.

    Parameters
    ----------
    n : int, optional
        The number of engines; one per core if neither this keyword nor the profile names a number.
    profile : str
        The profile whose settings and files are used; created if needed.
    launcher : str, optional
        The way to start the job: ``"mpiexec"``, …
    engines : str, optional
        The same under ipyparallel's name, with its names of launchers: ``"mpi"``, ``"slurm"``, …
    profile_dir : path, optional
        ipyparallel's way to name a profile.
    cluster_id : str, optional
        The id of the cluster within the profile. Without this keyword the cluster is the profile's, which
        `Client()` finds; if another such cluster runs, the new cluster gets an id of its own. With ``""`` the
        cluster is the profile's, or refused.
    shutdown_atexit : bool
        Stop the cluster when this process ends, in any way. With False the cluster lives on, and
        `from_profile` finds it again.
    **options
        Any option of the profile's ``config.toml``.

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
        cluster_id: str | None = None,
        shutdown_atexit: bool = True,
        **options: Any,
    ) -> None:
        ipyparallel_keywords.drop_ignored("Cluster", options)
        if engines is not None:
            launcher = launcher or launcher_name(engines)
        self.shutdown_atexit = shutdown_atexit
        self.profile = Profile(ipyparallel_keywords.profile_name(profile, profile_dir, cluster_id))
        self._may_choose_id = cluster_id is None and not self.profile.cluster_id
        self._given = {"n": n, "launcher": launcher, **options}
        self._launcher: Launcher | None = None
        self._entered: Client | None = None  # the client of a ``with`` block
        self._detached = False
        self._was_ready = False  # whether all engines have replied before
        if options:  # so that an unknown name is an error at once
            jobs.options_for(self.profile, self._given).check_names(options)

    def __repr__(self) -> str:
        what = f"{self.cluster}, {self.n} engines" if self._launcher else "not started"
        return f"<{type(self).__name__} {self.profile.name}: {what}>"

    @classmethod
    def from_profile(cls, profile: str = "") -> Self:
        """Return the cluster that was started under `profile`, by this or another process.

        Parameters
        ----------
        profile : str
            The profile's name; empty for ``MPIDIRECT_PROFILE``, else ``default``.

        Returns
        -------
        Cluster
            It does not end with this process.

        Raises
        ------
        ClusterNotFound
            When no cluster was started, or it was stopped.
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
        self._detached = True  # a cluster of another process does not end with this one
        self._was_ready = True
        return self

    # Properties

    @property
    def cluster(self) -> str:
        """The id of the cluster; empty before the start."""
        return self._launcher.job.spec.cluster if self._launcher else ""

    @property
    def started(self) -> bool:
        """Whether the cluster was started."""
        return self._launcher is not None

    @property
    def job_id(self) -> str:
        """The scheduler's id of the job, or the process number of mpiexec."""
        return self._started.id

    @property
    def scheduled(self) -> bool:
        """Whether a scheduler runs the job."""
        return self._started.scheduled

    @property
    def job(self) -> JobStatus:
        """Return the status of the job by its launcher: state, hosts, time left."""
        return self._started.state()

    def left(self, reported: float | None = None) -> float | None:
        """Return the seconds until the walltime ends the job; `reported` are the controller's seconds."""
        return self._started.left(reported)

    def limit_commands(self, timeout: float) -> Self:
        """Let each command of the scheduler take `timeout` seconds at most."""
        self._started.command_timeout = timeout
        return self

    @property
    def resumes(self) -> str:
        """How often another job has continued the cluster, and how often it may: ``1 of 3``; else empty."""
        try:
            resume = job_file.read(self.profile.job_file(self.cluster)).resume
        except MPIDirectError:
            return ""
        return f"{resume.done} of {resume.most}" if resume else ""

    @property
    def n(self) -> int:
        """The number of engines."""
        return self._launcher.job.spec.engines if self._launcher else jobs.engines(self.settings)

    @property
    def settings(self) -> config.Settings:
        """The values of all options, and their sources."""
        return jobs.resolve(self.profile, self._given)

    @property
    def connection_file(self) -> Path:
        """The file by which clients find the controller."""
        return self.profile.connection_file(self._started.job.spec.cluster)

    @property
    def log_directory(self) -> Path:
        """The directory of the logs of the job, the controller and each engine."""
        return Path(self._started.job.spec.log_directory)

    @property
    def state(self) -> ClusterState:
        """The state of the cluster."""
        return self.look()[0]

    def look(self) -> tuple[ClusterState, str]:
        """Return the state of the cluster, and its reason as text."""
        record = self._own_record()
        if self._launcher is None or record is None:
            return ClusterState.STOPPED, ""
        return cluster_state(self.profile, self._started, record)

    def _own_record(self) -> ClusterRecord | None:
        """Return the profile's record if it describes this cluster."""
        record = self.profile.record()
        return record if record is not None and record.cluster == self.cluster else None

    def job_script(self) -> str:
        """Return the command or the script that `start` runs or submits."""
        return (self._launcher or jobs.new_launcher(self.profile, self.settings)).job_script()

    # Start and stop

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
            When a cluster with the same id runs already.
        LaunchError
            When the job can't be started.
        """
        settings = self.settings
        profile = self.profile.create()
        with profile.locked():
            cluster = jobs.new_cluster_id()
            profile = free_profile(profile, cluster) if self._may_choose_id else make_way(profile)
            if self.shutdown_atexit:
                owner = this_process()
            launcher = jobs.new_launcher(profile, settings, owner, cluster)
            jobs.launch(profile, launcher)
        self.profile = profile
        self._launcher, self._detached, self._was_ready = launcher, False, False
        if self.shutdown_atexit:
            owned.own(self)
        profile.prune_logs(settings["keep_logs"])
        return self

    def wait(
        self, timeout: float | None = None, watch: Watcher | None = None, within: float = math.inf
    ) -> Self:
        """Wait until all engines answer.

        Parameters
        ----------
        timeout : float, optional
            Seconds from the start of the job; the setting ``start_timeout`` if not given. The setting
            ``queue_timeout`` limits the wait in a queue before.
        watch : callable, optional
            Called as ``watch(text, ready, n)`` at each change.
        within : float
            Seconds for the queue and the start together.

        Raises
        ------
        LaunchError
            When the job ended: the message has the tail of its log. `NeverStarts` when the job waits for
            resources that will not come.
        TimeoutError
            When the time is over; the job goes on.
        """
        self._ready_client(timeout, watch, within).close()
        self._was_ready = True
        return self

    def connect_client(self, timeout: float | None = None, watch: Watcher | None = None) -> Client:
        """Wait for the engines, as `wait` does, and return a new client of this cluster.

        Engines of a running cluster that have died are not waited for.
        """
        client = self._ready_client(timeout, watch, was_ready=self._was_ready)
        self._was_ready = True
        return client

    def _ready_client(
        self,
        timeout: float | None = None,
        watch: Watcher | None = None,
        within: float = math.inf,
        was_ready: bool = False,
    ) -> Client:
        launcher = self._started
        limit = launcher.settings["start_timeout"] if timeout is None else timeout
        if watch is not None or not hasattr(sys, "ps1"):
            return Readiness(self.profile, launcher, limit, watch, within, was_ready).client()
        from ..client.display.progress import start_bar  # imported here, while the job starts

        with start_bar(self.n, BAR_DELAY) as bar:
            return Readiness(self.profile, launcher, limit, bar.update, within, was_ready).client()

    def stop(self, timeout: float | None = None) -> None:
        """Stop the cluster and remove its files, but not its logs.

        The controller is asked first. Processes that have not ended after `timeout` seconds are killed. It
        is no error to stop a cluster that is gone.

        Parameters
        ----------
        timeout : float, optional
            Seconds; the setting ``stop_timeout`` if not given. With 0 everything is killed at once.

        Raises
        ------
        LaunchError
            When a process could not be ended, or can't be seen from this host.
        """
        launcher = self._started
        limit = launcher.settings["stop_timeout"] if timeout is None else timeout
        deadline = time.monotonic() + limit
        self._require_visible()
        jobs.forbid_continuation(self.profile, self.cluster)
        if limit > 0:
            self._ask_to_stop(limit / 2)
        if self._enclosing_job and launcher.state().state is not JobState.ENDED:
            if appeared(self.connection_file):
                raise LaunchError(
                    f"The controller does not answer. The cluster runs inside job {launcher.id}: "
                    "end that job."
                )
        else:
            launcher.stop(max(0.0, deadline - time.monotonic()))
        jobs.remove_files(self.profile, self.cluster)
        owned.release(self)

    def abandon(self, error: BaseException) -> None:
        """Kill a cluster whose start failed with `error`; add a second error to its message."""
        try:
            self.stop(0)
        except MPIDirectError as e:
            jobs.append_error(error, e)

    def detach(self) -> Self:
        """Let the cluster live on at the end of the ``with`` block and of this process.

        `from_profile` finds it again.
        """
        self._detached = True
        if owned.release(self):
            jobs.drop_owner(self.profile, self._started)
        return self

    def _ask_to_stop(self, timeout: float) -> None:
        """Ask the controller to stop, and wait for the end of the job."""
        if self._started.state().state is JobState.ENDED or not self.connection_file.exists():
            return
        deadline = time.monotonic() + timeout
        if shutdown.ask_to_stop(self.connection_file, timeout):
            shutdown.await_end(self._goes_on, deadline, self._started.poll_interval)

    def stop_at_exit(self) -> None:
        """Stop the cluster without a client, because an exiting process can start no thread."""
        if self._own_record() is None:
            return  # another process has stopped the cluster
        launcher = self._started
        jobs.forbid_continuation(self.profile, self.cluster)
        if shutdown.terminate(self.connection_file):
            deadline = time.monotonic() + launcher.settings["stop_timeout"] / 2
            shutdown.await_end(self._goes_on, deadline, launcher.poll_interval)
        self.stop(0)

    def _goes_on(self) -> bool:
        """Whether a job continues that was asked to end."""
        if self._enclosing_job:
            return self.connection_file.exists()
        return self._started.state().state is JobState.RUNNING

    @property
    def _enclosing_job(self) -> str:
        """The id of the scheduler's job in which another host started this cluster; empty if none.

        The job is the user's: `stop` does not end it.
        """
        launcher, record = self._started, self.profile.record()
        return launcher.id if record is not None and record.launcher != launcher.name else ""

    # Errors

    @property
    def _started(self) -> Launcher:
        if self._launcher is None:
            raise LaunchError("This cluster was not started: call start(), or Cluster.from_profile(…).")
        record = self._own_record() if self._launcher.can_continue else None
        if record is not None and record.handle != self._launcher.handle:  # another job continues the cluster
            self._launcher = jobs.recalled_launcher(self.profile, record)
        return self._launcher

    def _require_visible(self) -> None:
        record = self._own_record()
        if record is not None and not jobs.is_visible(self._started, record):
            raise LaunchError(
                f"The cluster of profile {self.profile.name!r} was started on host {record.host}; "
                "stop it there.\n"
                f"If it is gone:  mpidirect clean --force --profile {self.profile.name}"
            )

    # Context managers, which stop the cluster that they have started

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
        import asyncio  # slow to import, and not needed by the command line

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
