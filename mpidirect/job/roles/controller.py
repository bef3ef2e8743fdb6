"""Rank 0 of a job: the controller."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

from ...controller.controller import Controller
from ...controller.resumption import NextJob
from ...controller.server import Server
from ...files import job_file, logs
from ...launchers.walltime import current_job_end, job_end
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
    successor = job_file.handover_file(path) if supervised else None
    former = handover.take(successor) if successor else None
    from_last_job = handover.take(job_file.resume_file(path)) if spec.resume and not former else None
    former = former or from_last_job
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
            prepare = _loading(controller, spec) if from_last_job else None
            controller.succession.resume(*former, prepare)
        if spec.resume and (ends := job_end()):
            _plan_next_job(server, controller, spec, path, ends)
        directory = Path(spec.log_directory)
        logs.note_end(directory, "")  # of an earlier run of this job
        server.publish()
        with contextlib.suppress(_Terminated):
            controller.run()
        _ignore_end_signals()
        controller.stop()
        logs.note_end(directory, controller.end_reason)
        server.orphaned = controller.orphaned
        log.info("leaving")
    if is_gone(spec.owner):  # The owner would have removed the records of the job.
        from ...files import profiles
        from ...launchers import jobs

        jobs.remove_files(profiles.Profile(spec.profile), spec.cluster)
    return controller.untouched and not controller.succession.complete


def _loading(controller: Controller, spec: job_file.JobSpec) -> Callable[[], None]:
    """Return the function that has the engines load the namespaces which the last job has saved."""
    assert spec.resume is not None
    return partial(controller.resumption.load, Path(spec.resume.directory))


def _plan_next_job(
    server: Server, controller: Controller, spec: job_file.JobSpec, path: Path, ends: float
) -> None:
    """Let the cluster continue in another job, unless it has done so as often as it may."""
    resume = spec.resume
    assert resume is not None
    if resume.done >= resume.most:
        log.info("this is the last job of the cluster: %d have continued it (max_resumes)", resume.done)
        return
    file = job_file.resume_file(path)
    controller.write_for_next_job = partial(server.hand_over_to_next_job, controller.succession, file)
    submit = partial(_submit_next_job, spec, path)
    directory = Path(resume.directory)
    controller.resumption.plan(NextJob(ends, resume.before, directory, current_job_end, submit))


def _submit_next_job(spec: job_file.JobSpec, path: Path) -> None:
    """Submit the job that continues this one, and count it."""
    from ...files import profiles
    from ...launchers import jobs

    jobs.submit_continuation(profiles.Profile(spec.profile), spec.cluster)
    current = job_file.read(path)
    assert current.resume is not None
    current.resume.done += 1
    job_file.write(current, path)


def _is_abandoned(spec: job_file.JobSpec, path: Path) -> bool:
    """Return whether the owner of the job has ended."""
    if is_gone(spec.owner):
        spec.owner = job_file.read(path).owner  # The owner may have given up the job since.
    return is_gone(spec.owner)


class _Terminated(BaseException):
    pass


def _ignore_end_signals() -> None:
    """Ignore the signals that end a job: another signal must not interrupt the shutdown."""
    for signum in _END_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def _terminate(signum: int, frame: FrameType | None) -> None:
    _ignore_end_signals()
    log.info("terminated by signal %d", signum)
    raise _Terminated
