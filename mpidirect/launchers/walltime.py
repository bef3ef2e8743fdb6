"""The end of the job that contains this process, as its scheduler knows it."""

from __future__ import annotations

import time

from ..job import allocation
from . import launcher_class
from .base import JobState

_COMMAND_TIMEOUT = 5.0  # seconds that the scheduler's command has to answer


def job_end() -> float:
    """Return when the walltime ends this job, in seconds since the epoch; 0 if unknown."""
    return allocation.job_end() or current_job_end(allocation.slurm_job_end())


def current_job_end(known: float) -> float:
    """Ask the scheduler when the walltime ends this job, because the walltime may have been changed.

    Parameters
    ----------
    known : float
        The known end. It is returned if the scheduler does not answer.
    """
    return job_outlook(known)[0]


def job_outlook(known: float) -> tuple[float, bool | None]:
    """Ask the scheduler about this job.

    Parameters
    ----------
    known : float
        The known end of the job, in seconds since the epoch.

    Returns
    -------
    ends : float
        When the walltime ends the job; `known` if the scheduler does not answer.
    cancelled : bool or None
        Whether the job was cancelled, or ends for another reason; None if the scheduler does not tell.
    """
    scheduler, job = allocation.enclosing()
    if not scheduler:
        return known, None
    launcher = launcher_class(scheduler).of(job)
    launcher.command_timeout = _COMMAND_TIMEOUT
    status = launcher.state()
    ends = known if status.left is None else time.time() + status.left
    if status.ending or status.state is JobState.ENDED:
        return ends, True
    tells = status.state is JobState.RUNNING and launcher.tells_cancellation
    return ends, False if tells else None
