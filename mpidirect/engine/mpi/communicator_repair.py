"""New communicators of all engines: after a death, after an interrupt, or with new engines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpi4py import MPI

from ...mpi import world as worlds
from ...mpi.world import World
from ...protocol import messages
from .. import bulk_data, environment
from ..memory_reserve import CommunicatorReserve
from . import communicators, groups, requests
from .polled_communicator import PolledCommunicator
from .polling import keep_requests
from .watched_communicator import RevocableCommunicator, mpi_state

log = logging.getLogger(__name__)

_ID_SIZE = 4  # Bytes of an engine's id in a roll call.
_ROLL_CALL_TAG = 30_000  # The first of the tags of roll calls on the private communicator.


class RollCallFailed(Exception):
    """An engine can't take part in a repair; the text says why."""


class _Prepared(NamedTuple):
    """Communicators that all engines begin to use when all have made them."""

    world: World
    groups: groups.Groups
    places: list[environment.EnginePlace]
    base: MPI.Intracomm
    object_comm: MPI.Comm


class CommunicatorRepair:
    """Makes the communicators of engines anew; only the main thread uses this object.

    Parameters
    ----------
    world : World
        The communicators of the job.
    engines : sequence of int
        The ids of the engines in `world`, in the order of their ranks.
    ulfm : bool
        Whether MPI can shrink a communicator that has lost members.
    epoch : int
        The number of repairs before.

    Attributes
    ----------
    comm : WatchedCommunicator
        The communicator of all engines, as user code sees it.
    living : list of int
        The ids of the engines in `comm`, by rank.
    places : list of EnginePlace
        Where they are, by rank.
    reserve : CommunicatorReserve
        Memory for the making of communicators.
    """

    def __init__(self, world: World, engines: Sequence[int], ulfm: bool, epoch: int = 0) -> None:
        self._ulfm = ulfm
        self.reserve = CommunicatorReserve()
        self._private = world.private
        self.living = list(engines)
        self._members = list(engines)  # The engines of the private communicator, dead ones included.
        self.places = environment.gather(world.engines)
        # New communicators are made from this one, which user code does not see. MPICH uses no shared memory
        # in communicators made from the private one, because that has ranks of several worlds.
        self._base = world.engines.Dup()
        self._joining: messages.PrepareCommunicators
        self._prepared: _Prepared
        mixin = RevocableCommunicator if ulfm else PolledCommunicator
        requests.replace_request_class()
        self.comm = communicators.create_world(world.engines, self.living, mixin, epoch)

    @property
    def untouched(self) -> bool:
        """Whether MPI has never failed on this engine, so that MPI can be finalized."""
        return not mpi_state.epoch and not mpi_state.unusable_reason

    def repair(self, order: messages.RepairCommunicator) -> messages.CommunicatorsMade:
        """Make a new communicator of the living engines, which all call this together."""
        has_memory = self.reserve.is_enough()
        with worlds.time_limit():
            try:
                self._call_roll(order.engines, order.epoch, has_memory)
                communicators.revoke_abandoned()
                engines = self._make_engines(order)
                if engines.size != len(order.engines):
                    return messages.CommunicatorsMade(order.epoch, f"MPI finds {engines.size} engines alive")
                engines.Set_errhandler(MPI.ERRORS_RETURN)
                if order.engines != self.living:
                    groups.enable(engines, order.engines)
                communicators.replace_world(engines, order.engines, order.epoch)
                self.places = [self.places[self.living.index(engine)] for engine in order.engines]
                self.living = order.engines
            except (MPI.Exception, RollCallFailed) as e:
                log.warning("the communicator could not be made: %s", e)
                return messages.CommunicatorsMade(order.epoch, str(e))
        log.info("comm has %d engines, and this one is rank %d of it", engines.size, engines.rank)
        return messages.CommunicatorsMade(order.epoch)

    def join(self, order: messages.PrepareCommunicators) -> messages.ReadyToJoin | messages.CommunicatorsMade:
        """Prepare to make communicators with new engines.

        Returns
        -------
        ReadyToJoin or CommunicatorsMade
            The latter with an error, if an engine died meanwhile, or has no memory.
        """
        self._joining = order
        has_memory = self.reserve.is_enough()
        with worlds.time_limit():
            try:
                self._call_roll(order.living, order.epoch, has_memory)
            except (MPI.Exception, RollCallFailed) as e:
                return messages.CommunicatorsMade(order.epoch, str(e))
        return messages.ReadyToJoin(order.epoch)

    def grow(self) -> messages.CommunicatorsMade:
        """Make communicators with new engines; `commit` puts them into use."""
        order = self._joining
        with worlds.time_limit():
            try:
                communicators.revoke_abandoned()
                ranks = [0, *self._ranks(order.living)]
                members = worlds.living(self._private, ranks, self._ulfm, order.epoch)
                rank = self._members[self._private.rank - 1] + 1
                world = worlds.merged(members, order.port, rank, 1 + len(order.engines))
                made = groups.make(world.engines, order.engines)
                places = environment.gather(world.engines)
                base, objects = world.engines.Dup(), communicators.make_object_comm(world.engines)
                self._prepared = _Prepared(world, made, places, base, objects)
            except (MPI.Exception, worlds.NotJoined) as e:
                log.warning("the communicators could not be made: %s", e)
                return messages.CommunicatorsMade(order.epoch, str(e))
        return messages.CommunicatorsMade(order.epoch)

    def commit(self) -> World:
        """Use the communicators that `grow` has made, and return them."""
        made, order = self._prepared, self._joining
        self._private, self._base = made.world.private, made.base
        self.living, self._members = order.engines, order.engines
        self.places = made.places
        groups.use(made.groups)
        communicators.replace_world(made.world.engines, order.engines, order.epoch, made.object_comm)
        log.info("engines came: comm has %d, and this one is rank %d of it", self.comm.size, self.comm.rank)
        return made.world

    def _ranks(self, engines: Sequence[int]) -> list[int]:
        """Return the ranks of engines in the private communicator."""
        return [self._members.index(engine) + 1 for engine in engines]

    def _call_roll(self, engines: Sequence[int], epoch: int, has_memory: bool) -> None:
        """Exchange messages with all engines, so that all are alive when a communicator is made.

        If a member dies while a communicator is made, the others hang (MPICH) or crash (Open MPI). The wait
        for a message can be left. The messages tell which engine has no memory to take part.
        """
        ranks = self._ranks(engines)
        position, n = ranks.index(self._private.rank), len(ranks)
        tag = _ROLL_CALL_TAG + epoch % worlds.TAGS
        living = set(engines)
        step, short = 1, -1 if has_memory else engines[position]
        while step < n:
            heard = bytearray(_ID_SIZE)
            requests = [
                self._private.Irecv(heard, ranks[(position - step) % n], tag),
                self._private.Isend(
                    short.to_bytes(_ID_SIZE, "little", signed=True), ranks[(position + step) % n], tag
                ),
            ]
            if not bulk_data.wait(requests, lambda: not living.isdisjoint(mpi_state.dead_engines)):
                keep_requests(requests)
                raise RollCallFailed(f"engine {min(living & mpi_state.dead_engines)} died meanwhile")
            step, short = 2 * step, max(short, int.from_bytes(heard, "little", signed=True))
        if short >= 0:
            raise RollCallFailed(
                f"engine {short} has used up its memory (ulimit -v), and communicators need some: "
                "delete names there"
            )

    def _make_engines(self, order: messages.RepairCommunicator) -> MPI.Intracomm:
        ranks = [self._members.index(engine) for engine in order.engines]
        return worlds.living(self._base, ranks, self._ulfm, order.epoch)


def update(names: dict[str, Any], namespace: dict[str, Any], current: dict[str, Any]) -> None:
    """Update ``rank``, ``size`` and the like in a namespace, unless the user has set these names.

    Parameters
    ----------
    names : dict
        The names that the engine has set so far; this dict is updated.
    namespace : dict
        The namespace of user code.
    current : dict
        The new values.
    """
    for name, value in current.items():
        if namespace.get(name) is names[name] or namespace.get(name) == names[name]:
            namespace[name] = value
        names[name] = value
