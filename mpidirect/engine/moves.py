"""The collectives that move data: arrays by buffer, straight into the result; all else by pickle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from mpi4py import MPI

from ..partition import bounds, join
from ..wire import pickles
from . import arrays, interrupts
from .meeting import Meeting, Offer

SIZES = 1  # the tag of a message that announces a pickle's frames,
FRAME = 2  # and that of data


# -- objects ------------------------------------------------------------------------------------------


def send_object(meeting: Meeting, value: Any, to: int) -> None:
    """Begin to send an object; its large buffers are not copied."""
    with interrupts.admitted():
        frames = pickles.dumps(value)
    sizes = np.array([len(frame) for frame in frames], np.int64)
    meeting.begin([meeting.comm.Isend(sizes, to, SIZES)], sizes)
    for frame in frames:
        meeting.begin(arrays.send(meeting.comm, frame, to, FRAME), frame)


def receive_objects(meeting: Meeting, sources: list[int]) -> list[Any]:
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


def bcast(meeting: Meeting) -> None:
    """The root's value on every engine."""
    root = meeting.root
    frames: list[Any] = []

    def describe() -> Offer:
        if meeting.position != root:
            return Offer()
        frames.extend(pickles.dumps(meeting.value()))
        return Offer(sizes=[len(frame) for frame in frames])

    offers = meeting.agree(describe)
    is_root = meeting.position == root
    buffers = frames if is_root else empty(offers[root].sizes)
    meeting.complete(arrays.bcast(meeting.comm, buffers, root), *buffers)
    meeting.finished()
    if is_root and meeting.ask.out == meeting.ask.name:
        return
    with interrupts.admitted():
        result = copied(frames) if is_root else pickles.loads(buffers)
    meeting.assign(result)


def allgather(meeting: Meeting) -> None:
    """Everyone's part on every engine, joined."""
    frames: list[Any] = []
    part = Part(meeting)

    def describe() -> Offer:
        offer = part.describe()
        if part.array is None:
            frames.extend(pickles.dumps(part.value))
            offer.sizes = [len(frame) for frame in frames]
        return offer

    offers = meeting.agree(describe)
    if part.array is not None:
        result = part.room(offers, [offer.shape[0] for offer in offers])
        row = result.nbytes // max(len(result), 1)
        counts = [offer.shape[0] * row for offer in offers]
        mine, whole = arrays.as_bytes(part.array), arrays.as_bytes(result)
        meeting.complete(arrays.allgather(meeting.comm, mine, whole, counts), mine, whole)
        meeting.finished()
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


class Part:
    """This engine's part of a sequence that is spread over the engines."""

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.value: Any = None
        self.array: np.ndarray | None = None  # the value, where it moves by buffer

    def describe(self, sliced: bool = False) -> Offer:
        """What this engine offers; `sliced`: it must be something that can be cut."""
        self.value = self.meeting.value()
        if arrays.moves_by_buffer(self.value) and not (sliced and self.value.ndim == 0):
            self.array = np.ascontiguousarray(self.value)  # one of no dimensions gets one
            text = arrays.dtype_text(self.array.dtype)
            shape = list(self.array.shape)
            return Offer(
                form=arrays.form_of(self.value), must_match=f"{text}{shape[1:]}", dtype=text, shape=shape
            )
        length = _length(self.value) if sliced else 1
        return Offer(form=arrays.form_of(self.value), must_match="object", shape=[length])

    def room(self, offers: list[Offer], counts: list[int]) -> np.ndarray:
        """A new array for so many rows of this engine and of that."""
        like = next(offer for offer in offers if offer.dtype)
        return np.empty((sum(counts), *like.shape[1:]), arrays.dtype_of(like.dtype))

    def cut(self, start: int, stop: int) -> Any:
        """Some rows of it."""
        value = self.value if self.array is None else self.array
        return getattr(value, "iloc", value)[start:stop]  # pandas cuts by position with iloc

    def deal(self, offers: list[Offer], outgoing: dict[int, Any], incoming: dict[int, int]) -> Any:
        """Give pieces to engines and put together what comes, in the order of `incoming`.

        Point to point, which is what the MPIs make of Iscatterv, Igatherv and Ialltoallv too, but for any
        amount of data.

        Parameters
        ----------
        outgoing : dict of int to sequence
            What goes to which position.
        incoming : dict of int to int
            How many rows come from which position.
        """
        if not any(offer.dtype for offer in offers):
            return self._deal_objects(outgoing, incoming)
        meeting, me = self.meeting, self.meeting.position
        result = self.room(offers, list(incoming.values()))
        start = 0
        for source, rows in incoming.items():
            piece = result[start : start + rows]
            start += rows
            if source == me:
                piece[...] = outgoing[me]
            else:
                meeting.begin(arrays.receive(meeting.comm, arrays.as_bytes(piece), source, FRAME), piece)
        for to, piece in outgoing.items():
            if to != me:
                meeting.begin(arrays.send(meeting.comm, arrays.as_bytes(piece), to, FRAME), piece)
        meeting.complete([])
        return result

    def _deal_objects(self, outgoing: dict[int, Any], incoming: dict[int, int]) -> Any:
        meeting, me = self.meeting, self.meeting.position
        for to, piece in outgoing.items():
            if to != me:
                send_object(meeting, piece, to)
        sources = [source for source in incoming if source != me]
        received = dict(zip(sources, receive_objects(meeting, sources), strict=True))
        if me in incoming:
            received[me] = outgoing[me]
        return [received[source] for source in incoming]


def _length(value: Any) -> int:
    if isinstance(value, (str, bytes, bytearray)) or not (
        hasattr(value, "__len__") and (hasattr(value, "__getitem__")) and not isinstance(value, dict)
    ):
        raise TypeError(f"{type(value).__name__!r} object can't be cut into parts: arrays and lists can")
    return len(value)


def _joined(parts: Any) -> Any:
    return parts if isinstance(parts, np.ndarray) else join(parts)


def gather_to(meeting: Meeting) -> None:
    """Everyone's part on the root, joined."""
    part, root = Part(meeting), meeting.root
    offers = meeting.agree(part.describe)
    mine = part.value if part.array is None else part.array
    incoming = {k: offer.shape[0] for k, offer in enumerate(offers)} if meeting.position == root else {}
    parts = part.deal(offers, {root: mine}, incoming)
    meeting.finished()
    if meeting.position == root:
        meeting.assign(_joined(parts))


def scatter_from(meeting: Meeting) -> None:
    """A part of the root's sequence on each engine."""
    part, root = Part(meeting), meeting.root
    offers = meeting.agree(lambda: part.describe(sliced=True) if meeting.position == root else Offer())
    edges = _edges(meeting, offers[root].shape[0])
    outgoing = {k: part.cut(*edge) for k, edge in enumerate(edges)} if meeting.position == root else {}
    start, stop = edges[meeting.position]
    result = part.deal(offers, outgoing, {root: stop - start})
    meeting.finished()
    meeting.assign(result if isinstance(result, np.ndarray) else result[0])


def alltoall(meeting: Meeting) -> None:
    """The k-th part of everyone's sequence on the k-th engine, joined."""
    part = Part(meeting)
    offers = meeting.agree(lambda: part.describe(sliced=True))
    me, n = meeting.position, meeting.size
    cuts = [bounds(offer.shape[0], n) for offer in offers]
    outgoing = {k: part.cut(*edge) for k, edge in enumerate(cuts[me])}
    incoming = {k: cut[me][1] - cut[me][0] for k, cut in enumerate(cuts)}
    parts = part.deal(offers, outgoing, incoming)
    meeting.finished()
    meeting.assign(_joined(parts))


def redistribute(meeting: Meeting) -> None:
    """The same sequence, in parts of other lengths: each row goes straight to where it belongs."""
    part = Part(meeting)
    offers = meeting.agree(lambda: part.describe(sliced=True))
    me = meeting.position
    lengths = [offer.shape[0] for offer in offers]
    ends = np.cumsum(lengths).tolist()
    before = [(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    after = _edges(meeting, ends[-1])
    mine = before[me][0]
    outgoing = {
        k: part.cut(start - mine, stop - mine) for k, (start, stop) in _overlaps(before[me], after).items()
    }
    incoming = {k: stop - start for k, (start, stop) in _overlaps(after[me], before).items()}
    parts = part.deal(offers, outgoing, incoming)
    meeting.finished()
    meeting.assign(parts if isinstance(parts, np.ndarray) else join(parts or [part.cut(0, 0)]))


def _edges(meeting: Meeting, length: int) -> list[tuple[int, int]]:
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


MOVES: dict[str, Callable[[Meeting], None]] = {
    "bcast": bcast,
    "allgather": allgather,
    "gather_to": gather_to,
    "scatter_from": scatter_from,
    "alltoall": alltoall,
    "redistribute": redistribute,
}
