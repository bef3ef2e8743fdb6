"""The job file: what a launcher tells the ranks of a job. It holds no secret."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..errors import ConfigError
from .connection_file import write_private
from .ownership import read_trusted


class Owner(msgspec.Struct, kw_only=True):
    """A process whose end ends the job.

    Attributes
    ----------
    pid : int
        Its number.
    born : str
        What tells it from a later process of that number.
    host : str
        Where it runs.
    """

    pid: int
    born: str
    host: str


class JobSpec(msgspec.Struct, kw_only=True):
    """One job.

    Attributes
    ----------
    cluster : str
        The cluster's id, new with each start.
    engines : int
        The number of engines.
    profile : str
        The profile's name.
    connection_file : str
        Where rank 0 writes the connection file, and removes it at its end.
    log_directory : str
        Where each rank writes its log: ``controller.log``, ``engine-0.log``, …
    ip : str
        The address to listen on: one of rank 0's own, an interface's name, ``*`` for all;
        empty for the loopback interface alone.
    port : str
        ``0`` for any, a port, or a range ``first-last``.
    budget : int
        Bytes of results that are kept for clients that are away.
    start_timeout : float
        Seconds after which a rank that still waits for the others gives up.
    walltime_warning : float
        How many seconds before the walltime ends the job clients warn.
    gpu_bind : str
        ``auto`` if each engine is to see its own GPU where nothing else has chosen one, else ``none``.
    bind : str
        What each engine is bound to: ``none``, ``hwthread``, ``core``, ``numa`` or ``socket``.
    cpus_per_task : int
        How many cores each engine has.
    owner : Owner or None
        The process that started it, if the job is to end with that.
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
    gpu_bind: str = "auto"
    bind: str = "none"
    cpus_per_task: int = 1
    owner: Owner | None = None
    spawns: bool = False


def write(spec: JobSpec, path: Path) -> None:
    """Write `spec` to `path`."""
    write_private(path, msgspec.json.format(msgspec.json.encode(spec), indent=2))


def read(path: Path) -> JobSpec:
    """Read a job file."""
    try:
        return msgspec.json.decode(read_trusted(path), type=JobSpec)
    except (OSError, msgspec.MsgspecError) as e:
        raise ConfigError(f"{path} is not a job file: {e}") from None
