"""The collectives that move data: arrays by buffer, straight into the result; all else by pickle."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from mpi4py import MPI

from ...arrays import kinds
from ...arrays.partition import bounds, join
from ...serialize import pickles
from .. import interrupts
from . import arrays
from .rendezvous import Proposal, Rendezvous

SIZES = 1  # the tag of a message that announces a pickle's frames,
FRAME = 2  # and that of data


# -- objects ------------------------------------------------------------------------------------------


def send_object(meeting: Rendezvous, value: Any, to: int) -> None:
    """Begin to send an object; its large buffers are not copied."""
    with interrupts.admitted():
        frames = pickles.dumps(value)
    sizes = np.array([len(frame) for frame in frames], np.int64)
    meeting.begin([meeting.comm.Isend(sizes, to, SIZES)], sizes)
    for frame in frames:
        meeting.begin(arrays.send(meeting.comm, frame, to, FRAME), frame)


def receive_objects(meeting: Rendezvous, sources: list[int]) -> list[Any]:
    """An object from each of `sources`, and the end of what is being sent meanwhile."""
    announcements: list[tuple[MPI.Request, int, np.ndarray]] = []
    frames: dict[int, list[np.ndarray]] = {}
    status = MPI.Status()

    def announced() -> bool:
        while (message := meeting.comm.Improbe(MPI.ANY_SOURCE, SIZES, status)) is not None:
            sizes = np.empty(status.Get_count(MPI.INT64_T), np.int64)
            request = message.Irecv(sizes)
            meeting.begin([request], sizes)
            announcements.append((request, status.source, sizes))
        for request, source, sizes in announcements:
            if source not in frames and request.Test():
                frames[source] = empty(sizes.tolist())
                for buffer in frames[source]:
                    meeting.begin(arrays.receive(meeting.comm, buffer, source, FRAME), buffer)
        return len(frames) == len(sources)

    meeting.wait(announced)
    meeting.complete([])
    with interrupts.admitted():
        return [pickles.loads(frames[source]) for source in sources]


def empty(sizes: list[int]) -> list[np.ndarray]:
    """Memory for frames of these sizes: what is made of them owns it."""
    return [np.empty(size, np.uint8) for size in sizes]


def copied(frames: list[Any]) -> Any:
    """The object of `frames` that shares no memory with the one that they were made of."""
    return pickles.loads([bytearray(frame) for frame in frames])


# -- one to all, all to all ---------------------------------------------------------------------------


def bcast(meeting: Rendezvous) -> None:
    """The root's value on every engine."""
    root = meeting.root
    frames: list[Any] = []
    part = LocalPart(meeting)

    def describe() -> Proposal:
        if meeting.position != root:
            return Proposal()
        offer = part.describe()
        if part.kind is None or not part.kind.on_device:
            frames.extend(pickles.dumps(part.value))
            return Proposal(sizes=[len(frame) for frame in frames])
        offer.shape = [*part.value.shape]
        return offer

    offers = meeting.agree(describe)
    is_root = meeting.position == root
    if not offers[root].sizes:
        _bcast_on_device(meeting, part, offers[root])
        return
    buffers = frames if is_root else empty(offers[root].sizes)
    meeting.complete(arrays.bcast(meeting.comm, buffers, root), *buffers)
    meeting.finished()
    if is_root and meeting.ask.out == meeting.ask.name:
        return
    with interrupts.admitted():
        result = copied(frames) if is_root else pickles.loads(buffers)
    meeting.assign(result)


def _bcast_on_device(meeting: Rendezvous, part: LocalPart, offer: Proposal) -> None:
    """The same of an array on a device, from device to device."""
    room = part.room([offer], offer.shape[0] if offer.shape else 1)
    flat = room.flat if part.kind is None else part.flat
    meeting.complete(arrays.bcast(meeting.comm, [flat], meeting.root, room.kind), flat)
    meeting.finished()
    if part.kind is None:
        meeting.assign(room.array())
    elif meeting.ask.out != meeting.ask.name:
        room.flat[:] = flat
        meeting.assign(room.array())


def allgather(meeting: Rendezvous) -> None:
    """Everyone's part on every engine, joined."""
    frames: list[Any] = []
    part = LocalPart(meeting)

    def describe() -> Proposal:
        offer = part.describe()
        if part.kind is None:
            frames.extend(pickles.dumps(part.value))
            offer.sizes = [len(frame) for frame in frames]
        return offer

    offers = meeting.agree(describe)
    if part.kind is not None:
        room = part.room(offers)
        counts = [offer.shape[0] * room.row for offer in offers]
        mine, whole = part.flat, room.flat
        meeting.complete(arrays.allgather(meeting.comm, mine, whole, counts, part.kind), mine, whole)
        meeting.finished()
        result = room.array()
    else:
        mine = np.concatenate([np.frombuffer(frame, np.uint8) for frame in frames])
        counts = [sum(offer.sizes) for offer in offers]
        whole = np.empty(sum(counts), np.uint8)
        meeting.complete(arrays.allgather(meeting.comm, mine, whole, counts), mine, whole)
        meeting.finished()
        cuts = np.cumsum([size for offer in offers for size in offer.sizes])[:-1]
        pieces = iter(np.split(whole, cuts))
        with interrupts.admitted():
            result = join([pickles.loads([next(pieces) for _ in offer.sizes]) for offer in offers])
    meeting.assign(result)


# -- parts from engine to engine ------------------------------------------------------------------------


class ReceiveBuffer:
    """A new array, of so many rows of what `offer` describes, and its bytes, to receive into."""

    def __init__(self, offer: Proposal, rows: int, like: Any) -> None:
        self.kind = kinds.named(offer.kind)
        self.row = math.prod(offer.shape[1:]) * self.kind.itemsize(offer.dtype)
        self.flat = self.kind.empty(rows * self.row, like)
        self._dtype = offer.dtype
        self._shape = (rows, *offer.shape[1:]) if offer.shape else ()

    def array(self) -> Any:
        """The array, when the bytes are there."""
        return self.kind.shaped(self.flat, self._dtype, self._shape)


class LocalPart:
    """This engine's part of a sequence that is spread over the engines."""

    def __init__(self, meeting: Rendezvous) -> None:
        self.meeting = meeting
        self.value: Any = None
        self.kind: kinds.Kind | None = None  # the value's, where it moves by buffer,
        self.flat: Any = None  # and its bytes

    def describe(self, sliced: bool = False) -> Proposal:
        """What this engine offers; `sliced`: it must be something that can be cut."""
        self.value = value = self.meeting.value()
        kind, form = kinds.of(value), kinds.form_of(value)
        if kind is not None and not (sliced and value.ndim == 0):
            self.kind, self.flat = kind, kind.flat(value)
            text, shape = kind.dtype(value), [*value.shape] or [1]
            match = f"{kind.name}{text}{shape[1:]}"
            return Proposal(form=form, must_match=match, kind=kind.name, dtype=text, shape=shape)
        length = _length(value) if sliced else 1
        return Proposal(form=form, must_match="object", shape=[length])

    def room(self, offers: list[Proposal], rows: int | None = None) -> ReceiveBuffer:
        """A new array for so many rows of all, or for all of these offers."""
        like = next(offer for offer in offers if offer.dtype)
        if rows is None:
            rows = sum(offer.shape[0] for offer in offers)
        with interrupts.admitted():  # the library may have to be imported
            return ReceiveBuffer(like, rows, None if self.kind is None else self.value)

    def cut(self, start: int, stop: int) -> Any:
        """Some rows of it."""
        return getattr(self.value, "iloc", self.value)[start:stop]  # pandas cuts by position with iloc

    def deal(
        self, offers: list[Proposal], outgoing: Mapping[int, tuple[int, int] | None], incoming: dict[int, int]
    ) -> Any:
        """Give pieces to engines and put together what comes, in the order of `incoming`.

        Point to point, which is what the MPIs make of Iscatterv, Igatherv and Ialltoallv too, but for any
        amount of data.

        Parameters
        ----------
        outgoing : dict of int to (int, int) or None
            Which rows go to which position; None for the whole.
        incoming : dict of int to int
            How many rows come from which position.

        Returns
        -------
        An array, or the list of the objects that came.
        """
        if not any(offer.dtype for offer in offers):
            return self._deal_objects(outgoing, incoming)
        meeting, me = self.meeting, self.meeting.position
        room = self.room(offers, sum(incoming.values()))
        kind, row = room.kind, room.row
        mine = {
            to: self.flat if edge is None else self.flat[edge[0] * row : edge[1] * row]
            for to, edge in outgoing.items()
        }
        start = 0
        for source, rows in incoming.items():
            piece = room.flat[start : start + rows * row]
            start += rows * row
            if source == me:
                piece[:] = mine[me]
            else:
                meeting.begin(arrays.receive(meeting.comm, piece, source, FRAME, kind), piece)
        for to, piece in mine.items():
            if to != me:
                meeting.begin(arrays.send(meeting.comm, piece, to, FRAME, kind), piece)
        meeting.complete([])
        return room.array()

    def _deal_objects(
        self, outgoing: Mapping[int, tuple[int, int] | None], incoming: dict[int, int]
    ) -> list[Any]:
        meeting, me = self.meeting, self.meeting.position
        mine = {to: self.value if edge is None else self.cut(*edge) for to, edge in outgoing.items()}
        for to, piece in mine.items():
            if to != me:
                send_object(meeting, piece, to)
        sources = [source for source in incoming if source != me]
        received = dict(zip(sources, receive_objects(meeting, sources), strict=True))
        if me in incoming:
            received[me] = mine[me]
        return [received[source] for source in incoming]


def _length(value: Any) -> int:
    if isinstance(value, (str, bytes, bytearray)) or not (
        hasattr(value, "__len__") and (hasattr(value, "__getitem__")) and not isinstance(value, dict)
    ):
        raise TypeError(f"{type(value).__name__!r} object can't be cut into parts: arrays and lists can")
    return len(value)


def _joined(parts: Any) -> Any:
    return join(parts) if isinstance(parts, list) else parts


def gather_to(meeting: Rendezvous) -> None:
    """Everyone's part on the root, joined."""
    part, root = LocalPart(meeting), meeting.root
    offers = meeting.agree(part.describe)
    incoming = {k: offer.shape[0] for k, offer in enumerate(offers)} if meeting.position == root else {}
    parts = part.deal(offers, {root: None}, incoming)
    meeting.finished()
    if meeting.position == root:
        meeting.assign(_joined(parts))


def scatter_from(meeting: Rendezvous) -> None:
    """A part of the root's sequence on each engine."""
    part, root = LocalPart(meeting), meeting.root
    offers = meeting.agree(lambda: part.describe(sliced=True) if meeting.position == root else Proposal())
    edges = _edges(meeting, offers[root].shape[0])
    outgoing = dict(enumerate(edges)) if meeting.position == root else {}
    start, stop = edges[meeting.position]
    result = part.deal(offers, outgoing, {root: stop - start})
    meeting.finished()
    meeting.assign(result[0] if isinstance(result, list) else result)


def alltoall(meeting: Rendezvous) -> None:
    """The k-th part of everyone's sequence on the k-th engine, joined."""
    part = LocalPart(meeting)
    offers = meeting.agree(lambda: part.describe(sliced=True))
    me, n = meeting.position, meeting.size
    cuts = [bounds(offer.shape[0], n) for offer in offers]
    outgoing = dict(enumerate(cuts[me]))
    incoming = {k: cut[me][1] - cut[me][0] for k, cut in enumerate(cuts)}
    parts = part.deal(offers, outgoing, incoming)
    meeting.finished()
    meeting.assign(_joined(parts))


def redistribute(meeting: Rendezvous) -> None:
    """The same sequence, in parts of other lengths: each row goes straight to where it belongs."""
    part = LocalPart(meeting)
    offers = meeting.agree(lambda: part.describe(sliced=True))
    me = meeting.position
    lengths = [offer.shape[0] for offer in offers]
    ends = np.cumsum(lengths).tolist()
    before = [(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    after = _edges(meeting, ends[-1])
    mine = before[me][0]
    outgoing = {k: (start - mine, stop - mine) for k, (start, stop) in _overlaps(before[me], after).items()}
    incoming = {k: stop - start for k, (start, stop) in _overlaps(after[me], before).items()}
    parts = part.deal(offers, outgoing, incoming)
    meeting.finished()
    meeting.assign(join(parts or [part.cut(0, 0)]) if isinstance(parts, list) else parts)


def _edges(meeting: Rendezvous, length: int) -> list[tuple[int, int]]:
    """Where a sequence of this length is cut: as the counts of the call say, or evenly."""
    counts = meeting.ask.option
    if counts is None:
        return bounds(length, meeting.size)
    if len(counts) != meeting.size or sum(counts) != length:
        meeting.refuse(
            f"{len(counts)} counts with a sum of {sum(counts)} were given, for {length} items on "
            f"{meeting.size} engines"
        )
    ends = np.cumsum(counts).tolist()
    return [(end - count, end) for end, count in zip(ends, counts, strict=True)]


def _overlaps(mine: tuple[int, int], others: list[tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Which rows of `mine` each of the others has; those that have none are left out."""
    common = {k: (max(mine[0], start), min(mine[1], stop)) for k, (start, stop) in enumerate(others)}
    return {k: (start, stop) for k, (start, stop) in common.items() if start < stop}


MOVES: dict[str, Callable[[Rendezvous], None]] = {
    "bcast": bcast,
    "allgather": allgather,
    "gather_to": gather_to,
    "scatter_from": scatter_from,
    "alltoall": alltoall,
    "redistribute": redistribute,
}
