"""A communicator for MPI without fault tolerance: its blocking calls poll non-blocking operations."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from mpi4py import MPI

from ...arrays.lazy_numpy import np
from .polling import poll_until
from .watched_communicator import CommunicatorLost, WatchedCommunicator, mpi_state

Status = MPI.Status | None


def polled(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a blocking method that polls the non-blocking operation of the same name."""
    name = method.__name__
    if name in _NEIGHBOUR_COLLECTIVES:
        return composed(_NEIGHBOUR_COLLECTIVES[name])
    begin = getattr(MPI.Topocomm, f"I{name.lower()}", None)
    if begin is None:
        return method

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> None:
        with self._blocking_call(name):
            request = begin(self, *args, **kwargs)
            poll_until(self, name, request.Test, [request])

    return call


class _BlockingCall:
    """Shows the control thread the call of the main thread; `poll_until` raises interrupts."""

    def __init__(self, comm: PolledCommunicator, name: str) -> None:
        self.comm, self.name = comm, name

    def __enter__(self) -> None:
        self.comm._check_usable()
        self.outer = mpi_state.blocking_call
        if self.outer is None:
            mpi_state.blocking_call = self.comm, self.name

    def __exit__(self, *_: object) -> None:
        if self.outer is not None:
            return
        mpi_state.blocking_call = None
        if mpi_state.interrupt_pending:  # The interrupt came after the last test.
            mpi_state.interrupt_pending = False
            raise KeyboardInterrupt


def composed(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a collective that consists of other collectives, and counts as one call."""

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._blocking_call(method.__name__):
            return method(self, *args, **kwargs)

    return call


def neighbor_allgather(self: Any, sendobj: Any) -> list[Any]:
    """Return the object of each neighbour; None where there is no neighbour."""
    data = MPI.pickle.dumps(sendobj)
    sizes = np.zeros(self.indegree, np.int64)
    self.Neighbor_allgather(np.array([len(data)], np.int64), sizes)
    received = bytearray(int(sizes.sum()))
    self.Neighbor_allgatherv([data, MPI.BYTE], [received, sizes.tolist(), MPI.BYTE])
    return _unpickled(received, sizes)


def neighbor_alltoall(self: Any, sendobj: Any) -> list[Any]:
    """Return the object that each neighbour has for this engine; None where there is no neighbour."""
    pickled = [MPI.pickle.dumps(item) for item in _items(sendobj, self.outdegree)]
    sent = np.array([len(p) for p in pickled], np.int64)
    incoming = np.zeros(self.indegree, np.int64)
    self.Neighbor_alltoall(sent, incoming)
    received = bytearray(int(incoming.sum()))
    self.Neighbor_alltoallv(
        [b"".join(pickled), sent.tolist(), MPI.BYTE], [received, incoming.tolist(), MPI.BYTE]
    )
    return _unpickled(received, incoming)


_NEIGHBOUR_COLLECTIVES = {each.__name__: each for each in (neighbor_allgather, neighbor_alltoall)}


class PolledCommunicator(WatchedCommunicator):
    """A communicator whose blocking calls can be left between two tests."""

    make_interruptible = staticmethod(polled)

    def _blocking_call(self, name: str) -> _BlockingCall:
        return _BlockingCall(self, name)

    def _abandon(self, reason: str) -> None:
        self.unusable_reason = self.unusable_reason or reason
        if self is mpi_state.world and not mpi_state.unusable_reason:
            mpi_state.unusable_reason = reason

    def _check_usable(self) -> None:
        if self.unusable_reason:
            raise CommunicatorLost(MPI.ERR_COMM, self._explanation())

    # -- point to point ---------------------------------------------------------------------------------

    def Recv(
        self, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Status = None
    ) -> None:
        with self._blocking_call("Recv"):
            request = MPI.Intracomm.Irecv(self, buf, source, tag)
            poll_until(self, "Recv", lambda: request.Test(status), [request])

    def Sendrecv(
        self,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: Status = None,
    ) -> None:
        with self._blocking_call("Sendrecv"):
            incoming = MPI.Intracomm.Irecv(self, recvbuf, source, recvtag)
            sent = MPI.Intracomm.Isend(self, sendbuf, dest, sendtag)
            poll_until(self, "Sendrecv", lambda: incoming.Test(status), [incoming, sent])
            poll_until(self, "Sendrecv", sent.Test, [sent])

    def Probe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Status = None) -> Any:
        with self._blocking_call("Probe"):
            return poll_until(self, "Probe", lambda: self.Iprobe(source, tag, status))

    def Mprobe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Status = None) -> Any:
        with self._blocking_call("Mprobe"):
            return poll_until(self, "Mprobe", lambda: self.Improbe(source, tag, status))

    def probe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Status = None) -> Any:
        return self.Probe(source, tag, status)

    def mprobe(self, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG, status: Status = None) -> Any:
        with self._blocking_call("mprobe"):
            return poll_until(self, "mprobe", lambda: self.improbe(source, tag, status))

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        with self._blocking_call("send"):
            request = MPI.Intracomm.isend(self, obj, dest, tag)
            poll_until(self, "send", request.Test, [request])

    def ssend(self, obj: Any, dest: int, tag: int = 0) -> None:
        with self._blocking_call("ssend"):
            request = MPI.Intracomm.issend(self, obj, dest, tag)
            poll_until(self, "ssend", request.Test, [request])

    def recv(
        self,
        buf: Any = None,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: Status = None,
    ) -> Any:
        if source == MPI.PROC_NULL:
            return MPI.Intracomm.recv(self, buf, source, tag, status)
        with self._blocking_call("recv"):
            message = poll_until(self, "recv", lambda: self.improbe(source, tag))
            return self._received("recv", message, status)

    def _received(self, name: str, message: Any, status: Any, others: Sequence[MPI.Request] = ()) -> Any:
        """Receive a matched message; its sender may have left while it sent the message."""
        request = message.irecv()

        def test() -> Any:
            ended, received = request.test(status)
            return (received,) if ended else None

        return poll_until(self, name, test, [request, *others])[0]

    def sendrecv(
        self,
        sendobj: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: Status = None,
    ) -> Any:
        with self._blocking_call("sendrecv"):
            sent = MPI.Intracomm.isend(self, sendobj, dest, sendtag)
            message = None
            if source != MPI.PROC_NULL:
                message = poll_until(self, "sendrecv", lambda: self.improbe(source, recvtag), [sent])
            received = None
            if message is not None:
                received = self._received("sendrecv", message, status, [sent])
            poll_until(self, "sendrecv", sent.Test, [sent])
            return received

    # -- collectives of Python objects: first the sizes of the pickles, then the pickles --------------

    @composed
    def barrier(self) -> None:
        self.Barrier()

    @composed
    def bcast(self, obj: Any, root: int = 0) -> Any:
        is_root = self.Get_rank() == root
        data: Any = MPI.pickle.dumps(obj) if is_root else b""
        size = np.array([len(data)], np.int64)
        self.Bcast(size, root)
        if not is_root:
            data = bytearray(int(size[0]))
        self.Bcast([data, MPI.BYTE], root)
        return obj if is_root else MPI.pickle.loads(data)

    @composed
    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        is_root = self.Get_rank() == root
        data = MPI.pickle.dumps(sendobj)
        sizes = np.empty(self.Get_size(), np.int64) if is_root else None
        self.Gather(np.array([len(data)], np.int64), sizes, root)
        received = None if sizes is None else bytearray(int(sizes.sum()))
        self.Gatherv([data, MPI.BYTE], None if sizes is None else [received, sizes.tolist(), MPI.BYTE], root)
        return None if sizes is None else _unpickled(received, sizes)

    @composed
    def allgather(self, sendobj: Any) -> list[Any]:
        data = MPI.pickle.dumps(sendobj)
        sizes = np.empty(self.Get_size(), np.int64)
        self.Allgather(np.array([len(data)], np.int64), sizes)
        received = bytearray(int(sizes.sum()))
        self.Allgatherv([data, MPI.BYTE], [received, sizes.tolist(), MPI.BYTE])
        return _unpickled(received, sizes)

    @composed
    def scatter(self, sendobj: Any, root: int = 0) -> Any:
        size = self.Get_size()
        data, sizes = b"", None
        if self.Get_rank() == root:
            pickled = [MPI.pickle.dumps(item) for item in _items(sendobj, size)]
            data, sizes = b"".join(pickled), np.array([len(p) for p in pickled], np.int64)
        own_size = np.empty(1, np.int64)
        self.Scatter(sizes, own_size, root)
        received = bytearray(int(own_size[0]))
        self.Scatterv(None if sizes is None else [data, sizes.tolist(), MPI.BYTE], [received, MPI.BYTE], root)
        return MPI.pickle.loads(received)

    @composed
    def alltoall(self, sendobj: Any) -> list[Any]:
        size = self.Get_size()
        pickled = [MPI.pickle.dumps(item) for item in _items(sendobj, size)]
        sent = np.array([len(p) for p in pickled], np.int64)
        incoming = np.empty(size, np.int64)
        self.Alltoall(sent, incoming)
        received = bytearray(int(incoming.sum()))
        self.Alltoallv([b"".join(pickled), sent.tolist(), MPI.BYTE], [received, incoming.tolist(), MPI.BYTE])
        return _unpickled(received, incoming)

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
    """Return the items of `sendobj`, one for each rank."""
    items = list(sendobj)
    if len(items) != size:
        raise ValueError(f"expecting {size} items, got {len(items)}")
    return items


def _unpickled(received: Any, sizes: np.ndarray) -> list[Any]:
    ends = list(itertools.accumulate(sizes.tolist()))
    view = memoryview(received)
    return [
        MPI.pickle.loads(view[end - size : end]) if size else None  # MPI.PROC_NULL sends nothing.
        for size, end in zip(sizes.tolist(), ends, strict=True)
    ]
