"""Rank 0 of a job: the controller."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType

from ...controller.controller import Controller
from ...controller.resumption import NextJob, Outlook
from ...controller.server import Server
from ...errors import LaunchError
from ...files import job_file, logs
from ...launchers.walltime import job_end, job_outlook
from ...mpi import world as worlds
from ...mpi.fault_tolerance import Tolerance
from .. import handover
from ..parent import Parent, end_with_parent
from ..process_identity import is_gone, this_process
from ..variables import SUPERVISED

log = logging.getLogger("mpidirect.job")

_DEATH_NOTICE = 0.1  # seconds in which the controller notices a death that came before a signal
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_controller(
    spec: job_file.JobSpec,
    path: Path,
    world: worlds.World,
    tolerance: Tolerance,
    hosts: list[tuple[str, int]],
) -> bool:
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
    hosts : list of (str, int)
        The hosts with an anchor, and how many engines have room on each.

    Returns
    -------
    bool
        Whether MPI can be finalized.
    """
    for signum in _END_SIGNALS:
        signal.signal(signum, _terminate)
    supervised = os.environ.get(SUPERVISED) == spec.cluster and not spec.spawns
    successor = job_file.handover_file(path) if supervised else None
    if successor and not tolerance.deaths:
        _outlive_launcher()
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
        if spec.spawns:
            controller.start_anchors_by(partial(_start_anchor, spec, server, tolerance, hosts))
        if former:
            prepare = _loading(controller, spec) if from_last_job else None
            controller.succession.resume(*former, prepare)
        next_job = _NextJob(spec, path)
        if spec.resume:
            next_job.plan(server, controller)
        directory = Path(spec.log_directory)
        logs.note_end(directory, "")  # of an earlier run of this job
        server.publish()
        signal.signal(signal.SIGTERM, partial(_terminate_unless_warned, controller))
        signal.signal(signal.SIGALRM, partial(_terminate_unless_handing_over, controller))
        with contextlib.suppress(_Terminated):
            controller.run()
        _ignore_end_signals()
        controller.stop()
        controller.leave()
        logs.note_end(directory, controller.end_reason)
        server.orphaned = controller.orphaned
        log.info("leaving")
    if controller.succession.complete:
        next_job.requeue_if_needed()
    if is_gone(spec.owner):  # A living owner would have removed the records of the job.
        from ...files import profiles
        from ...launchers import jobs

        jobs.remove_files(profiles.Profile(spec.profile), spec.cluster)
    return controller.untouched and not controller.succession.complete


def _outlive_launcher() -> None:
    """Leave the process group that MPI's launcher kills, at once if two engines have died.

    The wrapper of this rank is killed. Its end is a SIGTERM here, so that this controller can hand over.
    """
    os.setpgid(0, 0)
    end_with_parent(signal.SIGTERM)


def _start_anchor(
    spec: job_file.JobSpec, server: Server, tolerance: Tolerance, hosts: list[tuple[str, int]]
) -> None:
    """Start an anchor in the place of one that died. No engine lives, so the controller may wait for MPI."""
    from ...engine.mpi import spawning

    slots = spawning.placement(hosts, spec.log_directory)
    start = spawning.EngineStart(server.invitation(), tolerance, slots, this_process())
    with worlds.time_limit():
        spawning.start_anchor(Parent().command(), start)


def _loading(controller: Controller, spec: job_file.JobSpec) -> Callable[[], None]:
    """Return the function that has the engines load the namespaces which the last job has saved."""
    assert spec.resume is not None
    return partial(controller.resumption.load, Path(spec.resume.directory))


class _NextJob:
    """The job that continues the cluster: a new job, or this job, queued again."""

    def __init__(self, spec: job_file.JobSpec, path: Path) -> None:
        self._spec = spec
        self._path = path
        self._requeue: Callable[[], None] | None = None

    def plan(self, server: Server, controller: Controller) -> None:
        """Let another job continue the cluster, unless the maximum number of jobs has done so."""
        resume = self._spec.resume
        assert resume is not None
        if resume.done >= resume.most:
            log.info("this is the last job of the cluster: %d have continued it (max_resumes)", resume.done)
            return
        file = job_file.resume_file(self._path)
        controller.write_for_next_job = partial(server.hand_over_to_next_job, controller.succession, file)
        controller.resumption.plan(
            NextJob(
                ends=job_end() or math.inf,
                before=resume.before,
                directory=Path(resume.directory),
                outlook=lambda known: Outlook(*job_outlook(known)),
                submit=self._submit,
                warned=partial(_take_warning, job_file.warning_file(self._path)),
            )
        )

    def _submit(self, engines: int) -> None:
        """Submit the job that continues this one, with `engines` engines, and count it."""
        from ...files import profiles
        from ...launchers import jobs

        current = job_file.read(self._path)
        assert current.resume is not None
        if current.resume.done >= current.resume.most:
            raise LaunchError("the cluster is being stopped")
        profile = profiles.Profile(self._spec.profile)
        self._requeue = jobs.submit_continuation(profile, self._spec.cluster, engines)
        current.resume.done += 1
        current.engines = engines
        job_file.write(current, self._path)

    def requeue_if_needed(self) -> None:
        """Queue this job again, if no new job was submitted. This ends the job."""
        if self._requeue is not None:
            try:
                self._requeue()
            except LaunchError as e:
                log.error("the cluster can't continue: this job can't be queued again: %s", e)


def _take_warning(file: Path) -> bool:
    """Return whether the scheduler has warned the job, and forget the warning."""
    if not file.exists():
        return False
    log.info("the scheduler warns this job by a signal")
    file.unlink(missing_ok=True)
    return True


def _is_abandoned(spec: job_file.JobSpec, path: Path) -> bool:
    """Return whether the owner of the job has ended."""
    if is_gone(spec.owner):
        spec.owner = job_file.read(path).owner  # The owner may have given up the job.
    return is_gone(spec.owner)


class _Terminated(BaseException):
    pass


def _ignore_end_signals() -> None:
    """Ignore the signals that end a job: another signal must not interrupt the shutdown."""
    for signum in (*_END_SIGNALS, signal.SIGALRM):
        signal.signal(signum, signal.SIG_IGN)


def _terminate_unless_warned(controller: Controller, signum: int, frame: FrameType | None) -> None:
    """Go on if the signal may be the scheduler's warning, or for a moment; else terminate.

    MPI's launcher sends the signal as well, when it ends a job in which an engine has died. This controller
    has a moment then to notice the death, and to hand over.
    """
    if controller.resumption.receive_end_signal():
        return
    if not controller.hands_over_after_death:
        _terminate(signum, frame)
    signal.setitimer(signal.ITIMER_REAL, _DEATH_NOTICE)


def _terminate_unless_handing_over(controller: Controller, signum: int, frame: FrameType | None) -> None:
    """Terminate if no death of an engine, or one that nothing follows, was noticed since the signal."""
    if controller.handing_over:
        signal.setitimer(signal.ITIMER_REAL, _DEATH_NOTICE)
    else:
        _terminate(signum, frame)


def _terminate(signum: int, frame: FrameType | None) -> None:
    _ignore_end_signals()
    log.info("terminated by signal %d", signum)
    raise _Terminated
