"""The start of PETSc: on the engines' communicator, or refused if PETSc's ``MPI_COMM_WORLD`` is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ...mpi.fault_tolerance import lost_c_world
from ..import_hook import spec_with

PACKAGE, MODULE = "petsc4py", "petsc4py.PETSc"


class PETScImportHook(MetaPathFinder):
    """Watches the import of petsc4py, which calls collectives on its communicator.

    Parameters
    ----------
    comm : MPI.Intracomm or None
        The communicator for PETSc; None if PETSc uses ``MPI_COMM_WORLD``.
    loss : callable
        Returns why ``MPI_COMM_WORLD`` can't be used any more; an empty text if it can.
    """

    def __init__(self, comm: Any, loss: Callable[[], str]) -> None:
        self._comm = comm
        self._loss = loss

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the module's spec if the module is to be initialized with the communicator.

        Raises
        ------
        ImportError
            When ``MPI_COMM_WORLD`` is lost: the import would wait for ever for engines that have died.
        """
        if fullname == MODULE and (reason := self._loss()):
            raise ImportError(f"PETSc can't start on this engine. {lost_c_world(reason)}.", name=fullname)
        if fullname != PACKAGE or self._comm is None or self._loss():  # `init` would wait for other engines
            return None
        return spec_with(self, PACKAGE, lambda package: package.init(comm=self._comm))
