"""The communicators of a job: one for data, and one that user code takes for the world."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from mpi4py import MPI

from . import bulk_transfer

# Tags that nothing else has on the private communicator: in Open MPI, Create_group shares them with messages.
_CREATING, TAGS = 20_000, 2_000

LONGEST = 20.0  # seconds that making communicators may take: who is stuck in it for longer ends

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
    "MV2_COMM_WORLD_",
    "PALS_RANKID",
    "PALS_LOCAL_RANKID",
    "FLUX_TASK_",
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
    processes : list of int
        The process of each rank of `private`, where bulk data is read out of their memory; else empty.
    """

    private: MPI.Intracomm
    engines: MPI.Intracomm
    spread: MPI.Intracomm | None
    one_host: bool
    processes: list[int]


@contextmanager
def limited() -> Iterator[None]:
    """Making a communicator can't be interrupted: should a rank die just now, this one must not hang."""
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def split() -> World:
    """Make the communicators; all ranks of the job call it together."""
    world = MPI.COMM_WORLD
    engines = world.Split(int(world.rank > 0), world.rank)
    private = world.Dup()
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    one_host = world.allreduce(node.size == world.size, MPI.LAND)
    node.Free()
    return _complete(private, engines, one_host, [])


def alone() -> World:
    """What the controller has before any engine is there; no other rank takes part."""
    return World(MPI.COMM_SELF, cast("MPI.Intracomm", MPI.COMM_NULL), None, True, [])


def anchored() -> World:
    """What the controller and the anchors have together; they all call it together."""
    world = MPI.COMM_WORLD
    one_host, _ = bulk_transfer.neighbours(world)
    return World(world, cast("MPI.Intracomm", MPI.COMM_NULL), None, one_host, [])


def grown(members: MPI.Intracomm, port: str, rank: int, arriving: bool = False, whole: bool = False) -> World:
    """Make them anew, with ranks that arrive; all that live and all of those call it together.

    Parameters
    ----------
    members : MPI.Intracomm
        The controller (rank 0) and the engines that live; for those that arrive, their own.
    port : str
        Where they meet: the controller has opened it.
    rank : int
        What orders the ranks: 0 for the controller, engine id + 1.
    arriving : bool
        Whether this rank is one of those that arrive.
    whole : bool
        Whether those that arrive will be all engines.
    """
    meeting = members.Connect(port) if arriving else members.Accept(port)
    private = meeting.Merge(arriving)
    if not whole:
        private = cast("MPI.Intracomm", private.Split(0, rank))
        engines = private.Split(int(rank > 0), rank)
    elif arriving:  # of their own world: MPICH uses no shared memory in what is made from others
        engines = members.Dup()
    else:
        engines = MPI.COMM_NULL
    return _complete(private, engines, *bulk_transfer.neighbours(private))


def living(comm: MPI.Intracomm, ranks: list[int], ulfm: bool, epoch: int) -> MPI.Intracomm:
    """A communicator of those `ranks` of `comm` that live; they all call it together.

    Parameters
    ----------
    comm : MPI.Intracomm
        Which nobody uses for anything else; without `ulfm`, for making others or for bulk data.
    ranks : list of int
        Whose owners live.
    ulfm : bool
        Whether MPI knows itself who lives.
    epoch : int
        Tells one call from the others.
    """
    if ulfm:
        return cast("MPI.Intracomm", comm.Shrink())
    everyone = comm.Get_group()
    chosen = everyone.Incl(ranks)
    try:
        return comm.Create_group(chosen, _CREATING + epoch % TAGS)
    finally:
        chosen.Free()
        everyone.Free()


def _complete(private: MPI.Intracomm, engines: MPI.Comm, one_host: bool, processes: list[int]) -> World:
    if private.rank > 0:
        # mpi4py makes its hidden duplicate at the first lowercase collective: have it made now, while
        # nothing else uses MPI
        engines.barrier()
    spread = None if one_host or not _collectives_are_safe() else private.Dup()
    return World(private, cast("MPI.Intracomm", engines), spread, one_host, processes)


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


def nameless(launched: bool = False) -> None:
    """Take away the names of the memory that this process shares with others of its world, which all have it.

    MPI does it in ``MPI_Finalize``, and so never for a process that was killed or leaves without.

    Parameters
    ----------
    launched : bool
        Whether this is the controller or the anchor. All that they share has been used by both. Engines open
        that of Open MPI when they need it first, and its runtime takes away the names for spawned processes.
    """
    names = r"/dev/shm/(?:mpich_shm_|sm_segment|vader_segment)\S+" if launched else r"/dev/shm/mpich_shm_\S+"
    with contextlib.suppress(OSError):
        maps = Path("/proc/self/maps").read_text(errors="replace")
        for name in set(re.findall(names, maps)):
            Path(name).unlink(missing_ok=True)


def forget_launcher() -> None:
    """Take the launcher's variables out of the environment that child processes inherit."""
    for name in [name for name in os.environ if name.startswith(_LAUNCHER)]:
        del os.environ[name]
