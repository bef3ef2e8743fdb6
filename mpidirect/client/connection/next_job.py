"""The wait for the job that continues a cluster."""

from __future__ import annotations

import time
from typing import Protocol

from ...errors import MPIDirectError
from ...files.profiles import Profile
from ...launchers.base import JobState
from ...launchers.scheduled_jobs import scheduled_launcher

QUERY_INTERVAL = 30.0  # seconds between two questions to the scheduler
QUERY_INTERVAL_BY_SSH = 120.0  # the same, where each question is a login on another host
QUERY_TIMEOUT = 20.0  # seconds that the scheduler has to answer


class FarHost(Protocol):
    """The host that the cluster was started on, if that is not this host."""

    def ended_job(self, profile: str, cluster: str) -> tuple[str, str]:
        """Return the id of the cluster's job and how the job ended; both are empty if it has not ended."""


class NextJobWatch:
    """Tells whether the job that is to continue a cluster can still come.

    Parameters
    ----------
    profile, cluster : str
        The profile and the id of the cluster.
    far_host : FarHost, optional
        The host with the files of the cluster, if this host has none.
    """

    def __init__(self, profile: str, cluster: str, far_host: FarHost | None) -> None:
        self._profile = Profile(profile)
        self._cluster = cluster
        self._far_host = far_host
        self._expected_until = 0.0
        self._next_query = 0.0
        self._ended_job = ""  # the job that had ended by the last query

    def expect(self, within: float) -> None:
        """Note that the next job begins within so many seconds."""
        now = time.monotonic()
        self._expected_until, self._next_query = now + within, now + self._interval

    @property
    def _interval(self) -> float:
        return QUERY_INTERVAL_BY_SSH if self._far_host else QUERY_INTERVAL

    @property
    def expected(self) -> bool:
        """Whether the next job may still begin."""
        if time.monotonic() < self._expected_until:
            return True
        return not self._far_host and self._profile.resume_file(self._cluster).exists()

    def why_lost(self) -> str:
        """Return why the next job will not begin; empty if it may. This can take seconds.

        A job has ended if the scheduler says so twice: for up to a minute, a network file system may show an
        old record with the id of the former job.
        """
        if not self._far_host:
            if not self._profile.exists():
                return ""
            if not self._profile.job_file(self._cluster).exists():
                return "it was stopped, or its next job was cancelled"
        if time.monotonic() < self._next_query:
            return ""
        ask = self._far_host.ended_job if self._far_host else _ended_job
        job, how = ask(self._profile.name, self._cluster)
        self._next_query = time.monotonic() + self._interval
        is_certain = bool(job) and job == self._ended_job
        self._ended_job = job
        return f"job {job}, which was to continue it, has ended: {how}" if is_certain else ""


def _ended_job(profile: str, cluster: str) -> tuple[str, str]:
    """Return the id of the cluster's job and how the job ended; both are empty if it has not ended."""
    launcher = scheduled_launcher(profile, cluster)
    if launcher is None:
        return "", ""
    launcher.command_timeout = QUERY_TIMEOUT
    try:
        status = launcher.state()
    except MPIDirectError:
        return "", ""
    ended = status.state is JobState.ENDED and status.settled
    return (launcher.id, status.reason) if ended else ("", "")
