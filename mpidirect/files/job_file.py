"""The job file: the description of a job for its ranks. It holds no secret."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import ConfigError
from .connection_file import write_private
from .ownership import read_trusted


def handover_file(job_file: Path) -> Path:
    """Return the file by which the controller of a job hands over to its successor in the same job."""
    return _beside(job_file, "handover")


def resume_file(job_file: Path) -> Path:
    """Return the file by which the controller of a job hands over to the controller of the next job."""
    return _beside(job_file, "resume")


def warning_file(job_file: Path) -> Path:
    """Return the file by which the supervisor of a job passes on a warning signal of the scheduler."""
    return _beside(job_file, "warned")


def _beside(job_file: Path, kind: str) -> Path:
    return job_file.with_name(f"{kind}-{job_file.stem.removeprefix('job-')}")


class Owner(msgspec.Struct, kw_only=True):
    """A process whose end ends the job.

    Attributes
    ----------
    pid : int
        The process number.
    born : str
        A text about the start of the process, which differs for a later process of the same number.
    host : str
        The name of its host.
    """

    pid: int
    born: str
    host: str


class ResumeSpec(msgspec.Struct, kw_only=True):
    """How another job will continue the cluster.

    Attributes
    ----------
    launcher : str
        The launcher that submits the job.
    directory : str
        The directory of the saved namespaces.
    before : float
        Seconds before the end of the walltime at which the namespaces are saved.
    done : int
        The number of jobs that have continued the cluster.
    most : int
        The maximum number of jobs that continue the cluster.
    """

    launcher: str
    directory: str
    before: float
    done: int = 0
    most: int = 3


class JobSpec(msgspec.Struct, kw_only=True):
    """The description of a job.

    Attributes
    ----------
    cluster : str
        The cluster's id, new with each start.
    engines : int
        The number of engines.
    profile : str
        The profile's name.
    connection_file : str
        The file that rank 0 writes, and removes at its end.
    log_directory : str
        The directory of the ranks' logs: ``controller.log``, ``engine-0.log``, …
    ip : str
        The address to listen on: one of rank 0's own, an interface's name, ``*`` for all;
        empty for the loopback interface alone.
    port : str
        ``0`` for any, a port, or a range ``first-last``.
    budget : int
        Bytes of results that are kept for absent clients.
    start_timeout : float
        Seconds that MPI may take to spawn the engines.
    walltime_warning : float
        Seconds before the end of the walltime at which clients warn.
    idle_timeout : float
        Seconds after which an idle cluster is stopped; 0 for no limit.
    idle_save : str
        The directory for the namespaces, which are saved before the stop; empty if they are not saved.
    gpu_bind : str
        ``auto`` if each engine sees only its own GPU, unless something else has chosen one; else ``none``.
    bind : str
        What each engine is bound to: ``none``, ``hwthread``, ``core``, ``numa`` or ``socket``.
    cpus_per_task : int
        The number of cores of each engine.
    owner : Owner or None
        The process that started the job, if the job ends with that process.
    resume : ResumeSpec or None
        How the cluster continues in another job, if asked for.
    spawns : bool
        Whether rank 1 spawns the engines; else ranks 1 to n are the engines.
    """

    cluster: str
    engines: int
    profile: str
    connection_file: str
    log_directory: str
    ip: str = ""
    port: str = "0"
    budget: int = 1 << 30
    start_timeout: float = 120.0
    walltime_warning: float = 300.0
    idle_timeout: float = 0.0
    idle_save: str = ""
    gpu_bind: str = "auto"
    bind: str = "none"
    cpus_per_task: int = 1
    owner: Owner | None = None
    resume: ResumeSpec | None = None
    spawns: bool = False


def write(spec: JobSpec, path: Path) -> None:
    """Write `spec` to `path`."""
    write_private(path, msgspec.json.format(msgspec.json.encode(spec), indent=2))


def read(path: Path) -> JobSpec:
    """Return the contents of a job file.

    Raises
    ------
    ConfigError
        When the file can't be read, or is no job file.
    """
    try:
        return msgspec.json.decode(read_trusted(path), type=JobSpec)
    except (OSError, msgspec.MsgspecError) as e:
        raise ConfigError(f"{path} is not a job file: {e}") from None
