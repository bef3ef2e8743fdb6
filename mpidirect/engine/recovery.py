"""How the engines get a communicator of all of them again, when one of them died or was interrupted in it."""

from __future__ import annotations

import faulthandler
import logging
from typing import Any, cast

from mpi4py import MPI

from ..wire import messages
from . import communicators, data, groups, requests
from .communicators import here
from .polling import Polled, keep

log = logging.getLogger(__name__)

LONGEST = 20.0  # seconds of a repair: an engine that is stuck for longer, in MPI, ends
# Tags that nothing else has on the private communicator: in Open MPI, Create_group shares them with messages.
_CREATING, _MEETING, _TAGS = 20_000, 30_000, 2_000


class EngineDied(Exception):
    """An engine died while it was to take part in a repair."""


class Recovery:
    """Makes the communicator of all engines, again and again; only the main thread uses it.

    Parameters
    ----------
    world : World
        The communicators of the job.
    ulfm : bool
        Whether MPI can shrink a communicator that has lost members.
    """

    def __init__(self, world: Any, ulfm: bool) -> None:
        self.ulfm = ulfm
        self.private = world.private
        self.living = list(range(world.engines.size))
        # Shrink needs a communicator to begin with: one that user code can neither free nor use.
        self.base = world.engines.Dup() if ulfm else MPI.COMM_NULL
        mixin = communicators.Revocable if ulfm else Polled
        requests.begin()
        self.comm = communicators.begin(world.engines, self.living, mixin)

    @property
    def untouched(self) -> bool:
        """Whether nothing has ever gone wrong with MPI here, so that it can be finalized."""
        return not here.epoch and not here.left

    def repair(self, order: messages.Repair) -> messages.Repaired:
        """Make a new communicator of the engines that live; they all do it together."""
        # Making a communicator can't be interrupted: should an engine die just now, this one must not hang.
        faulthandler.dump_traceback_later(LONGEST, exit=True)
        try:
            self._meet(order)
            fresh = self._fresh(order)
            if fresh.size != len(order.engines):
                return messages.Repaired(order.epoch, f"MPI finds {fresh.size} engines alive")
            fresh.Set_errhandler(MPI.ERRORS_RETURN)
            if order.engines != self.living:
                groups.begin(fresh, order.engines)
            communicators.install(fresh, order.engines, order.epoch)
            self.living = order.engines
        except (MPI.Exception, EngineDied) as e:
            log.warning("the communicator could not be made: %s", e)
            return messages.Repaired(order.epoch, str(e))
        finally:
            faulthandler.cancel_dump_traceback_later()
        log.info("comm has %d engines, and this one is rank %d of it", fresh.size, fresh.rank)
        return messages.Repaired(order.epoch)

    def _meet(self, order: messages.Repair) -> None:
        """Wait until all are here: after that they live, but for who dies in the next millisecond.

        The death of a member while a communicator is made hangs the others (MPICH) or crashes them (Open
        MPI). A round of messages can be left.
        """
        ranks = [engine + 1 for engine in order.engines]
        me, n = ranks.index(self.private.rank), len(ranks)
        tag = _MEETING + order.epoch % _TAGS
        living = set(order.engines)
        step = 1
        while step < n:
            requests = [
                self.private.Irecv(bytearray(1), ranks[(me - step) % n], tag),
                self.private.Isend(b"1", ranks[(me + step) % n], tag),
            ]
            if not data.wait(requests, lambda: not living.isdisjoint(here.dead)):
                keep(requests)
                raise EngineDied(f"engine {min(living & here.dead)} died meanwhile")
            step *= 2

    def _fresh(self, order: messages.Repair) -> MPI.Intracomm:
        if self.ulfm:
            return cast(MPI.Intracomm, self.base.Shrink())
        everyone = self.private.Get_group()
        chosen = everyone.Incl([engine + 1 for engine in order.engines])
        try:
            return self.private.Create_group(chosen, _CREATING + order.epoch % _TAGS)
        finally:
            chosen.Free()
            everyone.Free()


def update(names: dict[str, Any], namespace: dict[str, Any]) -> None:
    """Set ``rank`` and ``size`` to what they are now, unless the user uses these names for something else."""
    for name, value in (("rank", here.world.Get_rank()), ("size", here.world.Get_size())):
        if namespace.get(name) is names[name] or namespace.get(name) == names[name]:
            namespace[name] = value
        names[name] = value
