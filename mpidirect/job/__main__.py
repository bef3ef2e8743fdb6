"""One rank of a cluster's job: ``python -m mpidirect.job JOBFILE``, started by a launcher or an anchor.

A rank is the controller, an anchor (which spawns engines) or an engine. Each of the three has a module
in `roles`, which is imported after MPI is initialized.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

from ..errors import MPIDirectError
from ..files import job_file
from ..files.logs import FAILS
from . import fork_server
from .exit import leave
from .mpi_start import begin_mpi, expected_size, launched_rank, load_mpi, wrong_world_size
from .process_identity import this_process
from .rank_log import redirect_output
from .variables import ANCHOR_PLACE, SPAWN, SPAWNED_RANK, SPAWNS, anchor_hosts

log = logging.getLogger("mpidirect.job")

WRONG_WORLD = 3  # Exit code if the ranks do not find each other.


def main(argv: list[str]) -> NoReturn:
    """Run this rank until its cluster ends."""
    if len(argv) != 2:
        print("usage: python -m mpidirect.job JOBFILE (launchers do this)", file=sys.stderr)
        sys.exit(2)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})  # The rank wrapper has set it to be ignored.
    place = os.environ.pop(SPAWNED_RANK, "")
    os.environ.pop(SPAWN, None)  # What an engine starts is no part of the spawn.
    if place:
        _run_spawned(place, Path(argv[1]))
    _run_launched(Path(argv[1]))


def _run_launched(path: Path) -> NoReturn:
    """Run a rank that the launcher has started."""
    spec = job_file.read(path)
    if spec.resume:
        _survive_warnings()
    hosts = anchor_hosts(os.environ.get(SPAWNS, ""))  # A job script may have decided this.
    spec.spawns = bool(hosts)
    if spec.spawns:
        _import_role(spec)
    MPI = begin_mpi()
    world, finalize = MPI.COMM_WORLD, MPI.Finalize
    wanted = 1 + (len(hosts) or spec.engines)
    if not spec.spawns:
        wanted = expected_size(world, wanted)
    if world.size != wanted:
        if world.rank == 0:
            text = wrong_world_size(world.size, wanted, MPI.Get_library_version())
            print(text, file=sys.stderr, flush=True)
        sys.exit(WRONG_WORLD)
    redirect_output(Path(spec.log_directory) / f"{_log_name(world.rank, spec.spawns)}.log")
    clean = False
    try:
        clean = _run_role(world.rank, spec, path, hosts)
    except Exception as e:
        _report(e)
        world.Abort(1)
    from ..mpi import c_world

    leave(partial(c_world.finalize, finalize) if clean else None)


def _import_role(spec: job_file.JobSpec) -> None:
    """Import the code of a rank before MPI begins, while all ranks have a core of their own.

    An anchor imports the code of engines as well, and starts a fork server, which forks them.
    """
    rank = launched_rank()
    if rank is None:
        return
    load_mpi()
    if rank == 0:
        from .roles import controller  # noqa: F401

        return
    from .roles import anchor, engine  # noqa: F401

    if fork_server.start(spec.cluster, Path(spec.log_directory) / "job.log"):
        main(sys.argv)  # This process is an engine that the server has forked.


def _run_role(rank: int, spec: job_file.JobSpec, path: Path, hosts: list[tuple[str, int]]) -> bool:
    """Run this rank in its role; return whether MPI can be finalized."""
    from mpi4py import MPI

    from ..mpi.fault_tolerance import Tolerance
    from ..mpi.port_guard import protect
    from ..mpi.world import anchored, forget_launcher, split

    tolerance = Tolerance.of(MPI)
    is_anchor = rank > 0 and spec.spawns
    if not is_anchor:
        forget_launcher()  # Not in an anchor: engines are spawned in its environment.
    joined = anchored() if spec.spawns else split()
    protect(tolerance, joined.one_host, launcher=joined.first_on_host)
    if is_anchor:
        from .roles.anchor import run_anchor

        run_anchor(spec, joined, tolerance, hosts, joined.private.bcast(None))
        return False
    if rank > 0:
        from .roles.engine import run_launched_engine

        return run_launched_engine(spec, joined, tolerance)
    if spec.spawns:
        joined.private.bcast(this_process())
    from .roles.controller import run_controller

    return run_controller(spec, path, joined, tolerance, hosts)


def _run_spawned(place: str, path: Path) -> NoReturn:
    """Run an engine that an anchor or another engine has spawned, or an anchor that the controller has."""
    MPI = begin_mpi(spawned=True)  # First: the spawning rank waits for ever for a process that fails before.
    finalize: Callable[[], None] = MPI.Finalize
    from .roles.engine import receive_start, run_spawned_engine

    start = receive_start()
    spec = job_file.read(path)
    if spec.resume:
        _survive_warnings()
    is_anchor = place == ANCHOR_PLACE
    engine = -1 if is_anchor else int(place) - 1
    redirect_output(Path(spec.log_directory) / ("anchor.log" if is_anchor else f"engine-{engine}.log"))
    from ..mpi.world import forget_launcher

    clean = False
    try:
        if is_anchor:
            from .roles.anchor import run_spawned_anchor

            run_spawned_anchor(spec, start)
        else:
            forget_launcher()
            clean = run_spawned_engine(engine, spec, start)
    except Exception as e:
        _report(e)
        os._exit(1)  # Not MPI_Abort, because the other ranks go on.
    leave(finalize if clean else None)


def _survive_warnings() -> None:
    """Go on at a SIGTERM, by which a scheduler may warn all ranks: the controller decides what follows.

    A handler does this, because processes of user code would inherit an ignored signal.
    """
    signal.signal(signal.SIGTERM, lambda signum, frame: None)


def _log_name(rank: int, spawns: bool) -> str:
    """Return the name of the log of a rank that the launcher has started."""
    if rank == 0:
        return "controller"
    if spawns:
        return "anchor" if rank == 1 else f"anchor-{rank}"
    return f"engine-{rank - 1}"


def _report(error: Exception) -> None:
    """Log the error that ends this rank; an error of this package needs no traceback."""
    log.error("%s%s", FAILS, error, exc_info=not isinstance(error, MPIDirectError))
    sys.stderr.flush()


if __name__ == "__main__":
    main(sys.argv)
