"""Rank 0 of a job: the controller."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from functools import partial
from pathlib import Path
from types import FrameType

from ...controller.server import Server
from ...files import job_file, logs
from ...launchers.walltime import job_end
from ...mpi import world as worlds
from ...mpi.fault_tolerance import Tolerance
from .. import handover
from ..process_identity import is_gone
from ..variables import SUPERVISED

log = logging.getLogger("mpidirect.job")

_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_controller(spec: job_file.JobSpec, path: Path, world: worlds.World, tolerance: Tolerance) -> bool:
    """Run the controller until the cluster ends.

    Parameters
    ----------
    spec : JobSpec
        The job.
    path : Path
        The job file.
    world : World
        The communicators with the anchors, or, if nothing is spawned, with the engines.
    tolerance : Tolerance
        The failures that this MPI can survive.

    Returns
    -------
    bool
        Whether MPI can be finalized.
    """
    for signum in _END_SIGNALS:
        signal.signal(signum, _terminate)
    supervised = os.environ.get(SUPERVISED) == spec.cluster and not spec.spawns
    successor = handover.path(path) if supervised else None
    former = handover.take(successor) if successor else None
    with Server(spec, world, tolerance, job_end(), former[0] if former else None, successor) as server:
        if spec.spawns:
            for anchor in range(1, world.private.size):
                world.private.send(server.invitation(), anchor)
            worlds.unlink_shared_memory(launched=True)
        else:
            world.private.bcast(server.invitation())
        controller = server.controller(worlds.alone() if spec.spawns else world)
        controller.abandoned = partial(_is_abandoned, spec, path)
        if former:
            controller.succession.resume(*former)
        directory = Path(spec.log_directory)
        logs.note_end(directory, "")  # of an earlier run of this job
        server.publish()
        with contextlib.suppress(_Terminated):
            controller.run()
        controller.stop()
        logs.note_end(directory, controller.end_reason)
        server.orphaned = controller.orphaned
        log.info("leaving")
    if is_gone(spec.owner):  # The owner would have removed the records of the job.
        from ...files import profiles
        from ...launchers import jobs

        jobs.remove_files(profiles.Profile(spec.profile), spec.cluster)
    return controller.untouched and not server.handed_over


def _is_abandoned(spec: job_file.JobSpec, path: Path) -> bool:
    """Return whether the owner of the job has ended."""
    if is_gone(spec.owner):
        spec.owner = job_file.read(path).owner  # The owner may have given up the job since.
    return is_gone(spec.owner)


class _Terminated(BaseException):
    pass


def _terminate(signum: int, frame: FrameType | None) -> None:
    for again in _END_SIGNALS:
        signal.signal(again, signal.SIG_IGN)  # A second signal must not stop the shutdown.
    log.info("terminated by signal %d", signum)
    raise _Terminated
