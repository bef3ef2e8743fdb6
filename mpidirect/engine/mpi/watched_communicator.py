"""The communicators that user code sees. They are watched, so that a stuck engine can leave the call.

`comm` and ``MPI.COMM_WORLD`` are one object of a subclass of mpi4py's. The communicators that user code makes
from it (`Dup`, `Split`, `Create_cart`, …) are watched as well. While the main thread is in a blocking call,
the control thread sees the call in `mpi_state`, and ends it by abandoning the communicator
(`communicators.abandon`).
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

from mpi4py import MPI

REASON_TIMEOUT = 1.0  # Seconds that an error waits for the reason why the communicator is abandoned.

# Methods that block until other engines call the same method.
POINT_TO_POINT = (
    *("Send", "Bsend", "Ssend", "Rsend", "Recv", "Sendrecv", "Sendrecv_replace", "Probe", "Mprobe"),
    *("send", "bsend", "ssend", "recv", "sendrecv", "probe", "mprobe"),
)
COLLECTIVE = (
    *("Barrier", "Bcast", "Gather", "Gatherv", "Scatter", "Scatterv", "Allgather", "Allgatherv"),
    *("Alltoall", "Alltoallv", "Alltoallw", "Reduce", "Allreduce", "Reduce_scatter_block", "Reduce_scatter"),
    *("Scan", "Exscan", "barrier", "bcast", "gather", "scatter", "allgather", "alltoall"),
    *("reduce", "allreduce", "scan", "exscan"),
)
NEIGHBOURS = (
    *("Neighbor_allgather", "Neighbor_allgatherv", "Neighbor_alltoall", "Neighbor_alltoallv"),
    *("Neighbor_alltoallw", "neighbor_allgather", "neighbor_alltoall"),
)
CREATION = (
    *("Clone", "Dup", "Dup_with_info", "Split", "Split_type", "Create", "Create_group", "Create_cart"),
    *("Create_graph", "Create_dist_graph", "Create_dist_graph_adjacent"),
)

PREDEFINED = (MPI.TAG_UB, MPI.IO, MPI.WTIME_IS_GLOBAL, MPI.UNIVERSE_SIZE, MPI.APPNUM, MPI.LASTUSEDCODE)


class CommunicatorLost(MPI.Exception):
    """A communicator can't be used any more: an engine was interrupted in a call on it, or died.

    Parameters
    ----------
    code : int
        MPI's error code.
    text : str
        The error text.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code)
        self.text = text

    def __str__(self) -> str:
        return self.text


class MPIState:
    """The state of MPI on this engine, which both threads use.

    Attributes
    ----------
    blocking_call : tuple or None
        The communicator and the name of the blocking call that the main thread is in.
    world : WatchedCommunicator
        `comm`, the communicator of all engines.
    engine : int
        The id of this engine.
    unusable_reason : str
        Why `comm` can't be used; empty if it can.
    death_reason : str
        The same, if the reason is the death of an engine.
    dead_engines : set of int
        The ids of engines that are known to have died.
    epoch : int
        How often `comm` was made anew.
    lock : Lock
        Held while the attributes above change together.
    interrupt_pending : bool
        Whether an interrupt came during the blocking call. It is raised when the call ends.
    user_code_runs : callable
        Returns whether user code runs.
    take_interrupt : callable
        Returns whether an interrupt is due, and marks the interrupt as taken.
    c_world : MPI.Intracomm
        The ``MPI_COMM_WORLD`` of C code, which may include the controller.
    c_world_loss : str
        Why that communicator can't be used any more; empty if it can.
    derived : mapping
        The communicators that user code has made, by the ids of the objects.
    """

    def __init__(self) -> None:
        self.blocking_call: tuple[WatchedCommunicator, str] | None = None
        self.world: WatchedCommunicator
        self.c_world: MPI.Intracomm
        self.c_world_loss = ""
        self.engine = -1
        self.unusable_reason = ""
        self.death_reason = ""
        self.dead_engines: set[int] = set()
        self.epoch = 0
        self.lock = threading.Lock()
        self.interrupt_pending = False
        self.user_code_runs: Callable[[], bool] = lambda: True
        self.take_interrupt: Callable[[], bool] = lambda: False
        self.derived: WeakValueDictionary[int, WatchedCommunicator] = WeakValueDictionary()

    def lose_c_world(self, reason: str) -> None:
        """Note why C code can't use ``MPI_COMM_WORLD`` any more; the first reason stays."""
        self.c_world_loss = self.c_world_loss or reason


mpi_state = MPIState()


if TYPE_CHECKING:
    _Mixin = MPI.Intracomm
else:
    _Mixin = object


class WatchedCommunicator(_Mixin):
    """A mixin: the additions of the engine's communicators to mpi4py's."""

    unusable_reason = ""  # Why the communicator was abandoned; empty if it can be used.
    must_revoke = False  # Whether MPI must still be told that the communicator was abandoned.
    object_comm: Any = None  # mpi4py's duplicate for collectives of Python objects (lowercase methods).
    engines: tuple[int, ...] = ()  # The ids of the members, by rank.
    make_interruptible: Callable[..., Any]  # Changes a blocking method of MPI so that the call can be left.

    def _abandon(self, reason: str) -> None:
        """Make this communicator unusable, and end calls on it; the control thread calls this, too."""
        raise NotImplementedError

    def _is_revoked(self) -> bool:
        """Return whether MPI knows that this communicator can't be used."""
        return False

    def _revoke_if_abandoned(self) -> None:
        """Tell MPI that this communicator was abandoned, if MPI does not know yet (main thread)."""

    def _translate(self, error: MPI.Exception) -> BaseException:
        """Return the exception for an error of MPI: the same error, or its cause."""
        is_lost = (
            error.Get_error_class() in FAILURE_CLASSES or self._is_revoked()
        )  # Other classes also occur.
        deadline = time.monotonic() + REASON_TIMEOUT
        while is_lost and not self.unusable_reason and time.monotonic() < deadline:
            time.sleep(0.001)  # MPI is faster than the message with the reason, and faster than an interrupt.
        if mpi_state.take_interrupt():  # The call has ended because of the interrupt.
            return KeyboardInterrupt()
        if not self.unusable_reason and not is_lost:
            return error
        if self is mpi_state.world and not mpi_state.unusable_reason:
            mpi_state.unusable_reason = self.unusable_reason or _UNKNOWN_REASON
        return CommunicatorLost(error.Get_error_code(), self._explanation())

    def _explanation(self) -> str:
        reason = self.unusable_reason or _UNKNOWN_REASON
        if self is mpi_state.world:
            return f"comm can't be used now: {reason}. It is made anew as soon as no engine runs a task."
        return f"this communicator can't be used any more: {reason}. Make a new one from comm."

    def _stop_watching(self) -> None:
        if self == mpi_state.world:
            raise MPI.Exception(MPI.ERR_COMM)  # As MPI does for its world.
        mpi_state.derived.pop(id(self), None)

    def Free(self) -> None:
        self._stop_watching()
        super().Free()

    def free(self) -> None:
        # The world stays, while another object with the same handle becomes null.
        if self == mpi_state.world:
            if self is not mpi_state.world:
                ctypes.memmove(MPI._addressof(self), MPI._addressof(MPI.COMM_NULL), MPI._sizeof(MPI.Comm))
            return
        self._stop_watching()
        super().free()

    def Get_attr(self, keyval: int) -> Any:
        """Return an attribute; MPI's predefined attributes belong to the ``MPI_COMM_WORLD`` of C code."""
        found = super().Get_attr(keyval)
        if found is None and self is mpi_state.world and keyval in PREDEFINED:
            found = mpi_state.c_world.Get_attr(keyval)
        return found

    def Disconnect(self) -> None:
        self._stop_watching()
        super().Disconnect()

    def Abort(self, errorcode: int = 0) -> NoReturn:
        """End this engine, and no other."""
        print(f"comm.Abort({errorcode})", file=sys.__stderr__, flush=True)
        os._exit(errorcode & 0xFF or 1)

    def __reduce__(self) -> Any:
        return (_world, ()) if self is mpi_state.world else super().__reduce__()


_UNKNOWN_REASON = "an engine died, or was interrupted in it"
_FAILURES = ("ERR_REVOKED", "ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING")
FAILURE_CLASSES = tuple(getattr(MPI, name) for name in _FAILURES if hasattr(MPI, name))  # Since mpi4py 4.


def _world() -> WatchedCommunicator:
    return mpi_state.world


def watched_call(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a blocking method that shows the control thread the call of the main thread."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        failure = result = None
        mpi_state.blocking_call = self, name
        self._revoke_if_abandoned()
        try:
            result = method(self, *args, **kwargs)
        except MPI.Exception as e:
            failure = e
        finally:
            mpi_state.blocking_call = None
        if mpi_state.interrupt_pending:
            mpi_state.interrupt_pending = False
            raise KeyboardInterrupt
        if failure is not None:
            raise self._translate(failure) from None
        return result

    return call


def _watched_creation(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that makes a communicator, and watches it."""
    call = watched_call(method)

    @functools.wraps(method)
    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        return watch(self, call(self, *args, **kwargs))

    return create


class RevocableCommunicator(WatchedCommunicator):
    """A communicator of a fault-tolerant MPI: blocking calls are MPI's, and `Revoke` ends them."""

    make_interruptible = staticmethod(watched_call)

    def _is_revoked(self) -> bool:
        return self.Is_revoked() or (self.object_comm is not None and self.object_comm.Is_revoked())

    def _abandon(self, reason: str) -> None:
        self.unusable_reason = self.unusable_reason or reason
        self.must_revoke = True
        # If no user code runs, no thread is in a call, and the main thread revokes before the next use: Open
        # MPI's TCP deadlocks if two threads use it just after a peer has died.
        if mpi_state.user_code_runs():
            self._revoke_if_abandoned()

    def _revoke_if_abandoned(self) -> None:
        if not self.must_revoke:
            return
        self.must_revoke = False
        revokes = [MPI.Comm.Revoke, RevocableCommunicator._revoke_object_comm]
        call = mpi_state.blocking_call
        if call is not None and call[0] is self and call[1].islower() and call[1] in COLLECTIVE:
            revokes.reverse()  # First the communicator of the call: see `communicators.wake_blocked_call`.
        for revoke in revokes:
            revoke(self)

    def _revoke_object_comm(self) -> None:
        if self.object_comm is not None:
            self.object_comm.Revoke()


for _name in (*POINT_TO_POINT, *COLLECTIVE):
    setattr(RevocableCommunicator, _name, watched_call(getattr(MPI.Intracomm, _name)))
for _name in CREATION:
    setattr(WatchedCommunicator, _name, _watched_creation(getattr(MPI.Intracomm, _name)))
# mypy knows no such method of Intracomm.
setattr(WatchedCommunicator, "Sub", _watched_creation(MPI.Cartcomm.Sub))  # noqa: B010

watched_classes: dict[type[MPI.Comm], type[Any]] = {}  # By mpi4py's class.


def make_watched_classes(mixin: type[WatchedCommunicator]) -> None:
    """Make a class of watched communicators for each class of mpi4py's."""
    for base in (MPI.Intracomm, MPI.Cartcomm, MPI.Graphcomm, MPI.Distgraphcomm):
        methods: dict[str, Any] = {"__module__": MPI.__name__}  # C extensions look at this.
        if issubclass(base, MPI.Topocomm):
            methods.update({name: mixin.make_interruptible(getattr(base, name)) for name in NEIGHBOURS})
        watched_classes[base] = type(base.__name__, (mixin, base), methods)


def watch(parent: WatchedCommunicator, made: Any) -> Any:
    """Watch a communicator that was made from `parent`; all its members call this together."""
    if not isinstance(made, MPI.Intracomm) or made == MPI.COMM_NULL:
        return made
    if not isinstance(made, WatchedCommunicator):
        made = watched_classes[type(made)](made)
    if isinstance(made, RevocableCommunicator):
        made.object_comm = MPI._commctx_intra(made)[0]
    own_group, parent_group = made.Get_group(), parent.Get_group()
    # This form of the call also works with mpi4py 3.1.
    ranks = MPI.Group.Translate_ranks(own_group, range(own_group.size), parent_group)
    made.engines = tuple(parent.engines[rank] if rank >= 0 else -1 for rank in ranks)
    own_group.Free()
    parent_group.Free()
    mpi_state.derived[id(made)] = made
    return made
