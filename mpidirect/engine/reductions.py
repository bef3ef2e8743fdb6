"""reduce, allreduce, scan and exscan: by MPI where it knows operation and type, else along a chain."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

from ..wire import pickles
from . import arrays, interrupts, operators
from .meeting import Meeting, Offer
from .moves import empty, receive_objects, send_object


class Reduction:
    """One engine's part in a reduction."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.kind = meeting.ask.kind
        self.value: Any = None
        self.combine: operators.Combine = operators.combine("sum")
        self.mpi: MPI.Op | None = None

    def describe(self) -> Offer:
        """What this engine offers."""
        meeting, op = self.meeting, self.meeting.ask.option
        self.value = value = meeting.value()
        offer = Offer(form=arrays.form_of(value), must_match="object")
        named = isinstance(op, str)
        self.combine = operators.combine(op) if named else pickles.loads(op)
        if isinstance(value, np.ndarray) and named:
            operators.check(op, value.dtype)
            offer.must_match = f"{type(value).__name__}{value.dtype!r}{value.shape}"
            if arrays.moves_by_buffer(value):
                self.mpi = operators.mpi_op(op, value.dtype)
                same = meeting.ask.out == meeting.ask.name or meeting.namespace.get(meeting.ask.out) is value
                offer.in_place = same and value.flags.c_contiguous and value.flags.writeable
        if op in ("maxloc", "minloc"):
            self.value = operators.with_location(value, meeting.engine)
        elif not named:
            offer.must_match = ""  # what a callable takes is its own affair
        return offer

    def run(self) -> None:
        """Take part."""
        offers = self.meeting.agree(self.describe)
        if self.mpi is not None:
            self._by_mpi(self.mpi, all(offer.in_place for offer in offers))
        else:
            self._along_chain()

    # -- by MPI -------------------------------------------------------------------------------------

    def _by_mpi(self, op: MPI.Op, all_in_place: bool) -> None:
        meeting, comm, kind = self.meeting, self.meeting.comm, self.kind
        at_root = kind != "reduce" or meeting.position == meeting.root
        in_place = all_in_place and kind in ("allreduce", "scan")
        value = self.value if in_place else np.ascontiguousarray(self.value).reshape(self.value.shape)
        result = value if in_place else self._room() if at_root else None
        for piece in _pieces(value.size):
            send = MPI.IN_PLACE if in_place else value.reshape(-1)[piece]
            receive: Any = None if result is None else result.reshape(-1)[piece]
            if kind == "allreduce":
                request = comm.Iallreduce(send, receive, op)
            elif kind == "reduce":
                request = comm.Ireduce(send, receive, op, meeting.root)
            elif kind == "scan":
                request = comm.Iscan(send, receive, op)
            else:
                request = comm.Iexscan(send, receive, op)
            meeting.begin([request], value, result)
        meeting.complete([])
        meeting.finished()
        if kind == "exscan" and meeting.position == 0:
            meeting.assign(None)
        elif at_root:
            meeting.assign(result)

    def _room(self) -> np.ndarray:
        """Where the result goes: the array that has its name already, if it fits, else a new one."""
        value, there = self.value, self.meeting.namespace.get(self.meeting.ask.out)
        if (
            type(there) is np.ndarray
            and there.dtype == value.dtype
            and there.shape == value.shape
            and there.flags.c_contiguous
            and there.flags.writeable
            and not np.may_share_memory(there, value)
        ):
            return there
        return np.empty(value.shape, value.dtype)

    # -- along a chain ---------------------------------------------------------------------------------

    def _along_chain(self) -> None:
        """Each engine combines what comes from the one before it with its own, and passes it on.

        So the order is that of the engines, a callable is called n - 1 times in all, and nobody needs memory
        for more than two values.
        """
        meeting, me, last, kind = self.meeting, self.meeting.position, self.meeting.size - 1, self.kind
        before = after = None
        if me:
            (before,) = receive_objects(meeting, [me - 1])
        if me < last or kind != "exscan":
            with interrupts.admitted():
                after = self.combine(before, self.value) if me else self.value
        if me < last:
            send_object(meeting, after, me + 1)
        result = before if kind == "exscan" else after
        if kind == "reduce" and me == last != meeting.root:
            send_object(meeting, after, meeting.root)
        if kind == "reduce" and me == meeting.root != last:
            (result,) = receive_objects(meeting, [last])
        else:
            meeting.complete([])
        if kind == "allreduce":
            result = _share(meeting, after, last)
        meeting.finished()
        if kind != "reduce" or me == meeting.root:
            alias = result is self.value and meeting.ask.out != meeting.ask.name
            meeting.assign(copy.deepcopy(result) if alias else result)


def _share(meeting: Meeting, value: Any, root: int) -> Any:
    """The root's object on every engine, when only the root knows how large it is."""
    is_root = meeting.position == root
    frames: list[Any] = []
    if is_root:
        with interrupts.admitted():
            frames = pickles.dumps(value)
    count = np.array([len(frames)], np.int64)
    meeting.complete([meeting.comm.Ibcast(count, root)], count)
    sizes = np.array([len(frame) for frame in frames] or [0] * int(count[0]), np.int64)
    meeting.complete([meeting.comm.Ibcast(sizes, root)], sizes)
    buffers = frames if is_root else empty(sizes.tolist())
    meeting.complete(arrays.bcast(meeting.comm, buffers, root), *buffers)
    if is_root:
        return value
    with interrupts.admitted():
        return pickles.loads(buffers)


def _pieces(count: int) -> Iterator[slice]:
    """So many elements, cut to what one operation can take; nothing of nothing."""
    return (slice(start, start + arrays.PIECE) for start in range(0, count, arrays.PIECE))


def reduction(meeting: Meeting) -> None:
    """Combine everyone's values."""
    Reduction(meeting).run()


REDUCTIONS = dict.fromkeys(("reduce", "allreduce", "scan", "exscan"), reduction)
