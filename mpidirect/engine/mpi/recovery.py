"""How the engines get a communicator of all again: when one died, was interrupted in it, or is new."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

from mpi4py import MPI

from ...mpi import world as worlds
from ...mpi.world import World
from ...protocol import messages
from .. import bulk_data, environment
from . import communicators, groups, requests
from .polling import PolledCommunicator, keep
from .watched_communicator import mpi_state

log = logging.getLogger(__name__)

_MEETING = 30_000  # from here on, tags that nothing else has on the private communicator


class EngineDied(Exception):
    """An engine died while it was to take part in a repair."""


class _Prepared(NamedTuple):
    """What is used as soon as all have it."""

    world: World
    groups: groups.Groups
    places: list[environment.EnginePlace]
    base: MPI.Intracomm
    hidden: MPI.Comm


class CommunicatorRepair:
    """Makes the communicator of all engines, again and again; only the main thread uses it.

    Parameters
    ----------
    world : World
        The communicators of the job.
    engines : sequence of int
        The ids of its engines, in the order of their ranks.
    ulfm : bool
        Whether MPI can shrink a communicator that has lost members.
    epoch : int
        How often the communicators have been made before.
    """

    def __init__(self, world: World, engines: Sequence[int], ulfm: bool, epoch: int = 0) -> None:
        self.ulfm = ulfm
        self.private = world.private
        self.living = list(engines)
        self._members = list(engines)  # of the private communicator, the dead included, behind the controller
        self.places = environment.gather(world.engines)
        # What new ones are made from: user code can neither free nor use it.  Not the private one, as MPICH
        # uses no shared memory in what is made from communicators of several worlds.
        self.base = world.engines.Dup()
        self._joining: messages.PrepareCommunicators
        self._prepared: _Prepared
        mixin = communicators.RevocableCommunicator if ulfm else PolledCommunicator
        requests.begin()
        self.comm = communicators.create_world(world.engines, self.living, mixin, epoch)

    @property
    def untouched(self) -> bool:
        """Whether nothing has ever gone wrong with MPI here, so that it can be finalized."""
        return not mpi_state.epoch and not mpi_state.unusable_reason

    def repair(self, order: messages.RepairCommunicator) -> messages.CommunicatorsMade:
        """Make a new communicator of the engines that live; they all do it together."""
        with worlds.limited():
            try:
                self._meet(order.engines, order.epoch)
                communicators.revoke_abandoned()
                fresh = self._fresh(order)
                if fresh.size != len(order.engines):
                    return messages.CommunicatorsMade(order.epoch, f"MPI finds {fresh.size} engines alive")
                fresh.Set_errhandler(MPI.ERRORS_RETURN)
                if order.engines != self.living:
                    groups.begin(fresh, order.engines)
                communicators.replace_world(fresh, order.engines, order.epoch)
                self.places = [self.places[self.living.index(engine)] for engine in order.engines]
                self.living = order.engines
            except (MPI.Exception, EngineDied) as e:
                log.warning("the communicator could not be made: %s", e)
                return messages.CommunicatorsMade(order.epoch, str(e))
        log.info("comm has %d engines, and this one is rank %d of it", fresh.size, fresh.rank)
        return messages.CommunicatorsMade(order.epoch)

    def join(self, order: messages.PrepareCommunicators) -> messages.ReadyToJoin | messages.CommunicatorsMade:
        """Get ready to make all communicators with engines that arrive."""
        self._joining = order
        with worlds.limited():
            try:
                self._meet(order.living, order.epoch)
            except (MPI.Exception, EngineDied) as e:
                return messages.CommunicatorsMade(order.epoch, str(e))
        return messages.ReadyToJoin(order.epoch)

    def grow(self) -> messages.CommunicatorsMade:
        """Make them; they are used from `commit` on."""
        order = self._joining
        with worlds.limited():
            try:
                communicators.revoke_abandoned()
                ranks = [0, *self._ranks(order.living)]
                members = worlds.living(self.private, ranks, self.ulfm, order.epoch)
                me = self._members[self.private.rank - 1] + 1
                world = worlds.grown(members, order.port, me)
                made = groups.make(world.engines, order.engines)
                places = environment.gather(world.engines)
                base, hidden = world.engines.Dup(), communicators.make_object_comm(world.engines)
                self._prepared = _Prepared(world, made, places, base, hidden)
            except MPI.Exception as e:
                log.warning("the communicators could not be made: %s", e)
                return messages.CommunicatorsMade(order.epoch, str(e))
        return messages.CommunicatorsMade(order.epoch)

    def commit(self) -> World:
        """Use them; returns them."""
        made, order = self._prepared, self._joining
        self.private, self.base = made.world.private, made.base
        self.living, self._members = order.engines, order.engines
        self.places = made.places
        groups.use(made.groups)
        communicators.replace_world(made.world.engines, order.engines, order.epoch, made.hidden)
        log.info("engines came: comm has %d, and this one is rank %d of it", self.comm.size, self.comm.rank)
        return made.world

    def _ranks(self, engines: Sequence[int]) -> list[int]:
        """Their ranks in the private communicator."""
        return [self._members.index(engine) + 1 for engine in engines]

    def _meet(self, engines: Sequence[int], epoch: int) -> None:
        """Wait until all are here: after that they live, but for who dies in the next millisecond.

        The death of a member while a communicator is made hangs the others (MPICH) or crashes them (Open
        MPI). A round of messages can be left.
        """
        ranks = self._ranks(engines)
        me, n = ranks.index(self.private.rank), len(ranks)
        tag = _MEETING + epoch % worlds.TAGS
        living = set(engines)
        step = 1
        while step < n:
            requests = [
                self.private.Irecv(bytearray(1), ranks[(me - step) % n], tag),
                self.private.Isend(b"1", ranks[(me + step) % n], tag),
            ]
            if not bulk_data.wait(requests, lambda: not living.isdisjoint(mpi_state.dead_engines)):
                keep(requests)
                raise EngineDied(f"engine {min(living & mpi_state.dead_engines)} died meanwhile")
            step *= 2

    def _fresh(self, order: messages.RepairCommunicator) -> MPI.Intracomm:
        ranks = [self._members.index(engine) for engine in order.engines]
        return worlds.living(self.base, ranks, self.ulfm, order.epoch)


def update(names: dict[str, Any], namespace: dict[str, Any], fresh: dict[str, Any]) -> None:
    """Set ``rank``, ``size`` and so on to what they are now, unless the user uses these names otherwise."""
    for name, value in fresh.items():
        if namespace.get(name) is names[name] or namespace.get(name) == names[name]:
            namespace[name] = value
        names[name] = value
