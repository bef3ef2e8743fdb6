"""What a scheduler, or a cluster's record, reports on a cluster that does not answer."""

from __future__ import annotations

import time
from pathlib import Path

from ..errors import MPIDirectError
from ..files import logs
from ..files.profiles import Profile
from .base import JobState, JobStatus, Launcher
from .jobs import recalled_launcher, status

_LOG_LINES = 5


def scheduled_launcher(profile: str, cluster: str) -> Launcher | None:
    """Return the launcher of a cluster that a scheduler runs; None if this host knows of no such job."""
    try:
        recorded = Profile(profile)
        record = recorded.record()
        if record is None or record.cluster != cluster:
            return None
        launcher = recalled_launcher(recorded, record)
    except MPIDirectError:
        return None
    return launcher if launcher.scheduled else None


def missing_cluster_reason(profile: Profile) -> str:
    """Return why a cluster that was started has no connection file, and the next step.

    Empty if no cluster was started, or its job can't be seen.
    """
    record = profile.record()
    if record is None:
        return ""
    launcher = recalled_launcher(profile, record)
    job = status(launcher, record)
    cluster, option = f"cluster of profile {profile.name!r}", f"--profile {profile.name}"
    if job.state is JobState.PENDING:
        never = "will never start" if job.hopeless else "is pending"
        remedy = "Cancel it:  mpidirect stop" if job.hopeless else "Wait for it:  mpidirect wait"
        return f"The {cluster} is not there yet: job {launcher.id} {never}: {job.reason}.\n{remedy} {option}"
    if job.state is JobState.RUNNING and not job.ending:
        return (
            f"The {cluster} is starting: its controller does not listen yet.\nWait:  mpidirect wait {option}"
        )
    if job.state is JobState.UNKNOWN:
        return ""
    how = job.reason or "it ends"
    return f"The {cluster} has ended: {how}.\nMore of that:  mpidirect status {option}"


def failure_reason(profile: str, cluster: str, timeout: float) -> str:
    """Return why the scheduler's job of a cluster ended, with the last lines of its log.

    Parameters
    ----------
    profile, cluster : str
        The profile's name and the cluster's id.
    timeout : float
        Seconds to wait until the scheduler reports how the job ended.

    Returns
    -------
    str
        Empty if the reason is unknown, or the job did not fail.
    """
    launcher = scheduled_launcher(profile, cluster)
    if launcher is None:
        return ""
    job = _final_status(launcher, timeout)
    if job.state is JobState.UNKNOWN or not job.reason or job.failed is False:
        return ""
    known = job.state in (JobState.ENDED, JobState.PENDING)  # a requeued job is pending
    later = "" if known else "; 'mpidirect status' will tell how it ended"
    tail = logs.failure_report(Path(launcher.job.spec.log_directory), _LOG_LINES)
    return f"of its job {launcher.id}: {job.reason}{later}.\n\n{tail}"


def _final_status(launcher: Launcher, timeout: float) -> JobStatus:
    """Return the status of an ending job: the settled one, or the one at the end of `timeout`."""
    launcher.command_timeout = timeout
    job = JobStatus(JobState.UNKNOWN)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        job = launcher.state()
        if job.state is JobState.ENDED and job.settled:
            break
        time.sleep(launcher.poll_interval)
    return job
