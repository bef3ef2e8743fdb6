"""Collectives between engines, on names in their namespaces. No data goes through the controller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from ...errors import CollectiveError
from ...protocol.collective import Collective
from .. import interrupts
from ..mpi import groups
from ..mpi.groups import forget_communicators
from ..mpi.watched_communicator import FAILURE_CLASSES
from .data_movement import DATA_MOVEMENTS
from .joining import gather
from .reductions import REDUCTIONS
from .rendezvous import AGAIN, Proposal, Rendezvous

__all__ = ["forget_communicators", "run"]


def barrier(rendezvous: Rendezvous) -> None:
    """Wait until all engines take part."""
    rendezvous.agree(Proposal, moves_data=False)


COLLECTIVES: dict[str, Callable[[Rendezvous], Any]] = {
    "barrier": barrier,
    "gather": gather,
    **DATA_MOVEMENTS,
    **REDUCTIONS,
}


def run(namespace: dict[str, Any], shared: Any) -> Any:
    """Take part in a collective call; return this engine's value for the client.

    Parameters
    ----------
    namespace : dict
        The namespace of user code.
    shared : tuple
        The fields of a `Collective`, which describes the call.
    """
    call = Collective(*shared)
    with interrupts.held():
        rendezvous = Rendezvous(groups.current(), call, namespace)
        try:
            return COLLECTIVES[call.kind](rendezvous)
        except BaseException as e:
            # Held again: the block that admitted an interrupt may have left the signal unblocked.
            with interrupts.held():
                rendezvous.leave(e)
            if isinstance(e, MPI.Exception) and e.Get_error_class() in FAILURE_CLASSES:
                raise CollectiveError(
                    f"{rendezvous.title} was not completed: an engine died. {AGAIN}"
                ) from None
            raise
        finally:
            rendezvous.close()
