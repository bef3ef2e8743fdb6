"""reduce, allreduce, scan and exscan: by MPI if it has the operation for the type, else along a chain."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

from ...arrays import kinds
from ...protocol.frames import Frame
from ...serialize import pickles
from .. import interrupts
from . import arrays, operators, staging
from .data_movement import empty, receive_objects, send_object
from .rendezvous import Proposal, Rendezvous


class Reduction:
    """The part of one engine in a reduction."""

    def __init__(self, rendezvous: Rendezvous) -> None:
        self.rendezvous = rendezvous
        self.kind = rendezvous.call.kind
        self.value: Any = None
        self.array_kind: kinds.Kind | None = None  # The kind of an array that moves by buffer.
        self.dtype: np.dtype | None = None  # The type of its elements, if numpy has the type.
        self.combine: operators.Combine = operators.combine("sum")
        self.mpi_op: MPI.Op | None = None

    def describe(self) -> Proposal:
        """Return the proposal of this engine."""
        rendezvous, op = self.rendezvous, self.rendezvous.call.option
        self.value = value = rendezvous.value()
        proposal = Proposal(form=kinds.form_of(value), must_match="object")
        named = isinstance(op, str)
        self.combine = operators.combine(op) if named else pickles.loads(op)
        kind = self.array_kind = kinds.of(value)
        if kind is not None and named:
            text = kind.dtype(value)
            proposal.must_match = f"{kind.name}{text}{tuple(value.shape)}"
            self.dtype = kind.numpy_dtype(text)
            if self.dtype is not None:
                operators.check(op, self.dtype)
                self.mpi_op = operators.mpi_op(op, self.dtype)
                out = rendezvous.call.out
                same = out == rendezvous.call.name or rendezvous.namespace.get(out) is value
                proposal.in_place = same and kind.can_hold(value)
        elif isinstance(value, np.ndarray) and named:
            operators.check(op, value.dtype)
            proposal.must_match = f"{type(value).__name__}{value.dtype!r}{value.shape}"
        if op in ("maxloc", "minloc"):
            self.value = operators.with_location(value, rendezvous.engine)
        elif not named:
            proposal.must_match = ""  # A callable may accept different values.
        return proposal

    def run(self) -> None:
        """Take part in the reduction."""
        proposals = self.rendezvous.agree(self.describe)
        if self.mpi_op is not None and self.array_kind is not None and self.dtype is not None:
            in_place = all(proposal.in_place for proposal in proposals)
            self._by_mpi(self.mpi_op, self.array_kind, self.dtype, in_place)
        else:
            self._along_chain()

    # -- by MPI -------------------------------------------------------------------------------------

    def _by_mpi(self, op: MPI.Op, kind: kinds.Kind, dtype: np.dtype, all_in_place: bool) -> None:
        rendezvous, value = self.rendezvous, self.value
        at_root = self.kind != "reduce" or rendezvous.position == rendezvous.root
        source = target = kind.flat(value)
        result = value if all_in_place and self.kind in ("allreduce", "scan") else None
        if result is None:
            result = self._existing_target(kind, source) if at_root else None
            target = None if not at_root else kind.empty(len(source), value)
            if result is not None:
                target = kind.flat(result)
        operation = _MPIReduction(rendezvous, self.kind, op, MPI._typedict[dtype.char])
        begun = operation.begin(kind, dtype.itemsize, source, target)
        rendezvous.complete(begun, value, result, source, target)
        rendezvous.finished()
        if self.kind == "exscan" and rendezvous.position == 0:
            rendezvous.assign(None)
        elif at_root:
            if result is None:
                result = kind.shaped(target, kind.dtype(value), tuple(value.shape))
            rendezvous.assign(result)

    def _existing_target(self, kind: kinds.Kind, source: Any) -> Any:
        """Return the array that already has the result's name, if the result can be written into it."""
        value = self.value
        existing: Any = self.rendezvous.namespace.get(self.rendezvous.call.out)
        if (
            kinds.of(existing) is kind
            and existing.dtype == value.dtype
            and existing.shape == value.shape
            and kind.can_hold(existing)
            and not kind.overlap(kind.flat(existing), source)
        ):
            return existing
        return None

    # -- along a chain ---------------------------------------------------------------------------------

    def _along_chain(self) -> None:
        """Combine the previous engine's result with this engine's value, and send it to the next engine.

        So values are combined in the order of the engines, a callable is called n - 1 times in total, and no
        engine needs memory for more than two values.
        """
        rendezvous, kind = self.rendezvous, self.kind
        position, last = rendezvous.position, rendezvous.size - 1
        before = after = None
        if position:
            (before,) = receive_objects(rendezvous, [position - 1])
        if position < last or kind != "exscan":
            with interrupts.admitted():
                after = self.combine(before, self.value) if position else self.value
        if position < last:
            send_object(rendezvous, after, position + 1)
        result = before if kind == "exscan" else after
        if kind == "reduce" and position == last != rendezvous.root:
            send_object(rendezvous, after, rendezvous.root)
        if kind == "reduce" and position == rendezvous.root != last:
            (result,) = receive_objects(rendezvous, [last])
        else:
            rendezvous.complete([])
        if kind == "allreduce":
            result = _bcast_object(rendezvous, after, last)
        rendezvous.finished()
        if kind != "reduce" or position == rendezvous.root:
            alias = result is self.value and rendezvous.call.out != rendezvous.call.name
            rendezvous.assign(copy.deepcopy(result) if alias else result)


def _bcast_object(rendezvous: Rendezvous, value: Any, root: int) -> Any:
    """Return the root's object on every engine, if only the root knows the size."""
    is_root = rendezvous.position == root
    frames: list[Frame] = []
    if is_root:
        with interrupts.admitted():
            frames = pickles.dumps(value)
    count = np.array([len(frames)], np.int64)
    rendezvous.complete([rendezvous.comm.Ibcast(count, root)], count)
    sizes = np.array([len(frame) for frame in frames] or [0] * int(count[0]), np.int64)
    rendezvous.complete([rendezvous.comm.Ibcast(sizes, root)], sizes)
    buffers = frames if is_root else empty(sizes.tolist())
    rendezvous.complete(arrays.bcast(rendezvous.comm, buffers, root), *buffers)
    if is_root:
        return value
    with interrupts.admitted():
        return pickles.loads(buffers)


class _MPIReduction:
    """A reduction by MPI, of bytes that are elements of a type."""

    def __init__(self, rendezvous: Rendezvous, kind: str, op: MPI.Op, datatype: MPI.Datatype) -> None:
        self._comm = rendezvous.comm
        self._root = rendezvous.root if kind == "reduce" else None
        self._at_root = self._root in (None, rendezvous.position)
        self._kind, self._op, self._type = kind, op, datatype

    def begin(self, kind: kinds.Kind, itemsize: int, source: Any, target: Any) -> list[arrays.Operation]:
        """Begin to reduce `source` to `target`: flat bytes, perhaps the same; only a root needs `target`."""
        if staging.through_host(kind):
            return [staging.StagedTransfer(kind, self._steps(itemsize, source, target))]
        kind.synchronize()
        step = arrays.PIECE * itemsize
        cuts = [slice(start, start + step) for start in range(0, len(source), step)]
        same = target is source
        return [
            self._begin_piece(None if same else source[cut], None if target is None else target[cut])
            for cut in cuts
        ]

    def _steps(self, itemsize: int, source: Any, target: Any) -> Iterator[staging.TransferStep]:
        """Reduce through the host: each piece in place in its buffer."""
        for cut in staging.spans(len(source), itemsize):
            part = source[cut]
            put = None if target is None else target[cut]
            yield staging.TransferStep(len(part), self._begin_in_place, part, put)

    def _begin_in_place(self, piece: np.ndarray) -> MPI.Request:
        return self._begin_piece(None, piece) if self._at_root else self._begin_piece(piece, None)

    def _begin_piece(self, source: Any, target: Any) -> MPI.Request:
        """Begin one operation; in place, if there is no source."""
        comm, op = self._comm, self._op
        send = MPI.IN_PLACE if source is None else [source, self._type]
        receive: Any = None if target is None else [target, self._type]
        if self._kind == "allreduce":
            return comm.Iallreduce(send, receive, op)
        if self._root is not None:
            return comm.Ireduce(send, receive, op, self._root)
        return (comm.Iscan if self._kind == "scan" else comm.Iexscan)(send, receive, op)


def reduction(rendezvous: Rendezvous) -> None:
    """Combine the values of all engines."""
    Reduction(rendezvous).run()


REDUCTIONS = dict.fromkeys(("reduce", "allreduce", "scan", "exscan"), reduction)
