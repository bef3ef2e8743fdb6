"""The end of the job that this process is in, as its scheduler knows it."""

from __future__ import annotations

import time

from ..job import allocation
from . import launcher_class

_COMMAND_TIMEOUT = 5.0  # seconds that the scheduler's command may take


def job_end() -> float:
    """Return when the walltime ends this job, in seconds since the epoch; 0 if it is not known."""
    return allocation.job_end() or current_job_end(allocation.slurm_job_end())


def current_job_end(known: float) -> float:
    """Ask the scheduler when the walltime ends this job: the walltime may have been changed.

    Parameters
    ----------
    known : float
        The time that is known. It is returned if the scheduler does not answer.
    """
    scheduler, job = allocation.enclosing()
    if not scheduler:
        return known
    launcher = launcher_class(scheduler).of(job)
    launcher.command_timeout = _COMMAND_TIMEOUT
    left = launcher.state().left
    return known if left is None else time.time() + left
