"""The communicator of all engines, which is the world for user code: made, replaced, abandoned."""

from __future__ import annotations

import ctypes
import logging
from typing import Any

from mpi4py import MPI

from .watched_communicator import (
    RevocableCommunicator,
    WatchedCommunicator,
    make_watched_classes,
    mpi_state,
    watched_classes,
)

log = logging.getLogger(__name__)

_world_objects: list[MPI.Comm] = []  # The objects with the handle of the engines' communicator.
_wake_comms: list[MPI.Intracomm] = []  # Communicators without any use: see `wake_blocked_call`.
_WAKE_COMMS = 4  # The number of these that are kept ready.


def create_world(engines: MPI.Intracomm, ids: list[int], mixin: type[WatchedCommunicator], epoch: int) -> Any:
    """Make `engines` the communicator of all engines for user code.

    ``MPI.COMM_WORLD`` becomes the new object. In mpi4py's own object of the world, the handle is replaced:
    the real world includes the controller, so each collective on it would wait for ever.

    Parameters
    ----------
    engines : MPI.Intracomm
        The engines, by rank.
    ids : list of int
        The ids of the engines, by rank.
    mixin : type
        The way to end blocking calls: `RevocableCommunicator` or `PolledCommunicator`.
    epoch : int
        How often the communicator was made before.

    Returns
    -------
    WatchedCommunicator
        The communicator.
    """
    make_watched_classes(mixin)
    mpi_state.world = watched_classes[MPI.Intracomm](engines)
    mpi_state.c_world = MPI.Intracomm(MPI.COMM_WORLD)  # The handle before it is replaced.
    _world_objects.append(MPI.COMM_WORLD)
    _world_objects.append(mpi_state.world)
    MPI.COMM_WORLD = mpi_state.world  # type: ignore[misc]
    MPI.Finalize = _finalize
    replace_world(engines, ids, epoch)
    return mpi_state.world


def _finalize() -> None:
    """Replace ``MPI.Finalize``, by which programs end: the engine needs MPI after them."""


def replace_world(
    engines: MPI.Intracomm, ids: list[int], epoch: int, object_comm: MPI.Comm | None = None
) -> None:
    """Put the handle of a new communicator of all engines into the same objects.

    Parameters
    ----------
    engines : MPI.Intracomm
        The new communicator.
    ids : list of int
        The ids of its members, by rank.
    epoch : int
        How often the communicator was made before.
    object_comm : MPI.Comm, optional
        The communicator that `make_object_comm` returned; made here if not given.
    """
    object_comm = object_comm or make_object_comm(engines)
    world = mpi_state.world
    if isinstance(world, RevocableCommunicator):  # Only the main thread makes communicators.
        _wake_comms.extend(MPI.COMM_SELF.Dup() for _ in range(_WAKE_COMMS - len(_wake_comms)))
    with mpi_state.lock:
        for target in _world_objects:
            ctypes.memmove(MPI._addressof(target), MPI._addressof(engines), MPI._sizeof(MPI.Comm))
        world.object_comm, world.engines = object_comm, tuple(ids)
        world.unusable_reason = mpi_state.unusable_reason = mpi_state.death_reason = ""
        world.must_revoke = False
        mpi_state.dead_engines.difference_update(ids)
        mpi_state.epoch = epoch


def make_object_comm(engines: MPI.Intracomm) -> MPI.Comm:
    """Make mpi4py's duplicate for collectives of Python objects; all members call this equally often.

    mpi4py would make the duplicate later, with Python's lock held. It derives tags from the number of calls.
    """
    object_comm: MPI.Comm = MPI._commctx_intra(engines)[0]
    object_comm.Set_errhandler(MPI.ERRORS_RETURN)
    return object_comm


# -- unusable communicators ----------------------------------------------------------------------------


def abandon_world(reason: str, epoch: int, dead: int = -1) -> None:
    """Abandon the communicator of all engines, and the communicators that contain the engine `dead`.

    Parameters
    ----------
    reason : str
        The reason, for errors.
    epoch : int
        The epoch of the communicator; a newer communicator stays usable.
    dead : int
        The engine that died, if any.
    """
    with mpi_state.lock:
        if dead >= 0:
            mpi_state.dead_engines.add(dead)
            mpi_state.lose_c_world(f"engine {dead} has ended")
            for comm in list(mpi_state.derived.values()):
                if dead in comm.engines and not comm.unusable_reason:
                    comm._abandon(reason)
        if epoch < mpi_state.epoch:
            return
        mpi_state.unusable_reason = mpi_state.unusable_reason or reason
        if dead >= 0:
            mpi_state.death_reason = mpi_state.death_reason or reason
        if not mpi_state.world.unusable_reason:
            mpi_state.world._abandon(reason)


def abandon(comm: WatchedCommunicator, epoch: int, reason: str) -> None:
    """Abandon one communicator: see `abandon_world`."""
    if comm is mpi_state.world:
        abandon_world(reason, epoch)
    elif not comm.unusable_reason:
        comm._abandon(reason)


def abandon_all(epoch: int, reason: str) -> None:
    """Abandon all communicators in which user code may be stuck."""
    for comm in [*mpi_state.derived.values(), mpi_state.world]:
        abandon(comm, epoch, reason)


def revoke_abandoned() -> None:
    """Tell MPI which communicators were abandoned (called by the main thread)."""
    for comm in [*mpi_state.derived.values(), mpi_state.world]:
        comm._revoke_if_abandoned()


def revoke_c_world() -> None:
    """End the calls of all engines on the ``MPI_COMM_WORLD`` of C code, which becomes unusable.

    C code in such a call may hold Python's lock, so an engine that is free revokes for all engines.
    """
    if isinstance(mpi_state.world, RevocableCommunicator):
        log.warning("the world in C is revoked: engines wait in it for each other")
        mpi_state.lose_c_world("an interrupt has ended calls on it")
        mpi_state.c_world.Revoke()


def wake_blocked_call() -> None:
    """Make the call of the main thread check again whether its communicator was revoked.

    Open MPI wakes all waiting threads when a communicator is revoked. A thread that was just woken for
    another communicator, and is about to wait again, can miss that and wait for ever.
    """
    if _wake_comms:
        _wake_comms.pop().Revoke()
