"""Joins the parts of all engines for a client that gets the whole: `DirectView.gather`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...arrays.joining import Join, join_for
from ...serialize import pickles
from .. import interrupts
from .data_movement import receive_objects, send_object
from .rendezvous import Proposal, Rendezvous

MIN_BYTES = 2**20  # Smaller parts reach the client faster if the engines do not join them.


class _Part:
    """The engine's part of the whole.

    Attributes
    ----------
    value : object
        The part.
    join : callable or None
        The registered function that joins objects of its type.
    error : Exception or None
        Why this engine has no part.
    """

    def __init__(self, rendezvous: Rendezvous) -> None:
        self._rendezvous = rendezvous
        self.value: Any = None
        self.join: Join | None = None
        self.error: Exception | None = None

    def describe(self) -> Proposal:
        """Return the type and the size of the part; an empty text if it can't be joined here."""
        try:
            joins = pickles.loads(self._rendezvous.call.option)
            self.value = self._rendezvous.value()
            self.join = join_for(self.value, joins)
            if self.join is None:
                return Proposal()
            size = sum(len(frame) for frame in pickles.dumps(self.value))
        except Exception as error:
            self.error = error
            return Proposal()
        position = list(joins.values()).index(self.join)
        return Proposal(kind=str(position), sizes=[size])


def gather(rendezvous: Rendezvous) -> list[Any]:
    """Return the parts that this engine sends to the client.

    If one function joins the parts of all engines, and the parts are large, the engines join them along a
    tree: the first engine returns the whole, the others return nothing. Otherwise each returns its own part.
    """
    part = _Part(rendezvous)
    proposals = rendezvous.agree(part.describe)
    kinds = {proposal.kind for proposal in proposals}
    size = sum(sum(proposal.sizes) for proposal in proposals)
    if part.join is not None and len(kinds) == 1 and size >= MIN_BYTES:
        return _joined_along_tree(rendezvous, part.join, part.value)
    rendezvous.finished()
    if part.error is not None:
        raise part.error
    return [part.value]


def _joined_along_tree(rendezvous: Rendezvous, join: Join, value: Any) -> list[Any]:
    """Join this engine's part with those of its children in the tree, and send the result to its parent."""
    position = rendezvous.position
    children = list(_children(position, rendezvous.size))
    if children:
        parts = [value, *receive_objects(rendezvous, children)]
        with interrupts.admitted():
            value = join(parts)
    if not position:
        rendezvous.finished()
        return [value]
    send_object(rendezvous, value, _parent(position))
    rendezvous.complete([])
    rendezvous.finished()
    return []


def _children(position: int, size: int) -> Iterator[int]:
    """Yield the children of a position in a binomial tree: each has the parts of the positions after it.

    Examples
    --------
    >>> list(_children(0, 6)), list(_children(4, 6)), list(_children(3, 6))
    ([1, 2, 4], [5], [])
    """
    distance = 1
    while not position & distance and position + distance < size:
        yield position + distance
        distance *= 2


def _parent(position: int) -> int:
    """Return the parent of a position other than 0."""
    return position & (position - 1)
