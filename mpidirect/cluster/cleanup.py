"""Find and remove what dead clusters have left behind."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConnectionFailed
from ..files import connection_file
from ..files.hosts import is_this_host
from ..files.profiles import Profile, home, profile_names
from ..job import processes
from ..launchers.jobs import remove_files
from .cluster import Cluster
from .state import ClusterState

if TYPE_CHECKING:
    import psutil

_MINIMUM_AGE = 60.0  # seconds; a younger file may belong to a job that is starting


def clean(names: Iterable[str] | None = None, *, force: bool = False) -> list[str]:
    """Remove the processes, files and sockets of dead clusters, and nothing of living clusters.

    Parameters
    ----------
    names : iterable of str, optional
        Profiles; all of them if not given.
    force : bool
        Also remove clusters that can't be seen from this host, and, as root, the shared memory of dead MPI
        jobs.

    Returns
    -------
    list of str
        A description of each removed thing.
    """
    done: list[str] = []
    running = processes.members_of()
    alive: set[str] = set()
    for name in profile_names() if names is None else names:
        alive.update(_clean_profile(Profile(name), running, force, done))
    if names is None:
        for cluster, left in running.items():
            if cluster not in alive and any(_is_rank(process) for process in left):
                done += _end(cluster)
        done += _sockets(alive | running.keys())
        if force or os.getuid() != 0:  # several persons may use root: not every job of root is this user's
            done += _shared_memory()
    return done


def _clean_profile(
    profile: Profile, running: dict[str, list[psutil.Process]], force: bool, done: list[str]
) -> set[str]:
    """Clean one profile, and return the ids of its clusters that live."""
    alive = set()
    for recorded in map(Profile, profile.recorded()):
        record = recorded.record()
        if record is None:
            continue  # the cluster's own process has removed the file
        cluster = Cluster.from_profile(recorded.name)
        state, _ = cluster.look()
        if state in (ClusterState.DEAD, ClusterState.STOPPED) or (state is ClusterState.UNKNOWN and force):
            if is_this_host(record.host) and record.cluster in running:
                done += _end(record.cluster)
            done += map(str, remove_files(recorded, record.cluster))
        else:
            alive.add(record.cluster)
    for cluster_id in sorted(profile.clusters() - alive):
        if not force and not _gone(profile, cluster_id):
            alive.add(cluster_id)
            continue
        if cluster_id in running:
            done += _end(cluster_id)
        done += map(str, remove_files(profile, cluster_id))
    return alive


def _gone(profile: Profile, cluster: str) -> bool:
    """Whether a cluster without a record is gone: it is not starting, and not on another host."""
    job = profile.job_file(cluster)
    if job.exists() and time.time() - job.stat().st_mtime < _MINIMUM_AGE:
        return False
    try:
        host = connection_file.read(profile.connection_file(cluster)).host
    except ConnectionFailed:
        return True
    return is_this_host(host)


def _is_rank(process: psutil.Process) -> bool:
    """Whether a process is a rank of a job of this user's profiles."""
    import psutil

    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "mpidirect.job" in words and words[-1].startswith(f"{home()}{os.sep}")


def _end(cluster: str) -> list[str]:
    """End the processes of a cluster, and describe the result."""
    count = len(processes.members(cluster))
    left = processes.end(cluster, grace=1.0)
    done = [f"{count - len(left)} processes of cluster {cluster}"] if count > len(left) else []
    return [*done, *(f"(process {pid} of cluster {cluster} can't be ended)" for pid in left)]


def _sockets(alive: set[str]) -> list[str]:
    """Remove the socket directories of clusters that are not alive on this host."""
    from ..files.private_directories import socket_directory

    example = socket_directory("*")
    done = []
    for directory in example.parent.glob(example.name):
        cluster = directory.name.removeprefix(example.name[:-1])
        if cluster not in alive and _removable(directory):
            shutil.rmtree(directory, ignore_errors=True)
            done.append(str(directory))
    return done


def _shared_memory() -> list[str]:
    """Remove the shared memory of killed ranks, and the temporary directories of killed mpiexecs."""
    if not Path("/proc/self/maps").exists():
        return []
    candidates = [
        path
        for pattern in ("sm_segment.*", "vader_segment.*", "mpich_shm_*", "psm*_shm.*")
        for path in Path("/dev/shm").glob(pattern)
        if _removable(path)
    ]
    mapped = _mapped_files() if candidates else set()
    done = [path for path in candidates if str(path) not in mapped]
    for path in done:
        path.unlink(missing_ok=True)
    for path in Path(tempfile.gettempdir()).iterdir():
        found = re.fullmatch(r"(?:ompi|prted)\.(\d+)", path.name)
        if found and processes.birth(int(found[1])) is None and _removable(path):
            shutil.rmtree(path, ignore_errors=True)
            done.append(path)
    return list(map(str, done))


def _removable(path: Path) -> bool:
    """Whether a file belongs to this user and is old enough."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and time.time() - status.st_mtime > _MINIMUM_AGE


def _mapped_files() -> set[str]:
    """Return the files in shared memory that any process has mapped."""
    found: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            found.update(re.findall(r"/dev/shm/\S+", maps.read_text(errors="replace")))
        except OSError:
            continue
    return found
