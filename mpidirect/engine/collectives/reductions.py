"""reduce, allreduce, scan and exscan: by MPI where it knows operation and type, else along a chain."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

from ...arrays import kinds
from ...serialize import pickles
from .. import interrupts
from . import arrays, operators, staging
from .data_movement import empty, receive_objects, send_object
from .rendezvous import Proposal, Rendezvous


class Reduction:
    """One engine's part in a reduction."""

    def __init__(self, meeting: Rendezvous) -> None:
        self.meeting = meeting
        self.kind = meeting.ask.kind
        self.value: Any = None
        self.array_kind: kinds.Kind | None = None  # the value's, where it moves by buffer
        self.dtype: np.dtype | None = None  # of its elements, if numpy has that
        self.combine: operators.Combine = operators.combine("sum")
        self.mpi: MPI.Op | None = None

    def describe(self) -> Proposal:
        """What this engine offers."""
        meeting, op = self.meeting, self.meeting.ask.option
        self.value = value = meeting.value()
        offer = Proposal(form=kinds.form_of(value), must_match="object")
        named = isinstance(op, str)
        self.combine = operators.combine(op) if named else pickles.loads(op)
        kind = self.array_kind = kinds.of(value)
        if kind is not None and named:
            text = kind.dtype(value)
            offer.must_match = f"{kind.name}{text}{tuple(value.shape)}"
            self.dtype = kind.numpy_dtype(text)
            if self.dtype is not None:
                operators.check(op, self.dtype)
                self.mpi = operators.mpi_op(op, self.dtype)
                same = meeting.ask.out == meeting.ask.name or meeting.namespace.get(meeting.ask.out) is value
                offer.in_place = same and kind.can_hold(value)
        elif isinstance(value, np.ndarray) and named:
            operators.check(op, value.dtype)
            offer.must_match = f"{type(value).__name__}{value.dtype!r}{value.shape}"
        if op in ("maxloc", "minloc"):
            self.value = operators.with_location(value, meeting.engine)
        elif not named:
            offer.must_match = ""  # what a callable takes is its own affair
        return offer

    def run(self) -> None:
        """Take part."""
        offers = self.meeting.agree(self.describe)
        if self.mpi is not None and self.array_kind is not None and self.dtype is not None:
            in_place = all(offer.in_place for offer in offers)
            self._by_mpi(self.mpi, self.array_kind, self.dtype, in_place)
        else:
            self._along_chain()

    # -- by MPI -------------------------------------------------------------------------------------

    def _by_mpi(self, op: MPI.Op, kind: kinds.Kind, dtype: np.dtype, all_in_place: bool) -> None:
        meeting, value = self.meeting, self.value
        at_root = self.kind != "reduce" or meeting.position == meeting.root
        source = target = kind.flat(value)
        result = value if all_in_place and self.kind in ("allreduce", "scan") else None
        if result is None:
            result = self._there(kind, source) if at_root else None
            target = None if not at_root else kind.empty(len(source), value)
            if result is not None:
                target = kind.flat(result)
        operation = _Operation(meeting, self.kind, op, MPI._typedict[dtype.char])
        begun = operation.begin(kind, dtype.itemsize, source, target)
        meeting.complete(begun, value, result, source, target)
        meeting.finished()
        if self.kind == "exscan" and meeting.position == 0:
            meeting.assign(None)
        elif at_root:
            if result is None:
                result = kind.shaped(target, kind.dtype(value), tuple(value.shape))
            meeting.assign(result)

    def _there(self, kind: kinds.Kind, source: Any) -> Any:
        """The array that has the result's name already, if the result can be written to it."""
        value = self.value
        there: Any = self.meeting.namespace.get(self.meeting.ask.out)
        if (
            kinds.of(there) is kind
            and there.dtype == value.dtype
            and there.shape == value.shape
            and kind.can_hold(there)
            and not kind.overlap(kind.flat(there), source)
        ):
            return there
        return None

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


def _share(meeting: Rendezvous, value: Any, root: int) -> Any:
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


class _Operation:
    """One of MPI's reductions, of bytes that are elements of a type."""

    def __init__(self, meeting: Rendezvous, kind: str, op: MPI.Op, datatype: MPI.Datatype) -> None:
        self._comm = meeting.comm
        self._root = meeting.root if kind == "reduce" else None
        self._at_root = self._root in (None, meeting.position)
        self._kind, self._op, self._type = kind, op, datatype

    def begin(self, kind: kinds.Kind, itemsize: int, source: Any, target: Any) -> list[arrays.Operation]:
        """Reduce `source`, flat bytes, to `target`, which may be the same; only a root needs it."""
        if staging.through_host(kind):
            return [staging.StagedTransfer(kind, self._steps(itemsize, source, target))]
        kind.synchronize()
        step = arrays.PIECE * itemsize
        cuts = [slice(start, start + step) for start in range(0, len(source), step)]
        same = target is source
        return [
            self._one(None if same else source[cut], None if target is None else target[cut]) for cut in cuts
        ]

    def _steps(self, itemsize: int, source: Any, target: Any) -> Iterator[staging.TransferStep]:
        """Through the host: each piece is reduced in its place there."""
        for cut in staging.spans(len(source), itemsize):
            part = source[cut]
            put = None if target is None else target[cut]
            yield staging.TransferStep(len(part), self._in_its_place, part, put)

    def _in_its_place(self, piece: np.ndarray) -> MPI.Request:
        return self._one(None, piece) if self._at_root else self._one(piece, None)

    def _one(self, source: Any, target: Any) -> MPI.Request:
        """One operation; without a source in place."""
        comm, op = self._comm, self._op
        send = MPI.IN_PLACE if source is None else [source, self._type]
        receive: Any = None if target is None else [target, self._type]
        if self._kind == "allreduce":
            return comm.Iallreduce(send, receive, op)
        if self._root is not None:
            return comm.Ireduce(send, receive, op, self._root)
        return (comm.Iscan if self._kind == "scan" else comm.Iexscan)(send, receive, op)


def reduction(meeting: Rendezvous) -> None:
    """Combine everyone's values."""
    Reduction(meeting).run()


REDUCTIONS = dict.fromkeys(("reduce", "allreduce", "scan", "exscan"), reduction)
