"""Errors of ipyparallel that have another name here, or that nothing raises."""

from __future__ import annotations

from .local import MPIDirectError, UnmetDependency
from .remote import TaskTimeout

IPythonError = KernelError = MPIDirectError
DependencyTimeout = TaskTimeout
UnmetDependencyError = UnmetDependency


class AlreadyDisplayedError(MPIDirectError):
    """Nothing raises this error: a name for ``except`` clauses that were written for ipyparallel."""


class TaskRejectError(MPIDirectError):
    """Nothing raises this error: a name for ``except`` clauses that were written for ipyparallel."""
