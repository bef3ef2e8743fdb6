"""PETSc begins with the engines' communicator where, in C, ``MPI_COMM_WORLD`` has the controller in it."""

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
    """Has petsc4py begin as soon as it is imported: it would do so by itself, with a collective on the world.

    Parameters
    ----------
    comm : MPI.Intracomm
        What it is to begin with.
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

            def execute_and_begin(module: ModuleType) -> None:
                execute(module)
                module.init(comm=self._comm)

            spec.loader.exec_module = execute_and_begin  # type: ignore[method-assign]
        return spec


def prepare(comm: Any) -> None:
    """Let it begin with this communicator when it is imported."""
    sys.meta_path.insert(0, PETScImportHook(comm))
