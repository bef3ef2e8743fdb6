"""The wait from the start of a job until all engines reply to a client, and its errors."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConnectionFailed, LaunchError, MPIDirectError, NeverStarts
from ..errors import TimeoutError as TooSlow
from ..files import logs
from ..files.profiles import Profile, appeared
from ..launchers.base import JobState, JobStatus, Launcher

if TYPE_CHECKING:
    from ..client import Client

_CONNECT_TIMEOUT = 60.0  # seconds that a controller with a connection file has to answer
_HOPELESS_FOR = 2.0  # seconds after which a scheduler's reason for a hopeless job counts

# Called with the present step as text, the number of ready engines, and the number of engines.
Watcher = Callable[[str, int, int], None]


def connect(file: Path, deadline: float) -> Client:
    """Return a client by a connection file."""
    from ..client import Client  # imported here, while the job starts

    return Client(str(file), timeout=max(0.1, min(_CONNECT_TIMEOUT, deadline - time.monotonic())))


class Readiness:
    """Waits until all engines of a job reply to a client.

    Parameters
    ----------
    profile : Profile
        The cluster's profile.
    launcher : Launcher
        The launcher of the cluster's job.
    limit : float
        Seconds from the start of the job.
    watch : callable, optional
        Called at each change.
    within : float
        Seconds for the queue and the start together.
    was_ready : bool
        Whether all engines have replied before; engines that have died since are not waited for.
    """

    def __init__(
        self,
        profile: Profile,
        launcher: Launcher,
        limit: float,
        watch: Watcher | None,
        within: float = math.inf,
        was_ready: bool = False,
    ) -> None:
        self._name = profile.name
        self._was_ready = was_ready
        self._launcher = launcher
        self._limit = min(limit, within)
        self._within = within
        self._watch = watch or (lambda what, ready, n: None)
        self._n = launcher.job.spec.engines
        self._file = profile.connection_file(launcher.job.spec.cluster)
        self._began = time.monotonic()
        self._deadline = self._began + self._limit
        self._had_hope = False  # whether the scheduler has once called the job not hopeless
        self._hopeless: float | None = None  # since when the scheduler has called the job hopeless
        self._next_count = self._began + 0.5  # the time of the next count of the job's ranks

    def client(self) -> Client:
        """Wait until all engines reply, and return a client.

        Raises
        ------
        LaunchError
            When the job has ended: the message has the tail of its log. `NeverStarts` when it will never
            start.
        TimeoutError
            When the time is over; the job continues.
        """
        launcher = self._launcher
        while not appeared(self._file):
            status = self._require_running()
            if status.state is JobState.PENDING:
                self._check_queue(status)
                self._watch(f"job {launcher.id} is pending: {status.reason}", 0, self._n)
                self._deadline = min(time.monotonic() + self._limit, self._began + self._within)
            elif time.monotonic() > self._deadline:
                raise self._too_slow(status.reason or "the controller does not listen yet")
            else:
                where = f" on {status.hosts}" if status.hosts else ""
                self._watch(f"waiting for the controller{where}", 0, self._n)
            time.sleep(launcher.poll_interval)
        try:
            return self._client_with_all()
        except ConnectionFailed:
            deadline = time.monotonic() + 1.0  # if the job has died, its end will be noticed soon
            while time.monotonic() < deadline:
                self._require_running()
                time.sleep(launcher.poll_interval)
            raise

    def _client_with_all(self) -> Client:
        client = connect(self._file, self._deadline)
        n = client.size  # the cluster may have been resized
        try:
            while (ready := len(client.ids)) < n and not (
                self._was_ready and client._session.engines.complete()
            ):
                self._watch("waiting for engines", ready, n)
                self._require_running()
                if time.monotonic() > self._deadline:
                    raise self._too_slow(f"{ready} of {n} engines answer")
                try:
                    client.wait_for_engines(n, timeout=0.1, interactive=False)
                except TimeoutError:
                    pass
        except BaseException:
            client.close()
            raise
        self._watch("all engines answer", n, n)
        self._warn_of_few_hosts(client)
        return client

    def _warn_of_few_hosts(self, client: Client) -> None:
        """Print a warning if the engines are on fewer hosts than the user has asked for."""
        asked = min(self._launcher.hosts_asked(), self._n)
        found = sorted({engine.host for engine in client._session.engines.live.values()})
        if len(found) < asked:
            print(
                f"mpidirect: the engines are on {len(found)} of the {asked} hosts that were asked for: "
                f"{', '.join(found)}. Either the scheduler gave no more, or the mpiexec does not know the "
                "other hosts: --mpiexec chooses another one.",
                file=sys.stderr,
            )

    def _check_queue(self, status: JobStatus) -> None:
        """Raise if a pending job will never start, or has waited too long."""
        launcher = self._launcher
        # If the job was not hopeless at first, a limit or a node has changed, and may change back.
        self._had_hope = self._had_hope or status.hopeless is False
        if status.hopeless and not self._had_hope:
            self._hopeless = self._hopeless or time.monotonic()
            if time.monotonic() - self._hopeless < _HOPELESS_FOR:
                return
            raise NeverStarts(
                f"Job {launcher.id} of profile {self._name!r} will never start: {status.reason}."
            )
        queued = launcher.settings["queue_timeout"]
        limit = min(self._within, math.inf if queued is None else queued)
        if time.monotonic() - self._began > limit:
            longer = "--timeout" if limit == self._within else "queue_timeout, --queue-timeout"
            raise TooSlow(
                f"Job {launcher.id} of profile {self._name!r} did not start within {limit:g} s: "
                f"{status.reason}.\nGive it longer: {longer}."
            )

    def _require_running(self) -> JobStatus:
        """Return the status of the job.

        Raise LaunchError if the job has ended, or some of its ranks have died (counted once a second).
        """
        status = self._launcher.state()
        if status.state is JobState.ENDED:
            happened = "ended before its engines answered"
            how = status.reason
        elif time.monotonic() > self._next_count:
            self._next_count = time.monotonic() + 1.0
            losses = self._launcher.losses()
            if not losses:
                return status
            happened, how = "can't go on", f"{losses} before all engines answered"
        else:
            return status
        directory = Path(self._launcher.job.spec.log_directory)
        if cause := logs.reason(directory):
            how = f"{cause}\n\nThe job's status: {how}"
        rest = f"Its logs are in {directory}" if cause else f"\n{logs.report(directory)}"
        raise LaunchError(f"The job of profile {self._name!r} {happened}: {how}.\n{rest}")

    def _too_slow(self, found: str) -> MPIDirectError:
        return TooSlow(
            f"The cluster of profile {self._name!r} was not ready within {self._limit:g} s: {found}.\n"
            f"Give it longer: start_timeout, --timeout.\n\n{self._log()}"
        )

    def _log(self) -> str:
        return logs.report(Path(self._launcher.job.spec.log_directory))
