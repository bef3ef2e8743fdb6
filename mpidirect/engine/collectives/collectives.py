"""The collectives between engines, on names in their namespaces; no byte goes through the controller."""

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
from .data_movement import MOVES
from .reductions import REDUCTIONS
from .rendezvous import AGAIN, Proposal, Rendezvous

__all__ = ["forget_communicators", "run"]


def barrier(meeting: Rendezvous) -> None:
    """Wait until all engines are here."""
    meeting.agree(Proposal, moves_data=False)


KINDS: dict[str, Callable[[Rendezvous], None]] = {"barrier": barrier, **MOVES, **REDUCTIONS}


def run(namespace: dict[str, Any], shared: Any) -> None:
    """Take part in a collective call.

    Parameters
    ----------
    namespace : dict
        Where the names live.
    shared : tuple
        The fields of a `Collective`.
    """
    ask = Collective(*shared)
    with interrupts.held():
        meeting = Rendezvous(groups.current(), ask, namespace)
        try:
            KINDS[ask.kind](meeting)
        except BaseException as e:
            with interrupts.held():  # again: what let it in may have left the door open
                meeting.leave(e)
            if isinstance(e, MPI.Exception) and e.Get_error_class() in FAILURE_CLASSES:
                raise CollectiveError(f"{meeting.title} was not completed: an engine died. {AGAIN}") from None
            raise
        finally:
            meeting.close()
