"""The communicators of a job: one for data, and one that user code takes for the world."""

from __future__ import annotations

import ctypes
import os
from typing import NamedTuple, cast

from mpi4py import MPI

# With these in the environment a child that imports mpi4py takes itself for a rank of this job.
_LAUNCHER = (
    "OMPI_",
    "PMIX_",
    "PRTE_",
    "PMI_",
    "HYDRA_",
    "HYDI_",
    "MPICH_",
    "I_MPI_",
    "OPAL_",
    "MPIR_",
    "MPI_LOCAL",
)


class World(NamedTuple):
    """What a rank has of its job.

    Attributes
    ----------
    private : MPI.Intracomm
        Controller (rank 0) and engines (rank ``k + 1``); user code never sees it.
    engines : MPI.Intracomm
        The engines alone, rank = engine id; ``COMM_NULL`` on the controller.
    spread : MPI.Intracomm or None
        A duplicate of `private` for collectives, where there is more than one host and they can be trusted:
        it is given up when a rank dies.
    one_host : bool
        Whether all ranks share a host.
    """

    private: MPI.Intracomm
    engines: MPI.Intracomm
    spread: MPI.Intracomm | None
    one_host: bool


def split() -> World:
    """Make the communicators; all ranks of the job call it together."""
    world = MPI.COMM_WORLD
    private = world.Dup()
    engines = world.Split(int(world.rank > 0), world.rank)
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    one_host = world.allreduce(node.size == world.size, MPI.LAND)
    node.Free()
    if world.rank > 0:
        # mpi4py makes its hidden duplicate at the first lowercase collective: have it made now, while
        # nothing else uses MPI
        engines.barrier()
    spread = None if one_host or not _collectives_are_safe() else private.Dup()
    return World(private, cast(MPI.Intracomm, engines), spread, one_host)


def _collectives_are_safe() -> bool:
    """Whether the survivors of a rank that dies in a non-blocking collective can go on.

    Not with Open MPI over TCP: they crash in its progress engine, sooner or later.
    """
    return "Open MPI" not in MPI.Get_library_version()


def rebind(engines: MPI.Intracomm) -> None:
    """Make ``MPI.COMM_WORLD`` the engines' communicator, in place.

    The real one includes the controller, so that each collective of a user's program on it would wait for
    ever.  The Python object is kept and its handle replaced, so that every import of it is right.
    """
    ctypes.memmove(MPI._addressof(MPI.COMM_WORLD), MPI._addressof(engines), MPI._sizeof(MPI.Comm))


def forget_launcher() -> None:
    """Take the launcher's variables out of the environment that child processes inherit."""
    for name in [name for name in os.environ if name.startswith(_LAUNCHER)]:
        del os.environ[name]
