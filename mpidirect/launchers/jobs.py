"""Make the launcher of a new job from a profile and its settings, or of an earlier job from its record."""

from __future__ import annotations

import logging
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..config import config
from ..config.definitions import BATCH
from ..config.options import Options
from ..errors import ClusterNotFound, ConfigError, LaunchError, MPIDirectError, Untrusted
from ..files import job_file
from ..files.hosts import is_this_host
from ..files.job_file import JobSpec, Owner, ResumeSpec
from ..files.profiles import ClusterRecord, Profile
from ..job import allocation
from . import launcher_class
from .base import Job, JobState, JobStatus, Launcher

log = logging.getLogger(__name__)


def options_for(profile: Profile, given: Mapping[str, Any]) -> Options:
    """Return all options, with those of the launcher that the settings choose."""
    return Options(launcher_class(config.launcher_name(profile.config_file, given)).options)


def resolve(profile: Profile, given: Mapping[str, Any]) -> config.Settings:
    """Return the settings of a cluster of `profile`; `given` are the values of flags or keywords.

    Raises
    ------
    ConfigError
        When a setting is wrong, or `given` has a scheduler's option and the launcher has no scheduler.
    """
    options = options_for(profile, given)
    settings = config.resolve(profile.config_file, given, options)
    if given.get("ssh"):
        raise ConfigError(
            "A program can't start a cluster by ssh. Start the cluster on the command line:  mpidirect start "
            f"--ssh {given['ssh']}\nThen connect:  Client(sshserver={given['ssh']!r})"
        )
    if not launcher_class(settings["launcher"]).scheduled:
        used = {options.find(name).name for name, value in given.items() if value is not None}
        for option in BATCH:
            if option.name in used:
                raise ConfigError(
                    f"{option.declarations[-1]} asks a scheduler for something, and the launcher "
                    f"'{settings['launcher']}' has none: choose one, as by --launcher slurm."
                )
    return settings


def engines(settings: Mapping[str, Any]) -> int:
    """Return the number of engines in the settings; by default one for each slot."""
    return int(settings["n"] or launcher_class(settings["launcher"]).engines(settings))


def new_cluster_id() -> str:
    """Return an id for a new cluster."""
    return f"{time.strftime('%y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def new_launcher(
    profile: Profile, settings: config.Settings, owner: Owner | None = None, cluster: str = ""
) -> Launcher:
    """Return a launcher with a new job; nothing is started.

    Parameters
    ----------
    profile : Profile
        The profile of the cluster.
    settings : Settings
        The value of every option.
    owner : Owner, optional
        The process whose end ends the job.
    cluster : str
        The id of the cluster; a new one if empty.
    """
    kind = launcher_class(settings["launcher"])
    cluster = cluster or new_cluster_id()
    spec = JobSpec(
        cluster=cluster,
        engines=engines(settings),
        profile=profile.name,
        connection_file=str(profile.connection_file(cluster)),
        log_directory=str(profile.log_directory(cluster)),
        ip=settings["ip"] or kind.ip or ("*" if any(allocation.enclosing()) else ""),
        port=settings["port"],
        budget=settings["budget"],
        start_timeout=settings["start_timeout"],
        walltime_warning=settings["walltime_warning"],
        idle_timeout=settings["idle_timeout"],
        idle_save=str(_absolute(settings["idle_save"])) if settings["idle_save"] else "",
        gpu_bind=settings["gpu_bind"],
        bind=settings["bind"],
        cpus_per_task=settings["cpus_per_task"] or 1,
        owner=owner,
        resume=_resume_spec(profile, settings, cluster),
    )
    launcher = kind(Job(spec, profile.job_file(cluster)), settings)
    spec.spawns = launcher.spawns()
    return launcher


def _resume_spec(profile: Profile, settings: config.Settings, cluster: str) -> ResumeSpec | None:
    """Return how another job continues the cluster; None if the settings do not request this.

    Raises
    ------
    ConfigError
        When the launcher can't submit a job that begins after another one.
    """
    if not settings["resume"]:
        return None
    kind = launcher_class(settings["launcher"])
    if not kind.can_continue:
        raise ConfigError(f"--resume: the launcher '{kind.name}' can't continue a cluster in another job.")
    directory = profile.saved_directory(cluster)
    if settings["resume_dir"]:
        directory = _absolute(settings["resume_dir"]) / directory.name
    return ResumeSpec(
        launcher=kind.name,
        directory=str(directory),
        before=settings["resume_before"],
        most=settings["max_resumes"],
    )


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()


def submit_continuation(profile: Profile, cluster: str, engines: int) -> Callable[[], None] | None:
    """Submit the job that continues a cluster after the present job, and note it in the record.

    Parameters
    ----------
    profile : Profile
        The cluster's profile.
    cluster : str
        The cluster's id.
    engines : int
        The number of engines of the next job.

    Returns
    -------
    callable or None
        If the scheduler refuses another job, but can queue the present job again: the function that does
        this. The function ends the present job.

    Raises
    ------
    MPIDirectError
        When no record exists, or the scheduler refuses the job.
    """
    launcher = recalled_launcher(profile, _own_record(profile, cluster))
    present = launcher.handle
    try:
        launcher.submit_continuation()
    except LaunchError as refusal:
        if not launcher.allow_requeue():
            raise
        log.warning("no other job can be submitted, so this job is queued again: %s", refusal)
    try:
        record = _own_record(profile, cluster)
    except ClusterNotFound:  # a concurrent stop has cancelled only the job that it knew
        if launcher.handle != present:
            launcher.stop(0)
        raise
    profile.remember(msgspec.structs.replace(record, handle=launcher.handle, engines=engines))
    return launcher.requeue if launcher.handle == present else None


def _own_record(profile: Profile, cluster: str) -> ClusterRecord:
    record = profile.record()
    if record is None or record.cluster != cluster:
        raise ClusterNotFound(f"cluster {cluster} has no record any more: it has been stopped")
    return record


def forbid_continuation(profile: Profile, cluster: str) -> None:
    """Note that no other job continues the cluster, because the cluster is being stopped."""
    file = profile.job_file(cluster)
    try:
        spec = job_file.read(file)
        if spec.resume is not None:
            spec.resume.most = spec.resume.done
            job_file.write(spec, file)
    except (MPIDirectError, OSError):
        pass  # the cluster has ended, or `stop` will report the problem


def launch(profile: Profile, launcher: Launcher) -> None:
    """Start the launcher's job and write its record."""
    from ..files.private_directories import private_directory

    spec = launcher.job.spec
    private_directory(Path(spec.log_directory))
    try:
        job_file.write(spec, launcher.job.file)
        launcher.handle = launcher.start()
        profile.remember(_record(launcher))
    except BaseException as error:  # also after a Ctrl-C: no job may run without a record
        try:
            launcher.stop(0)
        except MPIDirectError as e:
            append_error(error, e)
            profile.remember(_record(launcher))  # so that the user can stop the job
            raise error from None
        remove_files(profile, spec.cluster)
        shutil.rmtree(spec.log_directory, ignore_errors=True)
        raise


def _record(launcher: Launcher) -> ClusterRecord:
    """Return the record of a job that has just been started."""
    spec = launcher.job.spec
    return ClusterRecord(
        cluster=spec.cluster,
        launcher=launcher.name,
        engines=spec.engines,
        host=socket.gethostname(),
        started=time.time(),
        handle=launcher.handle,
        within=list(allocation.enclosing()) if launcher.local else [],
        owner=spec.owner,
    )


def append_error(error: BaseException, other: MPIDirectError) -> None:
    """Add `other`, an error during the handling of `error`, to the message of `error`, or print it."""
    if isinstance(error, MPIDirectError):
        error.args = (f"{error}\n\nBesides: {other}",)
    else:
        print(other, file=sys.stderr)


def drop_owner(profile: Profile, launcher: Launcher) -> None:
    """Let a running job continue after the end of its owner."""
    record = profile.record()
    launcher.job.spec.owner = None
    job_file.write(launcher.job.spec, launcher.job.file)
    if record is not None and record.cluster == launcher.job.spec.cluster:
        profile.remember(msgspec.structs.replace(record, owner=None))


def recalled_launcher(profile: Profile, record: ClusterRecord) -> Launcher:
    """Return the launcher of a job that was started earlier."""
    spec = JobSpec(
        cluster=record.cluster,
        engines=record.engines,
        profile=profile.name,
        connection_file=str(profile.connection_file(record.cluster)),
        log_directory=str(profile.log_directory(record.cluster)),
    )
    kind = launcher_class(record.launcher)
    if kind.local and not is_this_host(record.host) and any(record.within):
        # The cluster runs inside a scheduler's job, which this host can see.
        enclosing, id = record.within
        kind, record = launcher_class(enclosing), msgspec.structs.replace(record, handle={"id": id})
    options = Options(kind.options)
    try:
        settings = config.resolve(profile.config_file, {"launcher": kind.name}, options)
    except Untrusted:
        raise
    except ConfigError:  # a mistake in a file must not prevent the stop of a cluster
        settings = config.defaults(options)
    return kind(Job(spec, profile.job_file(record.cluster)), settings, record.handle)


def is_visible(launcher: Launcher, record: ClusterRecord) -> bool:
    """Whether the launcher's job can be seen, and stopped, from this host."""
    return not launcher.local or is_this_host(record.host)


def status(launcher: Launcher, record: ClusterRecord) -> JobStatus:
    """Return the status of the job of a record."""
    if is_visible(launcher, record):
        return launcher.state()
    return JobStatus(JobState.UNKNOWN, f"it was started on host {record.host}; look there")


def remove_files(profile: Profile, cluster: str, keep_saved: bool = False) -> list[Path]:
    """Remove the files and sockets of a dead cluster, but not its logs; return the removed paths.

    With `keep_saved`, namespaces stay that were saved for a next job which has not loaded them.
    """
    from ..files.private_directories import socket_directory

    removed = profile.forget(cluster, keep_saved)
    sockets = socket_directory(cluster)
    if sockets.is_dir():
        shutil.rmtree(sockets, ignore_errors=True)
        removed.append(sockets)
    return removed
