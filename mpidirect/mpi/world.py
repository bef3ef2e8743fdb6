"""The communicators of a job: the private one for data, and the engines' communicator."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, cast

from mpi4py import MPI

from . import bulk_transfer, c_world

# Tags of Create_group on the private communicator: in Open MPI, messages use the same tags.
_FIRST_TAG, TAGS = 20_000, 2_000

# On a busy host with more ranks than cores, five engines have needed 15 s.
JOIN_LIMIT = 30.0  # Seconds after which an anchor takes the place of new engines that do not join.
CREATION_LIMIT = 60.0  # Maximum seconds for making communicators. A process that needs longer ends.

# Prefixes of variables by which a child that imports mpi4py would take itself for a rank of this job.
_LAUNCHER_VARIABLES = (
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


class NotJoined(Exception):
    """New engines have not connected in time."""

    def __init__(self) -> None:
        super().__init__("the new engines have not connected by MPI in time")


class World(NamedTuple):
    """The communicators of a rank.

    Attributes
    ----------
    private : MPI.Intracomm
        Controller (rank 0) and engines (rank ``k + 1``); user code never sees it.
    engines : MPI.Intracomm
        The engines alone, rank = engine id; ``COMM_NULL`` on the controller.
    broadcast_comm : MPI.Intracomm or None
        A duplicate of `private` for collectives, if the job has several hosts and MPI's collectives are safe.
        It is given up when a rank dies.
    one_host : bool
        Whether all ranks share a host.
    processes : list of int
        The process of each rank of `private`, if bulk data is read out of their memory; else empty.
    engines_alone_in_c : bool
        Whether ``MPI_COMM_WORLD`` in C and Fortran is the engines alone.
    first_on_host : bool
        Whether this rank is the first of its host among the ranks that the launcher has started.
    """

    private: MPI.Intracomm
    engines: MPI.Intracomm
    broadcast_comm: MPI.Intracomm | None
    one_host: bool
    processes: list[int]
    engines_alone_in_c: bool = True
    first_on_host: bool = False


@contextmanager
def time_limit(new: int = 0) -> Iterator[None]:
    """End this process if the block takes too long.

    The making of a communicator can't be interrupted. If a rank dies meanwhile, the others must not hang.

    Parameters
    ----------
    new : int
        The number of new engines: if they share few cores, each of them adds up to a second.
    """
    with contextlib.suppress(RuntimeError):  # There is no memory for the thread that watches the time.
        faulthandler.dump_traceback_later(CREATION_LIMIT + new, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def split() -> World:
    """Make the communicators if nothing is spawned; all ranks of the job call this together."""
    world = MPI.COMM_WORLD
    engines = world.Split(int(world.rank > 0), world.rank)
    private = world.Dup()
    node = world.Split_type(MPI.COMM_TYPE_SHARED)
    one_host, first = world.allreduce(node.size == world.size, MPI.LAND), node.rank == 0
    node.Free()
    made = _complete(private, engines, one_host, [])
    world.Barrier()
    unlink_shared_memory()
    return made._replace(engines_alone_in_c=c_world.replace(engines), first_on_host=first)


def alone() -> World:
    """Return the communicators of the controller while there is no engine; no other rank takes part."""
    return World(MPI.COMM_SELF, cast("MPI.Intracomm", MPI.COMM_NULL), None, True, [])


def anchored() -> World:
    """Make the communicators of the controller and the anchors, which call this together."""
    world = MPI.COMM_WORLD
    one_host, _ = bulk_transfer.neighbours(world)
    first = world.rank != 1  # Each host has one anchor; the first anchor shares its host with the controller.
    return World(world, cast("MPI.Intracomm", MPI.COMM_NULL), None, one_host, [], first_on_host=first)


def merged(
    members: MPI.Intracomm, port: str, rank: int, size: int, is_new: bool = False, all_new: bool = False
) -> World:
    """Make the communicators with new engines; all living ranks and all new engines call this together.

    Parameters
    ----------
    members : MPI.Intracomm
        The controller (rank 0) and the living engines. In a new engine: the new engines.
    port : str
        The MPI port at which both sides connect. The controller has opened it.
    rank : int
        The order of the ranks: 0 for the controller, engine id + 1 for an engine.
    size : int
        The number of ranks.
    is_new : bool
        Whether this rank is a new engine.
    all_new : bool
        Whether all engines are new.

    Raises
    ------
    NotJoined
        When an anchor has taken the place of the new engines (`free_join`).
    """
    both = members.Connect(port) if is_new else members.Accept(port)
    private = both.Merge(is_new)
    if not all_new or (not is_new and (both.remote_size != size - 1 or _is_anchor(both))):
        private = cast("MPI.Intracomm", private.Split(0, rank))
        if private.size != size:
            raise NotJoined
    if not all_new:
        engines = private.Split(int(rank > 0), rank)
    elif is_new:  # Made from their own world: MPICH uses no shared memory in what is made from two worlds.
        engines = members.Dup()
    else:
        engines = MPI.COMM_NULL
    return _complete(private, engines, *bulk_transfer.neighbours(private))


def free_join(port: str) -> None:
    """Take the place of new engines that do not connect, so that the others no longer wait (`merged`)."""
    both = MPI.COMM_SELF.Connect(port)
    both.Merge(True).Split(MPI.UNDEFINED)


def _is_anchor(both: MPI.Intercomm) -> bool:
    """Return, on the controller, whether the other side is an anchor: a rank of its own world."""
    others = both.Get_remote_group()
    return MPI.UNDEFINED not in others.Translate_ranks([0], MPI.COMM_WORLD.Get_group())


def living(comm: MPI.Intracomm, ranks: list[int], ulfm: bool, epoch: int) -> MPI.Intracomm:
    """Make a communicator of the living ranks of `comm`, which call this together.

    Parameters
    ----------
    comm : MPI.Intracomm
        A communicator that has no other use; without `ulfm`, it may also carry bulk data.
    ranks : list of int
        The living ranks.
    ulfm : bool
        Whether MPI itself knows the living ranks.
    epoch : int
        A number that distinguishes this call from others.
    """
    if ulfm:
        return cast("MPI.Intracomm", comm.Shrink())
    all_ranks = comm.Get_group()
    members = all_ranks.Incl(ranks)
    try:
        return comm.Create_group(members, _FIRST_TAG + epoch % TAGS)
    finally:
        members.Free()
        all_ranks.Free()


def _complete(private: MPI.Intracomm, engines: MPI.Comm, one_host: bool, processes: list[int]) -> World:
    if private.rank > 0:
        # At its first collective of objects, mpi4py makes a duplicate: now, while nothing else uses MPI.
        engines.barrier()
    broadcast_comm = None if one_host or not _collectives_are_safe() else private.Dup()
    return World(private, cast("MPI.Intracomm", engines), broadcast_comm, one_host, processes)


def _collectives_are_safe() -> bool:
    """Return whether the other ranks can continue if a rank dies in a non-blocking collective.

    With Open MPI over TCP, the other ranks crash in its progress engine, sooner or later.
    """
    return "Open MPI" not in MPI.Get_library_version()


def unlink_shared_memory(launched: bool = False) -> None:
    """Remove the names of MPI's shared memory, when all ranks of this process's world have mapped it.

    MPI removes the names in ``MPI_Finalize``, which a killed process never reaches.

    Parameters
    ----------
    launched : bool
        Whether this is the controller or an anchor, which have mapped all memory that they share. Engines map
        Open MPI's shared memory at its first use. For spawned processes, its runtime removes the names.
    """
    names = r"/dev/shm/(?:mpich_shm_|sm_segment|vader_segment)\S+" if launched else r"/dev/shm/mpich_shm_\S+"
    with contextlib.suppress(OSError):
        maps = Path("/proc/self/maps").read_text(errors="replace")
        for name in set(re.findall(names, maps)):
            Path(name).unlink(missing_ok=True)


def forget_launcher() -> None:
    """Remove the launcher's variables from the environment that child processes inherit."""
    for name in [name for name in os.environ if name.startswith(_LAUNCHER_VARIABLES)]:
        del os.environ[name]
