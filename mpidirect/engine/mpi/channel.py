"""Small notes between engines, on a communicator that user code never sees.

A note belongs to a collective call and has the number of the call. So notes of a call that an engine has left
are recognised and dropped, and a note that arrives before its call begins on this engine is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from mpi4py import MPI

from ...arrays.lazy_numpy import np

LEFT = -1  # The step of a note that says that the sender has left the call.
TAG = 1
CLIENTS = 1024  # Number of clients whose latest call is remembered.


class CollectiveId(NamedTuple):
    """The identity of a collective call: the numbers of a client increase in the order of its calls."""

    client: str
    number: int


class Note(msgspec.Struct, array_like=True, gc=False):
    """A note of one engine to another about a call."""

    client: str
    number: int
    step: int
    content: bytes


class Channel:
    """Sends notes, and keeps arrived notes until they are taken.

    Parameters
    ----------
    comm : MPI.Intracomm
        A communicator for notes alone.
    engines : sequence of int
        The engine id of each rank of `comm`.
    """

    def __init__(self, comm: MPI.Intracomm, engines: Sequence[int]) -> None:
        self.comm = comm
        self.engines = list(engines)
        self._ranks = {engine: rank for rank, engine in enumerate(engines)}
        self._sending: list[tuple[CollectiveId, MPI.Request]] = []
        self._arriving: list[tuple[MPI.Request, int, np.ndarray]] = []
        self._inbox: dict[CollectiveId, dict[tuple[int, int], bytes]] = {}
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._status = MPI.Status()
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Note)

    def send(self, engine: int, call: CollectiveId, step: int, content: bytes) -> None:
        """Send a note without waiting."""
        data = self._encoder.encode(Note(call.client, call.number, step, content))
        request = self.comm.Isend([data, MPI.BYTE], self._ranks[engine], TAG)
        self._sending.append((call, request))

    def sent(self, call: CollectiveId) -> bool:
        """Return whether all notes of this call have been sent."""
        self._sending = [(other, request) for other, request in self._sending if not request.Test()]
        return all(other != call for other, _ in self._sending)

    def take(self, call: CollectiveId, step: int, engine: int) -> bytes | None:
        """Return the content of a note, or None if the note has not arrived."""
        self._collect()
        return self._inbox.get(call, {}).pop((step, engine), None)

    def leavers(self, call: CollectiveId) -> dict[int, str]:
        """Return the engines that have left this call, and their reasons."""
        self._collect()
        notes = self._inbox.get(call, {})
        return {engine: content.decode() for (step, engine), content in notes.items() if step == LEFT}

    def end(self, call: CollectiveId) -> None:
        """Forget the notes of a call that has ended on this engine; drop later notes."""
        self._ended[call.client] = call.number
        self._ended.move_to_end(call.client)
        if len(self._ended) > CLIENTS:
            self._ended.popitem(last=False)
        for other in [other for other in self._inbox if self._is_over(other)]:
            del self._inbox[other]

    def _is_over(self, call: CollectiveId) -> bool:
        return call.number <= self._ended.get(call.client, -1)

    def _collect(self) -> None:
        """Receive the notes that have arrived.

        Each note is matched first, and then received without waiting: the sender of a long note may have
        left.
        """
        while (message := self.comm.Improbe(MPI.ANY_SOURCE, TAG, self._status)) is not None:
            buffer = np.empty(self._status.Get_count(MPI.BYTE), np.uint8)
            request = message.Irecv([buffer, MPI.BYTE])
            self._arriving.append((request, self.engines[self._status.source], buffer))
        if self._arriving:
            self._arriving = [entry for entry in self._arriving if not self._has_arrived(*entry)]

    def _has_arrived(self, request: MPI.Request, engine: int, buffer: np.ndarray) -> bool:
        if not request.Test():
            return False
        note = self._decoder.decode(buffer.data)
        call = CollectiveId(note.client, note.number)
        if not self._is_over(call):
            self._inbox.setdefault(call, {})[note.step, engine] = note.content
        return True
