"""From a job that was started to a client that all its engines answer, and what may come between."""

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

ANSWERING = 60.0  # seconds that a controller whose connection file is there may take at most
SETTLING = 2.0  # seconds in which a scheduler may find another reason why a job does not start

# Told what is waited for, and how many engines of how many are there.
Watcher = Callable[[str, int, int], None]


def connect(file: Path, deadline: float) -> Client:
    """A client by a connection file."""
    from ..client import Client  # only now: the job has started meanwhile

    return Client(str(file), timeout=max(0.1, min(ANSWERING, deadline - time.monotonic())))


class Readiness:
    """Waits until all engines of a job answer.

    Parameters
    ----------
    profile : Profile
        The cluster's profile.
    launcher : Launcher
        The launcher of its job.
    limit : float
        Seconds that it may take from when the job runs.
    watch : callable, optional
        Told of each change.
    within : float
        Seconds that it may take in all, in the queue and after.
    """

    def __init__(
        self,
        profile: Profile,
        launcher: Launcher,
        limit: float,
        watch: Watcher | None,
        within: float = math.inf,
    ) -> None:
        self._name = profile.name
        self._launcher = launcher
        self._limit = min(limit, within)
        self._within = within
        self._watch = watch or (lambda what, ready, n: None)
        self._n = launcher.job.spec.engines
        self._file = profile.connection_file(launcher.job.spec.cluster)
        self._began = time.monotonic()
        self._deadline = self._began + self._limit
        self._had_hope = False  # whether the job has waited for what may come
        self._hopeless: float | None = None  # since when it has not
        self._next_count = self._began + 0.5  # when the job's ranks are counted again

    def client(self) -> Client:
        """A client, once all engines answer it.

        Raises
        ------
        LaunchError
            When the job ended: carries the tail of its log. `NeverStarts` when it waits in vain.
        TimeoutError
            When the time is over; the job goes on.
        """
        launcher = self._launcher
        while not appeared(self._file):
            status = self._must_live()
            if status.state is JobState.PENDING:
                self._must_have_hope(status)
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
            deadline = time.monotonic() + 1.0  # if the job died under it, its end takes a moment
            while time.monotonic() < deadline:
                self._must_live()
                time.sleep(launcher.poll_interval)
            raise

    def _client_with_all(self) -> Client:
        client = connect(self._file, self._deadline)
        n = client.size  # it may have been resized
        try:
            while (ready := len(client.ids)) < n:
                self._watch("waiting for engines", ready, n)
                self._must_live()
                if time.monotonic() > self._deadline:
                    raise self._too_slow(f"{ready} of {n} engines answer")
                try:
                    client.wait_for_engines(n, timeout=0.1)
                except TimeoutError:
                    pass
        except BaseException:
            client.close()
            raise
        self._watch("all engines answer", n, n)
        self._look_where(client)
        return client

    def _look_where(self, client: Client) -> None:
        """Say so if the engines are on fewer hosts than were asked for."""
        asked = min(self._launcher.hosts_asked(), self._n)
        found = sorted({engine.host for engine in client._session.engines.live.values()})
        if len(found) < asked:
            print(
                f"mpidirect: the engines are on {len(found)} of the {asked} hosts that were asked for: "
                f"{', '.join(found)}. Either the scheduler gave no more, or what starts the ranks does not "
                "know the others: --mpiexec chooses another one.",
                file=sys.stderr,
            )

    def _must_have_hope(self, status: JobStatus) -> None:
        """Raise if a job that is pending waits in vain, or too long."""
        launcher = self._launcher
        # What was changed since the job was submitted, a limit or a node, may be changed back.
        self._had_hope = self._had_hope or status.hopeless is False
        if status.hopeless and not self._had_hope:
            self._hopeless = self._hopeless or time.monotonic()
            if time.monotonic() - self._hopeless < SETTLING:
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

    def _must_live(self) -> JobStatus:
        """How the job fares.

        Raise LaunchError if it has ended, or some of its ranks have died (counted once a second).
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
        if why := logs.reason(directory):
            how = f"{why}\n\nWhat was seen of that: {how}"
        rest = f"Its logs are in {directory}" if why else f"\n{logs.report(directory)}"
        raise LaunchError(f"The job of profile {self._name!r} {happened}: {how}.\n{rest}")

    def _too_slow(self, found: str) -> MPIDirectError:
        return TooSlow(
            f"The cluster of profile {self._name!r} was not ready within {self._limit:g} s: {found}.\n"
            f"Give it longer: start_timeout, --timeout.\n\n{self._log()}"
        )

    def _log(self) -> str:
        return logs.report(Path(self._launcher.job.spec.log_directory))
