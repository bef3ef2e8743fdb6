"""The communicators that user code sees: watched, so that an engine that is stuck in one can be got out.

`comm` and ``MPI.COMM_WORLD`` are one object of a subclass of mpi4py's, and what user code makes from it
(`Dup`, `Split`, `Create_cart`, …) is watched as well.  While the main thread is in one of their blocking
calls, the control thread can see in which (`here`), and make it come back (`leave`).
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

from mpi4py import MPI

log = logging.getLogger(__name__)

REASON_WITHIN = 1.0  # seconds in which it must be known why a communicator can't be used

# What blocks until others do their part.
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
    """A communicator can't be used any more: an engine was interrupted in it, or died."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code)
        self.text = text

    def __str__(self) -> str:
        return self.text


class MPIState:
    """Where the main thread is, as far as MPI is concerned; the control thread reads it."""

    def __init__(self) -> None:
        self.at: tuple[WatchedCommunicator, str] | None = None  # the blocking call that it is in
        self.world: WatchedCommunicator
        self.engine = -1  # the id of this engine
        self.left = ""  # why the communicator of all engines can't be used; empty: it can
        self.lost = ""  # the same, if an engine died
        self.dead: set[int] = set()  # engines that are known to have died
        self.epoch = 0  # of that communicator: how often it has been made anew
        self.lock = threading.Lock()  # held while the above change together
        self.pending = False  # an interrupt came during that call, and is raised at its end
        self.running: Callable[[], bool] = lambda: True  # whether user code runs
        self.interrupted: Callable[[], bool] = lambda: False  # whether one is due: then it is taken
        self.known: WeakValueDictionary[int, WatchedCommunicator] = WeakValueDictionary()


here = MPIState()


if TYPE_CHECKING:
    _Mixin = MPI.Intracomm
else:
    _Mixin = object


class WatchedCommunicator(_Mixin):
    """What our communicators have beyond mpi4py's: a mixin."""

    left = ""  # why it can't be used any more
    untold = False  # whether MPI is still to be told of that
    hidden: Any = None  # mpi4py's duplicate for lowercase collectives
    engines: tuple[int, ...] = ()  # the ids of its members, by rank
    wrap: Callable[..., Any]  # makes a blocking method of MPI's into one that can be left

    def _leave(self, why: str) -> None:
        """Make it unusable, and whoever is in it come back; called by the control thread, too."""
        raise NotImplementedError

    def _is_revoked(self) -> bool:
        """Whether MPI has been told that it can't be used any more."""
        return False

    def _tell(self) -> None:
        """Tell MPI, if that is still to be done; called by the main thread."""

    def _failed(self, error: MPI.Exception) -> BaseException:
        """What to raise for an error of MPI: the same, or what is behind it."""
        gone = error.Get_error_class() in GONE or self._is_revoked()  # it may say something else then
        deadline = time.monotonic() + REASON_WITHIN
        while gone and not self.left and time.monotonic() < deadline:
            time.sleep(0.001)  # MPI is faster than who tells why, or interrupts this engine as well
        if here.interrupted():  # whatever MPI says: it came back because of that
            return KeyboardInterrupt()
        if not self.left and not gone:
            return error
        if self is here.world and not here.left:
            here.left = self.left or "an engine died, or was interrupted in it"
        return CommunicatorLost(error.Get_error_code(), self._explanation())

    def _explanation(self) -> str:
        why = self.left or "an engine died, or was interrupted in it"
        if self is here.world:
            return f"comm can't be used now: {why}. It is made anew as soon as no engine runs a task."
        return f"this communicator can't be used any more: {why}. Make a new one from comm."

    def _forget(self) -> None:
        if self == here.world:
            raise MPI.Exception(MPI.ERR_COMM)  # as with MPI's own
        here.known.pop(id(self), None)

    def Free(self) -> None:
        self._forget()
        super().Free()

    def free(self) -> None:
        if self == here.world:  # as MPI's own, it stays; another object with its handle lets go of it
            if self is not here.world:
                ctypes.memmove(MPI._addressof(self), MPI._addressof(MPI.COMM_NULL), MPI._sizeof(MPI.Comm))
            return
        self._forget()
        super().free()

    def Get_attr(self, keyval: int) -> Any:
        """What is attached to it; MPI's own attributes are attached to the world below Python alone."""
        found = super().Get_attr(keyval)
        if found is None and self is here.world and keyval in PREDEFINED:
            found = _real[0].Get_attr(keyval)
        return found

    def Disconnect(self) -> None:
        self._forget()
        super().Disconnect()

    def Abort(self, errorcode: int = 0) -> NoReturn:
        """End this engine, and no other."""
        print(f"comm.Abort({errorcode})", file=sys.__stderr__, flush=True)
        os._exit(errorcode & 0xFF or 1)

    def __reduce__(self) -> Any:
        return (_world, ()) if self is here.world else super().__reduce__()


_ERRORS = ("ERR_REVOKED", "ERR_PROC_FAILED", "ERR_PROC_FAILED_PENDING")
GONE = tuple(getattr(MPI, name) for name in _ERRORS if hasattr(MPI, name))  # mpi4py has them since version 4


def _world() -> WatchedCommunicator:
    return here.world


def marked(method: Callable[..., Any]) -> Callable[..., Any]:
    """A blocking method that shows where the main thread is, and explains its errors."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        failure = result = None
        here.at = self, name
        self._tell()
        try:
            result = method(self, *args, **kwargs)
        except MPI.Exception as e:
            failure = e
        finally:
            here.at = None
        if here.pending:
            here.pending = False
            raise KeyboardInterrupt
        if failure is not None:
            raise self._failed(failure) from None
        return result

    return call


def creating(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that makes a communicator: that is watched, too."""
    call = marked(method)

    @functools.wraps(method)
    def create(self: Any, *args: Any, **kwargs: Any) -> Any:
        return adopt(self, call(self, *args, **kwargs))

    return create


class RevocableCommunicator(WatchedCommunicator):
    """With fault tolerance in MPI: blocking calls are MPI's own, and `Revoke` ends them."""

    wrap = staticmethod(marked)

    def _is_revoked(self) -> bool:
        return self.Is_revoked() or (self.hidden is not None and self.hidden.Is_revoked())

    def _leave(self, why: str) -> None:
        self.left = self.left or why
        self.untold = True
        if here.running():  # else nobody is in it, and the main thread tells before it is used again:
            self._tell()  # Open MPI's TCP deadlocks when two threads use it just after a peer has died

    def _tell(self) -> None:
        if not self.untold:
            return
        self.untold = False
        both = [MPI.Comm.Revoke, RevocableCommunicator._revoke_hidden]
        at = here.at
        if at is not None and at[0] is self and at[1].islower() and at[1] in COLLECTIVE:
            both.reverse()  # first the one that is in use: see `rouse`
        for revoke in both:
            revoke(self)

    def _revoke_hidden(self) -> None:
        if self.hidden is not None:
            self.hidden.Revoke()


for _name in (*POINT_TO_POINT, *COLLECTIVE):
    setattr(RevocableCommunicator, _name, marked(getattr(MPI.Intracomm, _name)))
for _name in CREATION:
    setattr(WatchedCommunicator, _name, creating(getattr(MPI.Intracomm, _name)))
setattr(WatchedCommunicator, "Sub", creating(MPI.Cartcomm.Sub))  # noqa: B010  (mypy knows no such method of Intracomm)

_kinds: dict[type[MPI.Comm], type[Any]] = {}


def begin(engines: MPI.Intracomm, ids: list[int], mixin: type[WatchedCommunicator], epoch: int) -> Any:
    """Make `engines` the communicator of all engines for user code, with what `mixin` can.

    ``MPI.COMM_WORLD`` becomes that object, and where mpi4py itself holds on to its own, that one's handle is
    replaced: the real one includes the controller, so each collective on it would wait for ever.
    """
    for base in (MPI.Intracomm, MPI.Cartcomm, MPI.Graphcomm, MPI.Distgraphcomm):
        methods: dict[str, Any] = {"__module__": MPI.__name__}  # C extensions look at that
        if issubclass(base, MPI.Topocomm):
            methods.update({name: mixin.wrap(getattr(base, name)) for name in NEIGHBOURS})
        _kinds[base] = type(base.__name__, (mixin, base), methods)
    here.world = _kinds[MPI.Intracomm](engines)
    _real.append(MPI.Intracomm(MPI.COMM_WORLD))  # the handle before it is replaced
    _handles.append(MPI.COMM_WORLD)
    _handles.append(here.world)
    MPI.COMM_WORLD = here.world  # type: ignore[misc]
    MPI.Finalize = _nothing
    install(engines, ids, epoch)
    return here.world


def _nothing() -> None:
    """In the place of ``MPI.Finalize``: programs end by it, and the engine needs MPI afterwards."""


_real: list[MPI.Intracomm] = []  # the world below Python
_handles: list[MPI.Comm] = []
_alarms: list[MPI.Intracomm] = []  # what `rouse` revokes: nobody else uses them
_ALARMS = 4  # that are kept ready


def install(engines: MPI.Intracomm, ids: list[int], epoch: int, hidden: MPI.Comm | None = None) -> None:
    """Put a new communicator of all engines, with what `hide` made, into the same objects as the old one."""
    hidden = hidden or hide(engines)
    world = here.world
    if isinstance(world, RevocableCommunicator):  # only this thread makes communicators
        _alarms.extend(MPI.COMM_SELF.Dup() for _ in range(_ALARMS - len(_alarms)))
    with here.lock:
        for target in _handles:
            ctypes.memmove(MPI._addressof(target), MPI._addressof(engines), MPI._sizeof(MPI.Comm))
        world.hidden, world.engines = hidden, tuple(ids)
        world.left = here.left = here.lost = ""
        world.untold = False
        here.dead.difference_update(ids)
        here.epoch = epoch


def hide(engines: MPI.Intracomm) -> MPI.Comm:
    """mpi4py's duplicate for lowercase collectives: all members call this together, and equally often.

    mpi4py would make it later, with the GIL held meanwhile.  It chooses tags by how often it was asked.
    """
    hidden: MPI.Comm = MPI._commctx_intra(engines)[0]
    hidden.Set_errhandler(MPI.ERRORS_RETURN)
    return hidden


def tell() -> None:
    """Tell MPI of all communicators that can't be used any more; called by the main thread."""
    for comm in [*here.known.values(), here.world]:
        comm._tell()


def give_up_world() -> None:
    """Have calls on the world below Python end: those of C code too, which holds Python's lock perhaps.

    One engine that is free does it for all of them.  That world can't be used any more.
    """
    if isinstance(here.world, RevocableCommunicator):
        log.warning("the world below Python is given up: engines are stuck in it")
        _real[0].Revoke()


def rouse() -> None:
    """Have the main thread look again whether what it waits for in MPI has been revoked.

    Open MPI wakes whoever waits when something is revoked.  Who was woken for another communicator a moment
    ago, and is about to wait again, can miss it, and waits for ever.
    """
    if _alarms:
        _alarms.pop().Revoke()


def adopt(parent: WatchedCommunicator, made: Any) -> Any:
    """Watch a communicator that was made from `parent`; all its members come here together."""
    if not isinstance(made, MPI.Intracomm) or made == MPI.COMM_NULL:
        return made
    if not isinstance(made, WatchedCommunicator):
        made = _kinds[type(made)](made)
    if isinstance(made, RevocableCommunicator):
        made.hidden = MPI._commctx_intra(made)[0]
    mine, theirs = made.Get_group(), parent.Get_group()
    ranks = MPI.Group.Translate_ranks(mine, range(mine.size), theirs)  # also mpi4py 3.1's
    made.engines = tuple(parent.engines[rank] if rank >= 0 else -1 for rank in ranks)
    mine.Free()
    theirs.Free()
    here.known[id(made)] = made
    return made


def leave(why: str, epoch: int, dead: int = -1) -> None:
    """Nobody can use the communicator of all engines any more, nor those with `dead` in them."""
    with here.lock:
        if dead >= 0:
            here.dead.add(dead)
            for comm in list(here.known.values()):
                if dead in comm.engines and not comm.left:
                    comm._leave(why)
        if epoch < here.epoch:  # that one has been replaced already
            return
        here.left = here.left or why
        if dead >= 0:
            here.lost = here.lost or why
        if not here.world.left:
            here.world._leave(why)


def leave_this(comm: WatchedCommunicator, epoch: int, why: str) -> None:
    """Nobody can use this communicator any more."""
    if comm is here.world:
        leave(why, epoch)
    elif not comm.left:
        comm._leave(why)


def leave_everything(epoch: int, why: str) -> None:
    """Nobody can use any communicator that user code may be stuck in."""
    for comm in [*here.known.values(), here.world]:
        leave_this(comm, epoch, why)
