"""The start of a profile that already has a cluster.

This removes the remains of a dead cluster, and refuses a second cluster or gives it an id of its own.
"""

from __future__ import annotations

import os
import sys
import time

from ..errors import ClusterRunning
from ..files.hosts import is_this_host
from ..files.job_file import Owner
from ..files.profiles import ClusterRecord, Profile
from ..job.process_identity import is_gone
from ..launchers import jobs
from ..launchers.base import JobState, JobStatus, Launcher

_ORPHAN_END = 5.0  # seconds that a job has to notice the end of its owner


def free_profile(profile: Profile, cluster_id: str) -> Profile:
    """Return the profile without a cluster id, or with `cluster_id` if another cluster runs without one."""
    try:
        return make_way(profile.with_cluster(""))
    except ClusterRunning as e:
        free = profile.with_cluster(cluster_id)
        print(f"mpidirect: {str(e).partition(chr(10))[0]} The new cluster is {free.name!r}.", file=sys.stderr)
        return free


def make_way(profile: Profile) -> Profile:
    """Remove the dead cluster of a profile, if there is one; return the profile.

    Raises
    ------
    ClusterRunning
        When the cluster is alive, or can't be seen from this host.
    """
    record = profile.record()
    if record is None:
        return profile
    launcher = jobs.recalled_launcher(profile, record)
    status = jobs.status(launcher, record)
    if status.state is not JobState.ENDED and not is_gone(record.owner):
        raise ClusterRunning(_refusal(profile.name, record, status))
    _await_end(launcher)
    launcher.stop(0)
    if saved := profile.unloaded_namespaces(record.cluster):
        print(f"mpidirect: the namespaces of the last cluster are saved: rc.load('{saved}')", file=sys.stderr)
    jobs.remove_files(profile, record.cluster, keep_saved=True)
    return profile


def _refusal(name: str, record: ClusterRecord, status: JobStatus) -> str:
    if status.state is JobState.UNKNOWN:
        why = f"can't be seen: {status.reason}"
        remedy = f"If it is gone:  mpidirect clean --force --profile {name}"
    else:
        why = f"runs already ({record.engines} engines, id {record.cluster}){_owned_by(record.owner)}"
        remedy = f"Stop it:  mpidirect stop --profile {name}"
    return (
        f"A cluster of profile {name!r} {why}.\n{remedy}\n"
        f"Or start another beside it:  mpidirect start --profile {_another(name)}, "
        "or in a program Cluster()"
    )


def _another(name: str) -> str:
    return f"{name}-2" if ":" in name else f"{name}:2"


def _owned_by(owner: Owner | None) -> str:
    if owner is None:
        return ""
    if owner.pid == os.getpid() and is_this_host(owner.host):
        return ". This process started it, and it ends with this process"
    return f". Process {owner.pid} on {owner.host} started it, and it ends with that process"


def _await_end(launcher: Launcher) -> None:
    """Wait until a local job has noticed the end of its owner."""
    deadline = time.monotonic() + _ORPHAN_END
    while launcher.local and launcher.state().state is not JobState.ENDED and time.monotonic() < deadline:
        time.sleep(launcher.poll_interval)
