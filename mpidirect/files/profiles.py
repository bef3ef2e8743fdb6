"""Profiles: each is a directory with settings, the files of its cluster, and logs.

::

    ~/.mpidirect/              MPIDIRECT_DIR moves it; readable by its owner alone, like all below
        default/               a profile
            config.toml        its settings
            cluster.json       the record of the cluster that runs
            cluster-ID.json    the record of a cluster beside it, which has the name PROFILE:ID
            job-ID.json        the job file, for its ranks
            connection-ID.json the connection file: addresses and keys of its controller
            logs/ID/           job.log, controller.log, engine-0.log, …
"""

from __future__ import annotations

import difflib
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ..errors import ClusterNotFound, ConfigError
from . import job_file
from .connection_file import START_ONE, write_private
from .hosts import is_this_host
from .job_file import Owner
from .ownership import read_trusted, trusted_directory
from .private_directories import is_private, private_directory
from .saved_namespaces import MANIFEST

DEFAULT = "default"
RUN = "run-"  # the beginning of the name of a profile for one run of a script

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class ClusterRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The record of a cluster, from its start to its stop: the contents of ``cluster.json``.

    Attributes
    ----------
    cluster : str
        The cluster's id.
    launcher : str
        The name of the launcher that started it.
    engines : int
        The number of engines.
    host : str
        The host on which it was started.
    started : float
        The time of the start, in seconds since the epoch.
    handle : dict
        The data by which its launcher finds the job: a process, a job id.
    within : list of str
        The launcher and the id of the scheduler's job in which it was started, if any.
    owner : Owner or None
        The process that started it, if the cluster ends with that process.
    """

    cluster: str
    launcher: str
    engines: int
    host: str
    started: float
    handle: dict[str, Any] = {}
    within: list[str] = []
    owner: Owner | None = None


class Profile:
    """A profile: its directory and the files in it. Only some methods write files.

    A profile has one cluster without a cluster id. Its other clusters share its settings and its directory;
    each has a cluster id, and is found by the name ``PROFILE:ID``.

    Parameters
    ----------
    name : str
        The profile's name, or ``PROFILE:ID``; empty for ``MPIDIRECT_PROFILE``, else ``default``.

    Attributes
    ----------
    cluster_id : str
        The id of the cluster in the name; else empty.

    Raises
    ------
    ConfigError
        When the name is not allowed, or others can change the directory.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name or os.environ.get("MPIDIRECT_PROFILE") or DEFAULT
        own, self.cluster_id = split_name(self.name)
        for part in (own, self.cluster_id) if ":" in self.name else (own,):
            if not _NAME.fullmatch(part):
                what = "a profile's name" if part is own else "a cluster's id"
                raise ConfigError(f"{part!r} can't be {what}: use letters, digits, '_', '-' and '.' alone.")
        directory = home()
        self.directory = trusted_directory(directory / own, sheltered=is_private(directory))

    def __repr__(self) -> str:
        return f"<Profile {self.name} in {self.directory}>"

    @property
    def of_run(self) -> bool:
        """Whether this is the profile of one run of a script."""
        return self.name.startswith(RUN)

    @property
    def config_file(self) -> Path:
        """The file with the profile's settings."""
        return self.directory / "config.toml"

    @property
    def record_file(self) -> Path:
        """The record of the cluster that runs."""
        return self.directory / (f"cluster-{self.cluster_id}.json" if self.cluster_id else "cluster.json")

    @property
    def logs(self) -> Path:
        """The directory of all clusters' logs."""
        return self.directory / "logs"

    def connection_file(self, cluster: str) -> Path:
        """Return the connection file of `cluster`."""
        return self.directory / f"connection-{cluster}.json"

    def job_file(self, cluster: str) -> Path:
        """Return the job file of `cluster`."""
        return self.directory / f"job-{cluster}.json"

    def handover_file(self, cluster: str) -> Path:
        """Return the file that a controller of `cluster` leaves to its successor."""
        return job_file.handover_file(self.job_file(cluster))

    def resume_file(self, cluster: str) -> Path:
        """Return the file that a controller of `cluster` leaves to the controller of the next job."""
        return job_file.resume_file(self.job_file(cluster))

    def saved_directory(self, cluster: str) -> Path:
        """Return the directory of the namespaces that `cluster` saves for its next job."""
        return self.directory / f"saved-{cluster}"

    def log_directory(self, cluster: str) -> Path:
        """Return the log directory of `cluster`."""
        return self.logs / cluster

    def exists(self) -> bool:
        """Whether the profile exists."""
        return self.directory.is_dir()

    def with_cluster(self, cluster_id: str) -> Profile:
        """Return the same profile for another of its clusters: that with this id, or that without id."""
        own = self.directory.name
        return Profile(f"{own}:{cluster_id}" if cluster_id else own)

    def recorded(self) -> list[str]:
        """Return the names of all clusters of this profile that have a record."""
        ids = {recorded_id(path) for path in self.directory.glob("cluster*.json")}
        return [self.with_cluster(cluster_id).name for cluster_id in sorted(ids)]

    def create(self) -> Profile:
        """Make the profile's directory if there is none, and return the profile."""
        private_directory(home())
        private_directory(self.directory)
        return self

    def must_exist(self) -> Profile:
        """Return this profile.

        Raises
        ------
        ClusterNotFound
            When it does not exist; the message suggests the nearest name.
        """
        if self.name != DEFAULT and not self.exists():
            close = difflib.get_close_matches(self.name, profile_names(), 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ClusterNotFound(
                f"There is no profile {self.name!r} in {home()}.{hint}"
                "\nThe profiles that exist:  mpidirect profile list"
            )
        return self

    def record(self) -> ClusterRecord | None:
        """Return the record of the cluster that was started and not yet stopped; None without one."""
        try:
            data = read_trusted(self.record_file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as e:
            raise ConfigError(f"{self.record_file} can't be read: {e.strerror}.") from None
        try:
            return msgspec.json.decode(data, type=ClusterRecord)
        except msgspec.MsgspecError as e:
            raise ConfigError(
                f"{self.record_file} is damaged: {e}\nRemove it, then:  mpidirect clean"
            ) from None

    def remember(self, record: ClusterRecord) -> None:
        """Write the record of a cluster that was started."""
        write_private(self.record_file, msgspec.json.format(msgspec.json.encode(record), indent=2))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the profile against a second start."""
        descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(
                    f"mpidirect: waiting for another start of profile {self.name!r} (Ctrl-C gives up).",
                    file=sys.stderr,
                )
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError:  # a file system without locks: only the record prevents a second start
                pass
            yield
        finally:
            os.close(descriptor)

    def clusters(self) -> set[str]:
        """Return the ids of all clusters that have a file here, other than logs."""
        files = [*self.directory.glob("connection-*.json"), *self.directory.glob("job-*.json")]
        return {path.stem.partition("-")[2] for path in files}

    def unloaded_namespaces(self, cluster: str) -> Path | None:
        """Return the directory in which `cluster` has saved namespaces that no next job has loaded."""
        try:
            resume = job_file.read(self.job_file(cluster)).resume
        except ConfigError:
            return None
        return Path(resume.directory) if resume and Path(resume.directory, MANIFEST).exists() else None

    def forget(self, cluster: str, keep_saved: bool = False) -> list[Path]:
        """Remove the files of a cluster that is gone, but not its logs; return the removed paths.

        With `keep_saved`, namespaces that no job has loaded stay.
        """
        record = self.record()
        unloaded = self.unloaded_namespaces(cluster)
        files = [self.connection_file(cluster), self.job_file(cluster), self.handover_file(cluster)]
        files += [self.resume_file(cluster), job_file.warning_file(self.job_file(cluster))]
        if record is not None and record.cluster == cluster:
            files.append(self.record_file)
        removed = [path for path in files if path.exists()]
        for path in removed:
            path.unlink(missing_ok=True)
        saved = unloaded or self.saved_directory(cluster)
        if saved.is_dir() and not (unloaded and keep_saved):
            shutil.rmtree(saved, ignore_errors=True)
            removed.append(saved)
        return removed

    def last_logs(self) -> Path | None:
        """Return the log directory of the newest cluster; None without one."""
        return max(_directories(self.logs), key=_modified, default=None)

    def prune_logs(self, keep: int) -> None:
        """Remove the logs of all clusters but the `keep` newest, and those that have not ended."""
        alive = self.clusters()
        for directory in sorted(_directories(self.logs), key=_modified, reverse=True)[max(keep, 1) :]:
            if directory.name not in alive:
                shutil.rmtree(directory, ignore_errors=True)


def split_name(name: str) -> tuple[str, str]:
    """Return the profile and the cluster id in a name: ``PROFILE:ID``, or ``PROFILE`` with an empty id."""
    profile, _, cluster_id = name.partition(":")
    return profile, cluster_id


def recorded_id(record_file: Path) -> str:
    """Return the id of the cluster that a `Profile.record_file` describes; empty if it has no id."""
    return record_file.stem.partition("-")[2]


def home() -> Path:
    """Return the directory of all profiles: ``MPIDIRECT_DIR``, else ``~/.mpidirect``.

    Raises
    ------
    ConfigError
        When others can change the directory.
    """
    return trusted_directory(home_path())


def home_path() -> Path:
    """Return the path of the directory of all profiles, without a check of its owner."""
    chosen = os.environ.get("MPIDIRECT_DIR")
    return Path(chosen).expanduser().absolute() if chosen else Path("~/.mpidirect").expanduser()


def profile_names() -> list[str]:
    """Return the names of all profiles."""
    return sorted(path.name for path in _directories(home()) if _NAME.fullmatch(path.name))


def recorded_names() -> list[str]:
    """Return the names of all clusters that have a record: of each profile, and ``PROFILE:ID``."""
    return [name for profile in profile_names() for name in Profile(profile).recorded()]


def find_connection_file(profile: str = "") -> Path:
    """Return the connection file of the cluster that runs under `profile`.

    Parameters
    ----------
    profile : str
        The profile's name, or ``PROFILE:ID``; empty for ``MPIDIRECT_PROFILE``, else ``default``.

    Raises
    ------
    ClusterNotFound
        When no cluster runs under the profile, or the cluster is not ready yet.
    """
    here = Profile(profile).must_exist() if profile else Profile()
    record = here.record()
    if record is not None:
        path = here.connection_file(record.cluster)
        if path.exists():
            return path
        raise ClusterNotFound(
            f"The cluster of profile {here.name!r}, started {_host(record)}, has no connection file: "
            f"it is not ready yet, or has ended.\nSee:  mpidirect status --profile {here.name}"
        )
    pattern = f"connection-{here.cluster_id or '*'}.json"
    newest = max(here.directory.glob(pattern), key=_modified, default=None)
    if newest is None:
        if here.cluster_id:
            raise ClusterNotFound(
                f"No cluster {here.cluster_id!r} runs under profile {here.directory.name!r}."
                "\nThe clusters that run:  mpidirect list"
            )
        start = START_ONE + (f" --profile {here.name}" if here.name != DEFAULT else "")
        raise ClusterNotFound(f"No cluster runs under profile {here.name!r}. {start}")
    return newest


def appeared(path: Path) -> bool:
    """Whether a file exists that another host may just have made.

    A network file system caches missing names for a while; to open the directory refreshes that cache.
    """
    try:
        os.close(os.open(path.parent, os.O_RDONLY))
    except OSError:
        return False
    return path.exists()


def _host(record: ClusterRecord) -> str:
    return "on this host" if is_this_host(record.host) else f"from host {record.host}"


def _directories(parent: Path) -> list[Path]:
    try:
        return [path for path in parent.iterdir() if path.is_dir()]
    except OSError:
        return []


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
