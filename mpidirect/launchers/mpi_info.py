"""Print the facts of MPI: ``mpiexec -n 2 python -m mpidirect.launchers.mpi_info``.

Always run this as a separate process: where MPI does not work, to load it may end the process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ..mpi.fault_tolerance import Tolerance

MARK = "mpidirect-probe:"  # begins the line of the facts, among other output


def main() -> None:
    """Print the facts as a line of JSON."""
    from mpi4py import MPI

    levels = {
        MPI.THREAD_SINGLE: "single",
        MPI.THREAD_FUNNELED: "funneled",
        MPI.THREAD_SERIALIZED: "serialized",
        MPI.THREAD_MULTIPLE: "multiple",
    }
    answer = {
        "library": MPI.Get_library_version().rstrip("\x00").splitlines()[0].strip(),
        "vendor": " ".join([MPI.get_vendor()[0], ".".join(map(str, MPI.get_vendor()[1]))]),
        "file": _library_file(),
        "size": MPI.COMM_WORLD.size,
        "thread_level": levels[MPI.Query_thread()],
        "ulfm": Tolerance.of(MPI).revokes,
        "spawns": Tolerance.of(MPI).spawns,
    }
    sys.stdout.write(f"{MARK}{json.dumps(answer)}\n")
    sys.stdout.flush()


def _library_file() -> str:
    """Return the file of the MPI library in this process."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return ""
    files = {line.split(maxsplit=5)[-1] for line in maps.splitlines() if "/libmpi" in line}
    return min(files, key=len, default="")


if __name__ == "__main__":
    main()
