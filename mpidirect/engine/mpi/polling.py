"""Blocking calls that can be interrupted with any MPI: non-blocking ones, tested until they are done.

Where MPI has no `Revoke`, nothing ends a blocking call from outside.  So there is none: while one waits
here, an interrupt, or the news that an engine died, is seen between two tests.  What was begun then stays
begun: its request and buffers are kept, and the communicator is left behind.
"""

from __future__ import annotations

import functools
import itertools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from ...arrays.lazy_numpy import np
from .communicators import abandon
from .watched_communicator import CommunicatorLost, WatchedCommunicator, mpi_state

_EAGER, _YIELDING = 100, 400  # tests in a row without a pause, and with a yield
_SHORT, _LONG = 50e-6, 1e-3  # seconds of the pauses after them

_begun: list[MPI.Request] = []  # what was left in the middle: a request keeps its buffers
_ROOM = 64
_room = _ROOM  # when that is looked through next


def until(
    comm: PolledCommunicator, name: str, done: Callable[[], Any], requests: Sequence[MPI.Request] = ()
) -> Any:
    """Test until `done` returns something; leave on an interrupt, or when the communicator is lost.

    Whatever it ends with, `requests` that have not ended are kept.
    """
    tests = 0
    try:
        while not (found := done()):
            if mpi_state.interrupt_pending or comm.unusable_reason:
                if not mpi_state.interrupt_pending:
                    raise CommunicatorLost(MPI.ERR_COMM, comm._explanation())
                abandon(comm, mpi_state.epoch, f"engine {mpi_state.engine} was interrupted in its {name}")
                raise KeyboardInterrupt
            tests += 1
            if tests > _EAGER:
                if tests > _YIELDING:
                    time.sleep(_SHORT if tests < 2 * _YIELDING else _LONG)
                else:
                    os.sched_yield()
    except BaseException:
        keep(requests)
        raise
    finally:
        mpi_state.interrupt_pending = False
    return found


def keep(requests: Sequence[MPI.Request]) -> None:
    """Keep what nobody will wait for, with its buffers, until it ends: MPI may still use them."""
    global _room
    _begun.extend(requests)
    if len(_begun) > _room:
        _begun[:] = [request for request in _begun if not _ended(request)]
        _room = max(_ROOM, 2 * len(_begun))


def _ended(request: MPI.Request) -> bool:
    try:
        return request.Test()
    except MPI.Exception:
        return False  # who knows


def polled(method: Callable[..., Any]) -> Callable[..., Any]:
    """A blocking method, made of its non-blocking twin."""
    name = method.__name__
    if name in _OF_NEIGHBOURS:
        return composed(_OF_NEIGHBOURS[name])
    begin = getattr(MPI.Topocomm, f"I{name.lower()}", None)
    if begin is None:
        return method

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        with self._at(name):
            request = begin(self, *args, **kwargs)
            until(self, name, request.Test, [request])

    return call


class _At:
    """Shows where the main thread is; interrupts wait for `until` meanwhile."""

    def __init__(self, comm: PolledCommunicator, name: str) -> None:
        self.comm, self.name = comm, name

    def __enter__(self) -> None:
        self.comm._must_be_usable()
        self.outer = mpi_state.blocking_call
        if self.outer is None:
            mpi_state.blocking_call = self.comm, self.name

    def __exit__(self, *_: object) -> None:
        if self.outer is not None:
            return
        mpi_state.blocking_call = None
        if mpi_state.interrupt_pending:  # it came too late for the wait
            mpi_state.interrupt_pending = False
            raise KeyboardInterrupt


def composed(method: Callable[..., Any]) -> Callable[..., Any]:
    """A collective that is made of others."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._at(method.__name__):
            return method(self, *args, **kwargs)

    return call


def neighbor_allgather(self: Any, sendobj: Any) -> list[Any]:
    """The object of each neighbour; None where there is no neighbour."""
    data = MPI.pickle.dumps(sendobj)
    sizes = np.zeros(self.indegree, np.int64)
    self.Neighbor_allgather(np.array([len(data)], np.int64), sizes)
    room = bytearray(int(sizes.sum()))
    self.Neighbor_allgatherv([data, MPI.BYTE], [room, sizes.tolist(), MPI.BYTE])
    return _parts(room, sizes)


def neighbor_alltoall(self: Any, sendobj: Any) -> list[Any]:
    """The object that each neighbour has for this engine; None where there is no neighbour."""
    pickled = [MPI.pickle.dumps(item) for item in _items(sendobj, self.outdegree)]
    going = np.array([len(p) for p in pickled], np.int64)
    coming = np.zeros(self.indegree, np.int64)
    self.Neighbor_alltoall(going, coming)
    room = bytearray(int(coming.sum()))
    self.Neighbor_alltoallv([b"".join(pickled), going.tolist(), MPI.BYTE], [room, coming.tolist(), MPI.BYTE])
    return _parts(room, coming)


_OF_NEIGHBOURS = {each.__name__: each for each in (neighbor_allgather, neighbor_alltoall)}


class PolledCommunicator(WatchedCommunicator):
    """Without fault tolerance in MPI: blocking calls are made of non-blocking ones."""

    def _at(self, name: str) -> _At:
        return _At(self, name)

    def _abandon(self, reason: str) -> None:
        self.unusable_reason = self.unusable_reason or reason
        if self is mpi_state.world and not mpi_state.unusable_reason:
            mpi_state.unusable_reason = reason

    def _must_be_usable(self) -> None:
        if self.unusable_reason:
            raise CommunicatorLost(MPI.ERR_COMM, self._explanation())

    make_interruptible = staticmethod(polled)

    # -- point to point ---------------------------------------------------------------------------------

    def Recv(
        self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Any = None
    ) -> None:
        with self._at("Recv"):
            request = MPI.Intracomm.Irecv(self, buf, source, tag)
            until(self, "Recv", lambda: request.Test(status), [request])

    def Sendrecv(
        self,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: Any = None,
    ) -> None:
        with self._at("Sendrecv"):
            coming = MPI.Intracomm.Irecv(self, recvbuf, source, recvtag)
            going = MPI.Intracomm.Isend(self, sendbuf, dest, sendtag)
            until(self, "Sendrecv", lambda: coming.Test(status), [coming, going])
            until(self, "Sendrecv", going.Test, [going])

    def Probe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Any = None) -> Any:
        with self._at("Probe"):
            return until(self, "Probe", lambda: self.Iprobe(source, tag, status))

    def Mprobe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Any = None) -> Any:
        with self._at("Mprobe"):
            return until(self, "Mprobe", lambda: self.Improbe(source, tag, status))

    def probe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Any = None) -> Any:
        return self.Probe(source, tag, status)

    def mprobe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Any = None) -> Any:
        with self._at("mprobe"):
            return until(self, "mprobe", lambda: self.improbe(source, tag, status))

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        with self._at("send"):
            request = MPI.Intracomm.isend(self, obj, dest, tag)
            until(self, "send", request.Test, [request])

    def ssend(self, obj: Any, dest: int, tag: int = 0) -> None:
        with self._at("ssend"):
            request = MPI.Intracomm.issend(self, obj, dest, tag)
            until(self, "ssend", request.Test, [request])

    def recv(
        self,
        buf: Any = None,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: Any = None,
    ) -> Any:
        if source == MPI.PROC_NULL:
            return MPI.Intracomm.recv(self, buf, source, tag, status)
        with self._at("recv"):
            message = until(self, "recv", lambda: self.improbe(source, tag))
            return self._received("recv", message, status)

    def _received(self, name: str, message: Any, status: Any, others: Sequence[MPI.Request] = ()) -> Any:
        """What a message brings: whose sender may have left in the middle of it."""
        request = message.irecv()

        def done() -> Any:
            ended, received = request.test(status)
            return (received,) if ended else None

        return until(self, name, done, [request, *others])[0]

    def sendrecv(
        self,
        sendobj: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: Any = None,
    ) -> Any:
        with self._at("sendrecv"):
            going = MPI.Intracomm.isend(self, sendobj, dest, sendtag)
            message = None
            if source != MPI.PROC_NULL:
                message = until(self, "sendrecv", lambda: self.improbe(source, recvtag), [going])
            received = None
            if message is not None:
                received = self._received("sendrecv", message, status, [going])
            until(self, "sendrecv", going.Test, [going])
            return received

    # -- collectives of Python objects: their sizes first, then their pickles -----------------------------

    @composed
    def barrier(self) -> None:
        self.Barrier()

    @composed
    def bcast(self, obj: Any, root: int = 0) -> Any:
        here_is_root = self.Get_rank() == root
        data: Any = MPI.pickle.dumps(obj) if here_is_root else b""
        size = np.array([len(data)], np.int64)
        self.Bcast(size, root)
        if not here_is_root:
            data = bytearray(int(size[0]))
        self.Bcast([data, MPI.BYTE], root)
        return obj if here_is_root else MPI.pickle.loads(data)

    @composed
    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        is_root = self.Get_rank() == root
        data = MPI.pickle.dumps(sendobj)
        sizes = np.empty(self.Get_size(), np.int64) if is_root else None
        self.Gather(np.array([len(data)], np.int64), sizes, root)
        room = None if sizes is None else bytearray(int(sizes.sum()))
        self.Gatherv([data, MPI.BYTE], None if sizes is None else [room, sizes.tolist(), MPI.BYTE], root)
        return None if sizes is None else _parts(room, sizes)

    @composed
    def allgather(self, sendobj: Any) -> list[Any]:
        data = MPI.pickle.dumps(sendobj)
        sizes = np.empty(self.Get_size(), np.int64)
        self.Allgather(np.array([len(data)], np.int64), sizes)
        room = bytearray(int(sizes.sum()))
        self.Allgatherv([data, MPI.BYTE], [room, sizes.tolist(), MPI.BYTE])
        return _parts(room, sizes)

    @composed
    def scatter(self, sendobj: Any, root: int = 0) -> Any:
        size = self.Get_size()
        data, sizes = b"", None
        if self.Get_rank() == root:
            pickled = [MPI.pickle.dumps(item) for item in _items(sendobj, size)]
            data, sizes = b"".join(pickled), np.array([len(p) for p in pickled], np.int64)
        mine = np.empty(1, np.int64)
        self.Scatter(sizes, mine, root)
        room = bytearray(int(mine[0]))
        self.Scatterv(None if sizes is None else [data, sizes.tolist(), MPI.BYTE], [room, MPI.BYTE], root)
        return MPI.pickle.loads(room)

    @composed
    def alltoall(self, sendobj: Any) -> list[Any]:
        size = self.Get_size()
        pickled = [MPI.pickle.dumps(item) for item in _items(sendobj, size)]
        going = np.array([len(p) for p in pickled], np.int64)
        coming = np.empty(size, np.int64)
        self.Alltoall(going, coming)
        room = bytearray(int(coming.sum()))
        self.Alltoallv([b"".join(pickled), going.tolist(), MPI.BYTE], [room, coming.tolist(), MPI.BYTE])
        return _parts(room, coming)

    @composed
    def reduce(self, sendobj: Any, op: Any = MPI.SUM, root: int = 0) -> Any:
        gathered = self.gather(sendobj, root)
        return None if gathered is None else functools.reduce(op, gathered)

    @composed
    def allreduce(self, sendobj: Any, op: Any = MPI.SUM) -> Any:
        return functools.reduce(op, self.allgather(sendobj))

    @composed
    def scan(self, sendobj: Any, op: Any = MPI.SUM) -> Any:
        rank = self.Get_rank()
        return functools.reduce(op, self.allgather(sendobj)[: rank + 1])

    @composed
    def exscan(self, sendobj: Any, op: Any = MPI.SUM) -> Any:
        before = self.allgather(sendobj)[: self.Get_rank()]
        return functools.reduce(op, before) if before else None


for _name in (
    *("Send", "Ssend", "Rsend", "Barrier", "Bcast", "Gather", "Gatherv", "Scatter", "Scatterv"),
    *("Allgather", "Allgatherv", "Alltoall", "Alltoallv", "Alltoallw", "Reduce", "Allreduce"),
    *("Reduce_scatter_block", "Reduce_scatter", "Scan", "Exscan"),
):
    setattr(PolledCommunicator, _name, polled(getattr(MPI.Intracomm, _name)))


def _items(sendobj: Any, size: int) -> list[Any]:
    items = list(sendobj)
    if len(items) != size:
        raise ValueError(f"expecting {size} items, got {len(items)}")
    return items


def _parts(room: Any, sizes: np.ndarray) -> list[Any]:
    ends = list(itertools.accumulate(sizes.tolist()))
    view = memoryview(room)
    return [
        MPI.pickle.loads(view[end - size : end]) if size else None  # nothing comes from MPI.PROC_NULL
        for size, end in zip(sizes.tolist(), ends, strict=True)
    ]
