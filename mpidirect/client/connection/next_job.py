"""The wait for the job that continues a cluster."""

from __future__ import annotations

import time

from ...errors import MPIDirectError
from ...files.profiles import Profile
from ...launchers.base import JobState
from ...launchers.scheduled_jobs import scheduled_launcher

QUERY_INTERVAL = 30.0  # seconds between two questions to the scheduler
QUERY_TIMEOUT = 20.0  # seconds that the scheduler has to answer


class NextJobWatch:
    """Tells whether the job that is to continue a cluster can still come.

    Parameters
    ----------
    profile, cluster : str
        The profile and the id of the cluster.
    has_profile : bool
        Whether this host may have the profile with the files of the cluster.
    """

    def __init__(self, profile: str, cluster: str, has_profile: bool) -> None:
        self._profile = Profile(profile)
        self._cluster = cluster
        self._has_profile = has_profile
        self._expected_until = 0.0
        self._next_query = 0.0
        self._ended_job = ""  # the job that had ended at the last question

    def expect(self, within: float) -> None:
        """Note that the next job begins within so many seconds."""
        now = time.monotonic()
        self._expected_until, self._next_query = now + within, now + QUERY_INTERVAL

    @property
    def expected(self) -> bool:
        """Whether the next job may come."""
        if time.monotonic() < self._expected_until:
            return True
        return self._has_profile and self._profile.resume_file(self._cluster).exists()

    def why_lost(self) -> str:
        """Return why the next job will not come; empty if the job may come. This can take seconds.

        A job counts as ended if the scheduler says so twice: a network file system may show an old record,
        with the id of the former job, for a minute.
        """
        if not self._has_profile or not self._profile.exists():
            return ""
        if not self._profile.job_file(self._cluster).exists():
            return "it was stopped, or its next job was cancelled"
        if time.monotonic() < self._next_query:
            return ""
        try:
            job, how = self._ended()
        finally:
            self._next_query = time.monotonic() + QUERY_INTERVAL
        is_certain = bool(job) and job == self._ended_job
        self._ended_job = job
        return f"job {job}, which was to continue it, has ended: {how}" if is_certain else ""

    def _ended(self) -> tuple[str, str]:
        """Return the id of the next job and how the job ended; both are empty if the job has not ended."""
        launcher = scheduled_launcher(self._profile.name, self._cluster)
        if launcher is None:
            return "", ""
        launcher.command_timeout = QUERY_TIMEOUT
        try:
            status = launcher.state()
        except MPIDirectError:
            return "", ""
        ended = status.state is JobState.ENDED and status.settled
        return (launcher.id, status.reason) if ended else ("", "")
