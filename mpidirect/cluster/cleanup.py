"""What dead clusters leave behind: found and removed."""

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

YOUNG = 60.0  # seconds: what is younger may belong to a job that starts just now


def clean(names: Iterable[str] | None = None, *, force: bool = False) -> list[str]:
    """Remove the processes, files and sockets of clusters that are gone; what lives is left alone.

    Parameters
    ----------
    names : iterable of str, optional
        Profiles; all of them if not given.
    force : bool
        Also forget clusters that can't be seen from this host; and as root, also remove what dead MPI jobs
        left in shared memory.

    Returns
    -------
    list of str
        What was removed, in words.
    """
    done: list[str] = []
    running = processes.members_of()
    alive: set[str] = set()
    for name in profile_names() if names is None else names:
        alive.update(_clean_profile(Profile(name), running, force, done))
    if names is None:
        for cluster, left in running.items():
            if cluster not in alive and any(_ours(process) for process in left):
                done += _end(cluster)
        done += _sockets(alive | running.keys())
        if force or os.getuid() != 0:  # all who are root here are one user: not each of their jobs is ours
            done += _shared_memory()
    return done


def _clean_profile(
    profile: Profile, running: dict[str, list[psutil.Process]], force: bool, done: list[str]
) -> set[str]:
    """Clean one profile; returns the ids of its clusters that live."""
    alive = set()
    record = profile.record()
    if record is not None:
        cluster = Cluster.from_profile(profile.name)
        state, _ = cluster.look()
        if state in (ClusterState.DEAD, ClusterState.STOPPED) or (state is ClusterState.UNKNOWN and force):
            if is_this_host(record.host) and record.cluster in running:
                done += _end(record.cluster)
            done += map(str, remove_files(profile, record.cluster))
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
    """Whether a cluster that no record knows is gone for sure: not just starting, and not on another host."""
    job = profile.job_file(cluster)
    if job.exists() and time.time() - job.stat().st_mtime < YOUNG:
        return False
    try:
        host = connection_file.read(profile.connection_file(cluster)).host
    except ConnectionFailed:
        return True
    return is_this_host(host)


def _ours(process: psutil.Process) -> bool:
    """Whether a process is a rank of a job of this directory of profiles."""
    import psutil

    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return "mpidirect.job" in words and words[-1].startswith(f"{home()}{os.sep}")


def _end(cluster: str) -> list[str]:
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
    """Remove what killed ranks left in shared memory, and killed mpiexecs in the temporary directory."""
    if not Path("/proc/self/maps").exists():
        return []
    candidates = [
        path
        for pattern in ("sm_segment.*", "mpich_shm_*", "psm*_shm.*")
        for path in Path("/dev/shm").glob(pattern)
        if _removable(path)
    ]
    mapped = _mapped() if candidates else set()
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
    """Whether a leftover is this user's and old enough."""
    try:
        status = path.lstat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and time.time() - status.st_mtime > YOUNG


def _mapped() -> set[str]:
    """The files in shared memory that a process uses."""
    found: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        try:
            found.update(re.findall(r"/dev/shm/\S+", maps.read_text(errors="replace")))
        except OSError:
            continue
    return found
