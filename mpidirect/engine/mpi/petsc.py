"""PETSc on the engines' communicator, where ``MPI_COMM_WORLD`` in C includes the controller."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

PACKAGE = "petsc4py"


class PETScImportHook(MetaPathFinder):
    """Initializes petsc4py when it is imported: else petsc4py calls a collective on the world.

    Parameters
    ----------
    comm : MPI.Intracomm
        The communicator for PETSc.
    """

    def __init__(self, comm: Any) -> None:
        self._comm = comm

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != PACKAGE:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            sys.meta_path.insert(0, self)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_and_initialize(module: ModuleType) -> None:
                execute(module)
                module.init(comm=self._comm)

            spec.loader.exec_module = execute_and_initialize  # type: ignore[method-assign]
        return spec


def initialize_on_import(comm: Any) -> None:
    """Initialize petsc4py with this communicator when it is imported."""
    sys.meta_path.insert(0, PETScImportHook(comm))
