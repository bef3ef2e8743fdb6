"""Collectives that move data: arrays by buffer, straight into the result; other values by pickle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mpi4py import MPI

from ...arrays import kinds
from ...arrays.joining import join
from ...arrays.partition import bounds
from ...protocol.frames import Frame
from ...serialize import pickles
from .. import interrupts
from . import arrays
from .rendezvous import Proposal, Rendezvous

SIZES_TAG = 1  # The tag of messages with the sizes of a pickle's frames.
DATA_TAG = 2  # The tag of messages with data.


# -- objects ------------------------------------------------------------------------------------------


def send_object(rendezvous: Rendezvous, value: Any, to: int) -> None:
    """Begin to send an object, whose large buffers are not copied."""
    with interrupts.admitted():
        frames = pickles.dumps(value)
    sizes = np.array([len(frame) for frame in frames], np.int64)
    rendezvous.begin([rendezvous.comm.Isend(sizes, to, SIZES_TAG)], sizes)
    for frame in frames:
        rendezvous.begin(arrays.send(rendezvous.comm, frame, to, DATA_TAG), frame)


def receive_objects(rendezvous: Rendezvous, sources: list[int]) -> list[Any]:
    """Receive an object from each of `sources`, and complete all operations under way."""
    announcements: list[tuple[MPI.Request, int, np.ndarray]] = []
    frames: dict[int, list[np.ndarray]] = {}
    status = MPI.Status()

    def all_announced() -> bool:
        while (message := rendezvous.comm.Improbe(MPI.ANY_SOURCE, SIZES_TAG, status)) is not None:
            sizes = np.empty(status.Get_count(MPI.INT64_T), np.int64)
            request = message.Irecv(sizes)
            rendezvous.begin([request], sizes)
            announcements.append((request, status.source, sizes))
        for request, source, sizes in announcements:
            if source not in frames and request.Test():
                frames[source] = empty(sizes.tolist())
                for buffer in frames[source]:
                    rendezvous.begin(arrays.receive(rendezvous.comm, buffer, source, DATA_TAG), buffer)
        return len(frames) == len(sources)

    rendezvous.wait(all_announced)
    rendezvous.complete([])
    with interrupts.admitted():
        return [pickles.loads(frames[source]) for source in sources]


def empty(sizes: list[int]) -> list[np.ndarray]:
    """Return memory for frames of these sizes, which the unpickled objects will own."""
    return [np.empty(size, np.uint8) for size in sizes]


def copied(frames: list[Frame]) -> Any:
    """Unpickle an object that shares no memory with the pickled one."""
    return pickles.loads([bytearray(frame) for frame in frames])


# -- one to all, all to all ---------------------------------------------------------------------------


def bcast(rendezvous: Rendezvous) -> None:
    """Put the root's value on every engine."""
    root = rendezvous.root
    frames: list[Frame] = []
    part = LocalPart(rendezvous)

    def describe() -> Proposal:
        if rendezvous.position != root:
            return Proposal()
        proposal = part.describe()
        if part.kind is None or not part.kind.on_device:
            frames.extend(pickles.dumps(part.value))
            return Proposal(sizes=[len(frame) for frame in frames])
        proposal.shape = [*part.value.shape]
        return proposal

    proposals = rendezvous.agree(describe)
    is_root = rendezvous.position == root
    if not proposals[root].sizes:
        _bcast_on_device(rendezvous, part, proposals[root])
        return
    buffers = frames if is_root else empty(proposals[root].sizes)
    rendezvous.complete(arrays.bcast(rendezvous.comm, buffers, root), *buffers)
    rendezvous.finished()
    if is_root and rendezvous.call.out == rendezvous.call.name:
        return
    with interrupts.admitted():
        result = copied(frames) if is_root else pickles.loads(buffers)
    rendezvous.assign(result)


def _bcast_on_device(rendezvous: Rendezvous, part: LocalPart, proposal: Proposal) -> None:
    """Broadcast an array on a device, from device to device."""
    target = part.allocate([proposal], proposal.shape[0] if proposal.shape else 1)
    flat = target.flat if part.kind is None else part.flat
    rendezvous.complete(arrays.bcast(rendezvous.comm, [flat], rendezvous.root, target.kind), flat)
    rendezvous.finished()
    if part.kind is None:
        rendezvous.assign(target.array())
    elif rendezvous.call.out != rendezvous.call.name:
        target.flat[:] = flat
        rendezvous.assign(target.array())


def allgather(rendezvous: Rendezvous) -> None:
    """Join the parts of all engines on every engine."""
    frames: list[Frame] = []
    part = LocalPart(rendezvous)

    def describe() -> Proposal:
        proposal = part.describe()
        if part.kind is None:
            frames.extend(pickles.dumps(part.value))
            proposal.sizes = [len(frame) for frame in frames]
        return proposal

    proposals = rendezvous.agree(describe)
    if part.kind is not None:
        target = part.allocate(proposals)
        counts = [proposal.shape[0] * target.row for proposal in proposals]
        own, whole = part.flat, target.flat
        rendezvous.complete(arrays.allgather(rendezvous.comm, own, whole, counts, part.kind), own, whole)
        rendezvous.finished()
        result = target.array()
    else:
        own = np.concatenate([np.frombuffer(frame, np.uint8) for frame in frames])
        counts = [sum(proposal.sizes) for proposal in proposals]
        whole = np.empty(sum(counts), np.uint8)
        rendezvous.complete(arrays.allgather(rendezvous.comm, own, whole, counts), own, whole)
        rendezvous.finished()
        cuts = np.cumsum([size for proposal in proposals for size in proposal.sizes])[:-1]
        pieces = iter(np.split(whole, cuts))
        with interrupts.admitted():
            result = join([pickles.loads([next(pieces) for _ in proposal.sizes]) for proposal in proposals])
    rendezvous.assign(result)


# -- parts that move from engine to engine ------------------------------------------------------------


class ReceiveBuffer:
    """A new array to receive into.

    Parameters
    ----------
    proposal : Proposal
        Describes the rows of the array.
    rows : int
        The number of rows.
    like : array or None
        An array on the device where the new one is to be.

    Attributes
    ----------
    flat : flat bytes
        The bytes of the array.
    row : int
        The bytes of a row.
    """

    def __init__(self, proposal: Proposal, rows: int, like: Any) -> None:
        self.kind = kinds.named(proposal.kind)
        self.row = math.prod(proposal.shape[1:]) * self.kind.itemsize(proposal.dtype)
        self.flat = self.kind.empty(rows * self.row, like)
        self._dtype = proposal.dtype
        self._shape = (rows, *proposal.shape[1:]) if proposal.shape else ()

    def array(self) -> Any:
        """Return the array, when its bytes have been received."""
        return self.kind.shaped(self.flat, self._dtype, self._shape)


class LocalPart:
    """The engine's part of a sequence that is distributed over the engines.

    Attributes
    ----------
    kind : Kind or None
        The kind of an array that moves by buffer; None if the value moves by pickle.
    flat : flat bytes
        The bytes of such an array.
    """

    def __init__(self, rendezvous: Rendezvous) -> None:
        self.rendezvous = rendezvous
        self.value: Any = None
        self.kind: kinds.Kind | None = None
        self.flat: Any = None

    def describe(self, sliced: bool = False) -> Proposal:
        """Make the proposal of this engine; with `sliced`, the value must be a sequence that can be cut."""
        self.value = value = self.rendezvous.value()
        kind, form = kinds.of(value), kinds.form_of(value)
        if kind is not None and not (sliced and value.ndim == 0):
            self.kind, self.flat = kind, kind.flat(value)
            text, shape = kind.dtype(value), [*value.shape] or [1]
            match = f"{kind.name}{text}{shape[1:]}"
            return Proposal(form=form, must_match=match, kind=kind.name, dtype=text, shape=shape)
        length = _length(value) if sliced else 1
        return Proposal(form=form, must_match="object", shape=[length])

    def allocate(self, proposals: list[Proposal], rows: int | None = None) -> ReceiveBuffer:
        """Return a new array for `rows` rows, or for the rows of all proposals."""
        like = next(proposal for proposal in proposals if proposal.dtype)
        if rows is None:
            rows = sum(proposal.shape[0] for proposal in proposals)
        with interrupts.admitted():  # The library may have to be imported, which takes long.
            return ReceiveBuffer(like, rows, None if self.kind is None else self.value)

    def cut(self, start: int, stop: int) -> Any:
        """Return some rows of the value."""
        return getattr(self.value, "iloc", self.value)[start:stop]  # pandas cuts by position with iloc.

    def exchange(
        self,
        proposals: list[Proposal],
        outgoing: Mapping[int, tuple[int, int] | None],
        incoming: dict[int, int],
    ) -> Any:
        """Send pieces to engines, and join the received pieces in the order of `incoming`.

        The messages are point to point. Iscatterv, Igatherv and Ialltoallv of the MPIs do the same, but limit
        the amount of data.

        Parameters
        ----------
        outgoing : dict of int to (int, int) or None
            The rows for each position; None for all rows.
        incoming : dict of int to int
            The number of rows from each position.

        Returns
        -------
        array or list
            An array, or the list of the received objects.
        """
        if not any(proposal.dtype for proposal in proposals):
            return self._exchange_objects(outgoing, incoming)
        rendezvous, position = self.rendezvous, self.rendezvous.position
        target = self.allocate(proposals, sum(incoming.values()))
        kind, row = target.kind, target.row
        own = {
            to: self.flat if edge is None else self.flat[edge[0] * row : edge[1] * row]
            for to, edge in outgoing.items()
        }
        start = 0
        for source, rows in incoming.items():
            piece = target.flat[start : start + rows * row]
            start += rows * row
            if source == position:
                piece[:] = own[position]
            else:
                rendezvous.begin(arrays.receive(rendezvous.comm, piece, source, DATA_TAG, kind), piece)
        for to, piece in own.items():
            if to != position:
                rendezvous.begin(arrays.send(rendezvous.comm, piece, to, DATA_TAG, kind), piece)
        rendezvous.complete([])
        return target.array()

    def _exchange_objects(
        self, outgoing: Mapping[int, tuple[int, int] | None], incoming: dict[int, int]
    ) -> list[Any]:
        rendezvous, position = self.rendezvous, self.rendezvous.position
        own = {to: self.value if edge is None else self.cut(*edge) for to, edge in outgoing.items()}
        for to, piece in own.items():
            if to != position:
                send_object(rendezvous, piece, to)
        sources = [source for source in incoming if source != position]
        received = dict(zip(sources, receive_objects(rendezvous, sources), strict=True))
        if position in incoming:
            received[position] = own[position]
        return [received[source] for source in incoming]


def _length(value: Any) -> int:
    if isinstance(value, (str, bytes, bytearray)) or not (
        hasattr(value, "__len__") and (hasattr(value, "__getitem__")) and not isinstance(value, dict)
    ):
        raise TypeError(f"{type(value).__name__!r} object can't be cut into parts: arrays and lists can")
    return len(value)


def _joined(parts: Any) -> Any:
    return join(parts) if isinstance(parts, list) else parts


def gather_to(rendezvous: Rendezvous) -> None:
    """Join the parts of all engines on the root."""
    part, root = LocalPart(rendezvous), rendezvous.root
    proposals = rendezvous.agree(part.describe)
    incoming = (
        {k: proposal.shape[0] for k, proposal in enumerate(proposals)} if rendezvous.position == root else {}
    )
    parts = part.exchange(proposals, {root: None}, incoming)
    rendezvous.finished()
    if rendezvous.position == root:
        rendezvous.assign(_joined(parts))


def scatter_from(rendezvous: Rendezvous) -> None:
    """Put a part of the root's sequence on each engine."""
    part, root = LocalPart(rendezvous), rendezvous.root
    proposals = rendezvous.agree(
        lambda: part.describe(sliced=True) if rendezvous.position == root else Proposal()
    )
    edges = _edges(rendezvous, proposals[root].shape[0])
    outgoing = dict(enumerate(edges)) if rendezvous.position == root else {}
    start, stop = edges[rendezvous.position]
    result = part.exchange(proposals, outgoing, {root: stop - start})
    rendezvous.finished()
    rendezvous.assign(result[0] if isinstance(result, list) else result)


def alltoall(rendezvous: Rendezvous) -> None:
    """Join the k-th parts of the sequences of all engines on the k-th engine."""
    part = LocalPart(rendezvous)
    proposals = rendezvous.agree(lambda: part.describe(sliced=True))
    position, n = rendezvous.position, rendezvous.size
    cuts = [bounds(proposal.shape[0], n) for proposal in proposals]
    outgoing = dict(enumerate(cuts[position]))
    incoming = {k: cut[position][1] - cut[position][0] for k, cut in enumerate(cuts)}
    parts = part.exchange(proposals, outgoing, incoming)
    rendezvous.finished()
    rendezvous.assign(_joined(parts))


def redistribute(rendezvous: Rendezvous) -> None:
    """Distribute the sequence in parts of other lengths; each row moves directly to its new engine."""
    part = LocalPart(rendezvous)
    proposals = rendezvous.agree(lambda: part.describe(sliced=True))
    position = rendezvous.position
    lengths = [proposal.shape[0] for proposal in proposals]
    ends = np.cumsum(lengths).tolist()
    before = [(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    after = _edges(rendezvous, ends[-1])
    own = before[position][0]
    outgoing = {
        k: (start - own, stop - own) for k, (start, stop) in _overlaps(before[position], after).items()
    }
    incoming = {k: stop - start for k, (start, stop) in _overlaps(after[position], before).items()}
    parts = part.exchange(proposals, outgoing, incoming)
    rendezvous.finished()
    rendezvous.assign(join(parts or [part.cut(0, 0)]) if isinstance(parts, list) else parts)


def _edges(rendezvous: Rendezvous, length: int) -> list[tuple[int, int]]:
    """Return the positions of the cuts of a sequence of this length: by the counts of the call, or even."""
    counts = rendezvous.call.option
    if counts is None:
        return bounds(length, rendezvous.size)
    if len(counts) != rendezvous.size or sum(counts) != length:
        rendezvous.refuse(
            f"{len(counts)} counts with a sum of {sum(counts)} were given, for {length} items on "
            f"{rendezvous.size} engines"
        )
    ends = np.cumsum(counts).tolist()
    return [(end - count, end) for end, count in zip(ends, counts, strict=True)]


def _overlaps(own: tuple[int, int], others: list[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Return the rows of `own` that each of the others has; engines without such rows are left out."""
    common = {k: (max(own[0], start), min(own[1], stop)) for k, (start, stop) in enumerate(others)}
    return {k: (start, stop) for k, (start, stop) in common.items() if start < stop}


DATA_MOVEMENTS: dict[str, Callable[[Rendezvous], None]] = {
    "bcast": bcast,
    "allgather": allgather,
    "gather_to": gather_to,
    "scatter_from": scatter_from,
    "alltoall": alltoall,
    "redistribute": redistribute,
}
