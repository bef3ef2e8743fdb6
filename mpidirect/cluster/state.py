"""The state of a cluster, by its record, its job and its connection file."""

from __future__ import annotations

import enum

from ..files.profiles import ClusterRecord, Profile
from ..launchers import jobs
from ..launchers.base import JobState, Launcher


class ClusterState(str, enum.Enum):
    """The state of a cluster."""

    STOPPED = "stopped"
    PENDING = "pending"  # the job waits for resources
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    DEAD = "dead"  # the job has ended without a stop; `stop` and the next `start` remove its files
    UNKNOWN = "unknown"  # the job can't be seen from this host, or the scheduler has not answered

    def __str__(self) -> str:
        return self.value


def cluster_state(profile: Profile, launcher: Launcher, record: ClusterRecord) -> tuple[ClusterState, str]:
    """Return the state of the cluster of `record`, and its reason as text."""
    job = jobs.status(launcher, record)
    has_connection_file = profile.connection_file(record.cluster).exists()
    if job.state is JobState.ENDED:
        # A controller removes the file when it is asked to stop, but not when it dies.
        if profile.resume_file(record.cluster).exists():
            return ClusterState.DEAD, f"{job.reason}. It was to continue the cluster{_saved(profile, record)}"
        failed = has_connection_file if job.failed is None else job.failed
        return (ClusterState.DEAD if failed else ClusterState.STOPPED), job.reason
    if job.ending:
        return ClusterState.ENDING, job.reason
    if job.state is JobState.RUNNING and not has_connection_file:
        return ClusterState.STARTING, job.reason
    never = "it will never start: " if job.hopeless else ""
    return ClusterState(job.state.value), f"{never}{job.reason}"


def _saved(profile: Profile, record: ClusterRecord) -> str:
    """Return, as the end of a sentence, where the namespaces of a cluster are saved."""
    saved = profile.unloaded_namespaces(record.cluster)
    return f"; the namespaces are saved: rc.load('{saved}') in another cluster" if saved else ""
