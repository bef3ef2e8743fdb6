"""Initialization of MPI, and the check that all ranks of the job have found each other."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpi4py import MPI


def load_mpi() -> ModuleType:
    """Import ``mpi4py.MPI`` without the initialization of MPI."""
    import mpi4py

    mpi4py.rc.initialize = False
    mpi4py.rc.finalize = False  # A forked child that exits must not finalize the MPI of its parent.
    from mpi4py import MPI

    return MPI


def begin_mpi(spawned: bool = False) -> ModuleType:
    """Initialize MPI.

    Parameters
    ----------
    spawned : bool
        Whether another rank has spawned this process.

    Returns
    -------
    module
        ``mpi4py.MPI``.
    """
    import mpi4py

    MPI = load_mpi()
    level = mpi4py.rc.thread_level if mpi4py.rc.threads else "single"
    if not spawned and launched_rank() == 0:
        # In the controller one thread uses MPI. With locks, Open MPI's TCP deadlocks when a peer dies in a
        # transfer.
        level = "single"
    MPI.Init_thread(getattr(MPI, f"THREAD_{level.upper()}"))
    return MPI


def launched_rank() -> int | None:
    """Return this process's rank as the launcher gives it before MPI is initialized; None if unknown."""
    names = ("PMIX_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK")
    values = [os.environ[name] for name in names if name in os.environ]
    return int(values[0]) if values and values[0].isdigit() else None


def expected_size(world: MPI.Intracomm, size: int) -> int:
    """Return the `size` that rank 0 expects: other hosts may still see the former job file."""
    number = bytearray(size.to_bytes(8, "little"))
    world.Bcast(number)
    return int.from_bytes(number, "little")


def wrong_world_size(found: int, wanted: int, library: str) -> str:
    """Return the error text for a job whose ranks do not find each other.

    Parameters
    ----------
    found, wanted : int
        The size of the world, and the number of ranks that the job should have.
    library : str
        The version text of the MPI that mpi4py uses.
    """
    remedy = "'mpidirect doctor' shows which mpiexec belongs to it; choose it with --mpiexec."
    if "SLURM_SRUN_COMM_HOST" in os.environ and launched_rank() is None:
        remedy = (
            "srun must speak its PMI: --mpiexec 'srun --mpi=pmix' for Open MPI, 'srun --mpi=pmi2' for MPICH "
            "('srun --mpi=list' shows what there is); or leave --mpiexec out."
        )
    return (
        f"mpidirect: this job should have {wanted} ranks, but MPI says that it has {found}.\n"
        f"The command that started it does not belong to the MPI that mpi4py uses here "
        f"({library.splitlines()[0].strip()}).\n"
        f"Python: {sys.executable}\n"
        f"Remedy: {remedy}"
    )
