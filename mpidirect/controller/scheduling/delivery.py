"""How the data of a request reaches its engines: inline, from the client's memory, or by MPI.

The `DeliveryPlanner` chooses a delivery when a request is handed to the scheduler. All other code asks it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

from ...arrays.lazy_numpy import np
from ...protocol import messages
from ...protocol.frames import Frame
from ..sessions.uploads import SHARED, ChunkSlot, Upload


class BulkSender(Protocol):
    """Sends bulk data to engines, by MPI."""

    @property
    def can_broadcast(self) -> bool:
        """Return whether a broadcast reaches all engines, and is faster than single messages."""

    def send(self, engine: int, pieces: Sequence[Frame], /) -> None:
        """Send pieces to an engine, point to point."""

    def broadcast(self, pieces: Sequence[Frame], /) -> None:
        """Send pieces to all engines by a collective."""


class Delivery:
    """How the data of a request reaches its engines."""

    upload: Upload

    def frames_for(self, engine: int) -> list[Frame]:
        """Return the header and the small frames of an engine's task."""
        raise NotImplementedError

    def pieces_for(self, engine: int) -> Sequence[Frame]:
        """Return the pieces that follow the task by MPI, point to point."""
        return ()

    # -- data that engines read, or that arrives after the task -----------------------------------

    def begin(self) -> None:
        """Send the data for all engines by a collective, before the tasks."""

    def fetched(self, engine: int) -> bool:
        """Note that an engine has read the client's memory; return whether it was the last one."""
        return False

    def arriving(self, engine: int, size: int) -> None:
        """Note that `size` bytes of its task's data have arrived at an engine."""

    def arrived(self, waiting: Collection[int]) -> int:
        """Return the bytes that have arrived at all engines; `waiting` are engines without a reply."""
        return 0

    def pass_on(self, recipients: Collection[int], group: int, piece: Frame) -> None:
        """Send a piece that arrived after the task to those `recipients` that need it."""

    def seal(self, recipients: Collection[int], complete: bool) -> None:
        """Tell the `recipients` that no more pieces follow, and whether the data is complete."""

    def abandon(self, recipients: Collection[int]) -> None:
        """Send substitutes for the missing pieces: the client is away, and engines must not wait."""

    def resend(self, engine: int) -> None:
        """Send the data point to point that a broken collective has not brought to an engine."""


UNDECIDED = Delivery()  # the delivery of a request that has not been handed on


class InlineDelivery(Delivery):
    """All frames of the request go by the task connection.

    Parameters
    ----------
    upload : Upload
        The frames of the request.
    retain : bool
        Whether engines keep bulk results in their memory, where the client reads them.
    """

    def __init__(self, upload: Upload, retain: bool) -> None:
        self.upload = upload
        self._header = messages.encode(self._task(retain))
        self._shared_frames = [self._header, *upload.inline(SHARED)]
        self._arrived: dict[int, int] = {}  # reported bytes that have arrived, by engine

    def _task(self, retain: bool) -> messages.Task:
        """Return the header that all targets get."""
        request = self.upload.header
        task = messages.Task(request.id, request.op, request.method, request.frames, bool(request.parts))
        task.retain, task.directory = retain, self.upload.directory
        return task

    def frames_for(self, engine: int) -> list[Frame]:
        request = self.upload.header
        if not request.parts:
            return self._shared_frames
        group = self.upload.group_of(engine)
        own = messages.EngineFrames(request.parts[group - 1], self._addresses_of(group))
        shared = self.upload.inline(SHARED)
        return [self._header, messages.encode(own), *shared, *self.upload.inline(group)]

    def _addresses_of(self, group: int) -> list[int]:
        """Return the addresses of a group's bulk frames, if engines read them out of the client's memory."""
        return []

    def arriving(self, engine: int, size: int) -> None:
        self._arrived[engine] = size

    def arrived(self, waiting: Collection[int]) -> int:
        return sum(
            self._arrived.get(engine, 0) if engine in waiting else self.upload.outgoing_to(engine)
            for engine in self.upload.header.targets
        )


class DirectMemory(InlineDelivery):
    """The engines read the bulk data out of the client's memory."""

    def __init__(self, upload: Upload, retain: bool) -> None:
        self._addresses = upload.addresses()
        self._reading = set(upload.header.targets)
        super().__init__(upload, retain)

    def _task(self, retain: bool) -> messages.Task:
        task = super()._task(retain)
        task.client, task.addresses = self.upload.client_process, self._addresses[SHARED]
        return task

    def _addresses_of(self, group: int) -> list[int]:
        return self._addresses[group]

    def fetched(self, engine: int) -> bool:
        if engine not in self._reading:
            return False
        self._reading.discard(engine)
        return not self._reading

    def arrived(self, waiting: Collection[int]) -> int:
        return super().arrived(self._reading)


class PointToPoint(InlineDelivery):
    """The controller sends the bulk data to each engine by MPI.

    If all targets are idle, the task may go before its data: `pass_on` sends each chunk that arrives from the
    client, and `seal` sends one last byte that tells whether all chunks have arrived.

    Parameters
    ----------
    upload, retain
        As for `InlineDelivery`.
    sender : BulkSender
        The connection to the engines for bulk data.
    """

    def __init__(self, upload: Upload, retain: bool, sender: BulkSender) -> None:
        self._sender = sender
        super().__init__(upload, retain)

    def _task(self, retain: bool) -> messages.Task:
        task = super()._task(retain)
        task.sealed = self.upload.missing > 0
        return task

    def pieces_for(self, engine: int) -> Sequence[Frame]:
        return [*self.upload.chunks(SHARED), *self._own_pieces(engine)]

    def _own_pieces(self, engine: int) -> list[Frame]:
        group = self.upload.group_of(engine)
        return self.upload.chunks(group) if group != SHARED else []

    def pass_on(self, recipients: Collection[int], group: int, piece: Frame) -> None:
        for engine in self.upload.targets_of(group):
            if engine in recipients:
                self._sender.send(engine, [piece])

    def seal(self, recipients: Collection[int], complete: bool) -> None:
        for engine in self.upload.header.targets:
            if engine in recipients:
                self._sender.send(engine, [bytes([complete])])

    def abandon(self, recipients: Collection[int]) -> None:
        while self.upload.missing:
            self.pass_on(recipients, *self.upload.fill(self._substitute))
        self.seal(recipients, complete=False)

    def _substitute(self, slot: ChunkSlot) -> Any:
        return b""  # an engine accepts an empty message instead of a piece


class Broadcast(PointToPoint):
    """The shared bulk data goes to all engines by a collective, the parts point to point.

    If the collective breaks because an engine has died, the other engines ask for the data again (`resend`).
    """

    def __init__(self, upload: Upload, retain: bool, sender: BulkSender) -> None:
        self._left_out: set[int] = set()  # engines for which the collective broke
        super().__init__(upload, retain, sender)

    def _task(self, retain: bool) -> messages.Task:
        task = super()._task(retain)
        task.broadcast = True
        return task

    def begin(self) -> None:
        if shared := self.upload.chunks(SHARED):
            self._sender.broadcast(shared)

    def pieces_for(self, engine: int) -> Sequence[Frame]:
        return super().pieces_for(engine) if engine in self._left_out else self._own_pieces(engine)

    def pass_on(self, recipients: Collection[int], group: int, piece: Frame) -> None:
        if group != SHARED:
            super().pass_on(recipients, group, piece)
        elif self._sender.can_broadcast:
            self._sender.broadcast([piece])
        else:  # an engine died: the others have asked for the earlier pieces, or will ask
            super().pass_on(self._left_out.intersection(recipients), group, piece)

    def resend(self, engine: int) -> None:
        self._left_out.add(engine)
        self._sender.send(engine, self.upload.chunks(SHARED))

    def _substitute(self, slot: ChunkSlot) -> Any:
        # All ranks of a collective must pass the same size.
        return np.zeros(slot.size, np.uint8) if slot.group == SHARED else b""
