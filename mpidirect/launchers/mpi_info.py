"""Print the facts of MPI: ``mpiexec -n 2 python -m mpidirect.launchers.mpi_info``.

With names of modules as arguments, import these, and print the problem of each, or an empty text.

Always run this as a separate process: if MPI does not work, loading it may end the process.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..mpi.fault_tolerance import Tolerance

# Modules whose libraries must be built with the MPI of mpi4py.
LIBRARIES = ("petsc4py.PETSc", "slepc4py.SLEPc", "dolfinx", "h5py")
MARK = "mpidirect-probe:"  # the beginning of the line with the facts, in other output


def main() -> None:
    """Print the facts as a line of JSON."""
    asked = sys.argv[1:]
    found = {module: _problem(module) for module in asked} if asked else _facts()
    sys.stdout.write(f"{MARK}{json.dumps(found)}\n")
    sys.stdout.flush()


def _facts() -> dict[str, Any]:
    from mpi4py import MPI

    levels = {
        MPI.THREAD_SINGLE: "single",
        MPI.THREAD_FUNNELED: "funneled",
        MPI.THREAD_SERIALIZED: "serialized",
        MPI.THREAD_MULTIPLE: "multiple",
    }
    return {
        "library": MPI.Get_library_version().rstrip("\x00").splitlines()[0].strip(),
        "vendor": " ".join([MPI.get_vendor()[0], ".".join(map(str, MPI.get_vendor()[1]))]),
        "file": min(_library_files(), key=len, default=""),
        "size": MPI.COMM_WORLD.size,
        "thread_level": levels[MPI.Query_thread()],
        "ulfm": Tolerance.of(MPI).revokes,
        "spawns": Tolerance.of(MPI).spawns,
        "libraries": [module for module in LIBRARIES if find_spec(module.partition(".")[0])],
    }


def _problem(module: str) -> str:
    """Return why a module does not load, or that it loads another MPI; empty if there is no problem."""
    from mpi4py import MPI  # noqa: F401

    own = _mpi_files()
    try:
        importlib.import_module(module)
    except Exception as e:
        return f"{type(e).__name__}: {e}"
    return f"it loads another MPI: {', '.join(sorted(other))}" if (other := _mpi_files() - own) else ""


def _mpi_files() -> set[str]:
    """Return the files of the MPI itself: libmpi, or Debian's libmpich."""
    return {file for file in _library_files() if re.search(r"/libmpi(ch)?\.so", file)}


def _library_files() -> set[str]:
    """Return the files of MPI in this process."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return set()
    return {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "/libmpi" in line}


if __name__ == "__main__":
    main()
