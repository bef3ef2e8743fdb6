"""From a profile and its settings to a launcher with a job, and back from the record of one."""

from __future__ import annotations

import secrets
import shutil
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..config import config
from ..config.options import BATCH, Options
from ..errors import ConfigError, MPIDirectError, Untrusted
from ..files import job_file, logs
from ..files.job_file import JobSpec, Owner
from ..files.profiles import ClusterRecord, Profile
from ..job import allocation
from . import launcher_class
from .base import Job, JobState, JobStatus, Launcher


def options_for(profile: Profile, given: Mapping[str, Any]) -> Options:
    """The options that there are with the launcher that the settings choose."""
    return Options(launcher_class(config.launcher_name(profile.config_file, given)).options)


def resolve(profile: Profile, given: Mapping[str, Any]) -> config.Settings:
    """The settings of a cluster of `profile`, with what flags or keywords say.

    Raises
    ------
    ConfigError
        When something is wrong with them, or they ask for what the launcher knows nothing of.
    """
    options = options_for(profile, given)
    settings = config.resolve(profile.config_file, given, options)
    if not launcher_class(settings["launcher"]).scheduled:
        said = {options.known(name).name for name, value in given.items() if value is not None}
        for option in BATCH:
            if option.name in said:
                raise ConfigError(
                    f"{option.declarations[-1]} asks a scheduler for something, and the launcher "
                    f"'{settings['launcher']}' has none: choose one, as by --launcher slurm."
                )
    return settings


def engines(settings: Mapping[str, Any]) -> int:
    """How many engines the settings ask for: as many as there is room for if they don't say."""
    return int(settings["n"] or launcher_class(settings["launcher"]).engines(settings))


def new_launcher(profile: Profile, settings: config.Settings, owner: Owner | None = None) -> Launcher:
    """A launcher with a new job, which ends with its owner, if it has one; nothing is written or started."""
    kind = launcher_class(settings["launcher"])
    cluster = f"{time.strftime('%y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
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
        gpu_bind=settings["gpu_bind"],
        bind=settings["bind"],
        cpus_per_task=settings["cpus_per_task"] or 1,
        owner=owner,
    )
    launcher = kind(Job(spec, profile.job_file(cluster)), settings)
    spec.spawns = launcher.spawns()
    return launcher


def launch(profile: Profile, launcher: Launcher) -> None:
    """Start the launcher's job and remember it."""
    from ..files.private_directories import private_directory

    spec = launcher.job.spec
    private_directory(Path(spec.log_directory))
    try:
        job_file.write(spec, launcher.job.file)
        launcher.handle = launcher.start()
        profile.remember(_record(launcher))
    except BaseException as error:  # a Ctrl-C as well: nothing may run that nobody remembers
        try:
            launcher.stop(0)
        except MPIDirectError as e:
            tell_besides(error, e)
            profile.remember(_record(launcher))  # a stop may be tried again
            raise error from None
        sweep(profile, spec.cluster)
        shutil.rmtree(spec.log_directory, ignore_errors=True)
        raise


def _record(launcher: Launcher) -> ClusterRecord:
    """What is remembered of a job that was started just now."""
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


def tell_besides(error: BaseException, other: MPIDirectError) -> None:
    """Tell an error that came while another one was dealt with: it must not take the place of that."""
    if isinstance(error, MPIDirectError):
        error.args = (f"{error}\n\nBesides: {other}",)
    else:
        print(other, file=sys.stderr)


def disown(profile: Profile, launcher: Launcher) -> None:
    """Let a job that runs live on when its owner has ended."""
    record = profile.record()
    launcher.job.spec.owner = None
    job_file.write(launcher.job.spec, launcher.job.file)
    if record is not None and record.cluster == launcher.job.spec.cluster:
        profile.remember(msgspec.structs.replace(record, owner=None))


def recalled_launcher(profile: Profile, record: ClusterRecord) -> Launcher:
    """The launcher of a job that was started earlier."""
    spec = JobSpec(
        cluster=record.cluster,
        engines=record.engines,
        profile=profile.name,
        connection_file=str(profile.connection_file(record.cluster)),
        log_directory=str(profile.log_directory(record.cluster)),
    )
    kind = launcher_class(record.launcher)
    if kind.local and record.host != socket.gethostname() and any(record.within):
        # it runs inside a scheduler's job: that can be seen from here
        enclosing, id = record.within
        kind, record = launcher_class(enclosing), msgspec.structs.replace(record, handle={"id": id})
    options = Options(kind.options)
    try:
        settings = config.resolve(profile.config_file, {"launcher": kind.name}, options)
    except Untrusted:
        raise
    except ConfigError:  # a mistake in a file must not keep anyone from stopping a cluster
        settings = config.defaults(options)
    return kind(Job(spec, profile.job_file(record.cluster)), settings, record.handle)


def visible(launcher: Launcher, record: ClusterRecord) -> bool:
    """Whether the launcher's job can be seen, and stopped, from this host."""
    return not launcher.local or record.host == socket.gethostname()


def status(launcher: Launcher, record: ClusterRecord) -> JobStatus:
    """How the job of a record fares."""
    if visible(launcher, record):
        return launcher.state()
    return JobStatus(JobState.UNKNOWN, f"it was started on host {record.host}; look there")


def absence(profile: Profile) -> str:
    """Why there is no connection file of a cluster that was started, and what to do; empty if none was."""
    record = profile.record()
    if record is None:
        return ""
    launcher = recalled_launcher(profile, record)
    found = status(launcher, record)
    whose, option = f"cluster of profile {profile.name!r}", f"--profile {profile.name}"
    if found.state is JobState.PENDING:
        never = "will never start" if found.hopeless else "is pending"
        remedy = "Cancel it:  mpidirect stop" if found.hopeless else "Wait for it:  mpidirect wait"
        return f"The {whose} is not there yet: job {launcher.id} {never}: {found.reason}.\n{remedy} {option}"
    if found.state is JobState.RUNNING and not found.ending:
        return f"The {whose} is starting: its controller does not listen yet.\nWait:  mpidirect wait {option}"
    if found.state is JobState.UNKNOWN:
        return ""
    how = found.reason or "it ends"
    return f"The {whose} has ended: {how}.\nMore of that:  mpidirect status {option}"


def scheduled_launcher(profile: str, cluster: str) -> Launcher | None:
    """The launcher of a cluster that a scheduler runs, if this host knows of it."""
    try:
        here = Profile(profile)
        record = here.record()
        if record is None or record.cluster != cluster:
            return None
        launcher = recalled_launcher(here, record)
    except MPIDirectError:
        return None
    return launcher if launcher.scheduled else None


def epitaph(profile: str, cluster: str, patience: float) -> str:
    """Why the scheduler's job of a cluster ended, with its log's last lines; empty if nobody knows.

    Waits `patience` seconds for the scheduler to say how it ended.
    """
    launcher = scheduled_launcher(profile, cluster)
    if launcher is None:
        return ""
    launcher.command_timeout = patience
    status = JobStatus(JobState.UNKNOWN)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if (status := launcher.state()).state is JobState.ENDED and status.settled:
            break
        time.sleep(launcher.poll_interval)
    if status.state is JobState.UNKNOWN or not status.reason or status.failed is False:
        return ""
    known = status.state in (JobState.ENDED, JobState.PENDING)  # it pends if it was requeued
    later = "" if known else "; 'mpidirect status' will tell how it ended"
    tail = logs.why(Path(launcher.job.spec.log_directory), 5)
    return f"of its job {launcher.id}: {status.reason}{later}.\n\n{tail}"


def sweep(profile: Profile, cluster: str) -> list[Path]:
    """Remove the files and sockets of a cluster that is gone, logs apart; returns what there was."""
    from ..files.private_directories import socket_directory

    removed = profile.forget(cluster)
    sockets = socket_directory(cluster)
    if sockets.is_dir():
        shutil.rmtree(sockets, ignore_errors=True)
        removed.append(sockets)
    return removed
