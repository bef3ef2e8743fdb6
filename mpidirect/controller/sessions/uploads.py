"""The payload of a request as the controller holds it: opaque frames, in chunks, shared by all targets."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from ...arrays.lazy_numpy import np
from ...memory import process_memory
from ...protocol import messages
from ...protocol.messages import BULK

LARGEST = 1 << 40  # bytes of one frame
MPI_RATE = 4e9  # bytes a second that the controller can send to engines, roughly


class Upload:
    """A request's frames, as they come in and as they go on.

    The bulk of it comes in chunks; or it is in the client's memory, from where the engines read it
    themselves (`direct`), or the controller (`stage`) when it has to keep it.

    Parameters
    ----------
    request : Request or Work
        The header.
    frames : list of buffers
        The small frames.
    client : int
        The client's process, if its memory can be read, else 0.
    directory : str
        That of the client's script.

    Raises
    ------
    ValueError
        When the frames are not those that the header announces.
    """

    def __init__(
        self,
        request: messages.Request | messages.BalancedTasks,
        frames: list[Any],
        client: int,
        directory: str = "",
    ) -> None:
        self.request = request
        self.client = client
        self.directory = directory
        self.direct = False
        self.spread = False  # whether what all get goes by a collective
        self.again: set[int] = set()  # engines for which that broke
        self.early = False  # whether it goes on while it still comes in
        owners = request.targets if isinstance(request, messages.Request) else range(len(request.parts))
        if len(set(request.targets)) != len(request.targets):
            raise ValueError("targets repeat")
        if isinstance(request, messages.Request) and not request.targets:
            raise ValueError("there is no target")
        if request.parts and len(request.parts) != len(owners):
            raise ValueError("parts and targets differ in number")
        self._inline: list[list[Any]] = []
        self._bulk: list[list[int]] = []
        coming = iter(frames)
        for group in (request.frames, *request.parts):
            small, large = [], []
            for size in group:
                if BULK <= size <= LARGEST:
                    large.append(size)
                elif (frame := next(coming, None)) is not None and len(frame) == size:
                    small.append(frame)
                else:
                    raise ValueError("the frames are not those that the header announces")
            self._inline.append(small)
            self._bulk.append(large)
        if next(coming, None) is not None:
            raise ValueError("there are more frames than the header announces")
        self._part = {owner: k for k, owner in enumerate(owners, 1)} if request.parts else {}
        self.bulk = any(self._bulk)
        self.missing = self.size = self.arrived = 0
        if self.bulk:
            self._begin_bulk()
        if request.addresses and (not client or len(request.addresses) != sum(map(len, self._bulk))):
            raise ValueError("these are not the addresses of the bulk frames")

    def _begin_bulk(self) -> None:
        self._chunks: list[list[Any]] = [[] for _ in self._bulk]
        self._expected = self._expect()
        self.missing = sum(len(messages.chunks(size)) for sizes in self._bulk for size in sizes)
        self.size = sum(map(sum, self._bulk))
        self._began = time.monotonic()

    def _expect(self) -> Iterator[tuple[int, int, int]]:
        """Of each chunk that is due: its group, its address at the client (or 0), its size."""
        addresses = iter(self.request.addresses)
        due = []
        for group, sizes in enumerate(self._bulk):
            for size in sizes:
                address = next(addresses, 0)
                for start, stop in messages.chunks(size):
                    due.append((group, address + start if address else 0, stop - start))
        return iter(due)  # no generator: with it, a payload would wait for the garbage collector

    def add(self, frame: Any) -> tuple[int, Any]:
        """The next chunk has come; returns whose it is, 0 for all or the number of a part, and its bytes."""
        group, _, size = next(self._expected)
        if len(frame) != size:
            raise ValueError(f"a chunk of {len(frame)} bytes came where {size} were due")
        return self._take(group, memoryview(frame))

    def fill(self) -> tuple[int, Any]:
        """The next chunk will not come: something else in its place, point to point nothing at all."""
        group, _, size = next(self._expected)
        return self._take(group, np.zeros(size, np.uint8) if self.spread and group == 0 else b"")

    def _take(self, group: int, piece: Any) -> tuple[int, Any]:
        self._chunks[group].append(piece)
        self.arrived += len(piece)
        self.missing -= 1
        return group, piece

    def targets_of(self, group: int) -> list[int]:
        """The engines that a chunk is for."""
        targets = self.request.targets
        return targets if group == 0 else [targets[group - 1]]

    @property
    def due(self) -> int:
        """The bytes that are still to come."""
        return self.size - self.arrived

    @property
    def soon(self) -> bool:
        """Whether the rest will have come by the time that MPI needs for the whole."""
        elapsed = time.monotonic() - self._began
        outgoing = sum(self._bulk[0]) * len(self.request.targets) + sum(map(sum, self._bulk[1:]))
        wait = self.due * elapsed / max(self.arrived, 1)
        return self.arrived > 0 and wait <= outgoing / MPI_RATE

    def stage(self) -> None:
        """Read the next chunk out of the client's memory; OSError when the client is gone."""
        group, address, size = next(self._expected)
        room = np.empty(size, np.uint8)
        process_memory.read(self.client, address, room)
        self._take(group, room)

    # -- what goes to an engine -----------------------------------------------------------------------

    def prepare(self, hold: bool) -> None:
        """Encode what is the same for all targets: how the bulk goes is decided now."""
        request = self.request
        client, addresses = 0, []
        self._addresses: list[list[int]] = [[] for _ in self._bulk]
        if self.direct:
            given = iter(request.addresses)
            self._addresses = [[next(given) for _ in sizes] for sizes in self._bulk]
            client, addresses = self.client, self._addresses[0]
        self._header = messages.encode(
            messages.Task(
                request.id,
                request.op,
                request.method,
                request.frames,
                bool(request.parts),
                client,
                addresses,
                hold,
                self.spread,
                self.early,
                self.directory,
            )
        )
        self._same = [self._header, *self._inline[0]]

    def inline_for(self, engine: int) -> list[Any]:
        """What goes to this engine by its task connection."""
        if not self.request.parts:
            return self._same
        k = self._part[engine]
        part = messages.encode(messages.EngineFrames(self.request.parts[k - 1], self._addresses[k]))
        return [self._header, part, *self._inline[0], *self._inline[k]]

    def bulk_for(self, engine: int) -> list[Any]:
        """What goes to this engine by MPI, point to point."""
        own = self._chunks[self._part[engine]] if self.request.parts else []
        return own if self.spread and engine not in self.again else [*self._chunks[0], *own]

    def bulk_for_all(self) -> list[Any]:
        """What goes to all engines by a collective."""
        return self._chunks[0] if self.spread else []

    # -- the tasks of a `BalancedTasks`: group 0 is their function, group k + 1 the block k ----------------

    def small(self, group: int) -> list[Any]:
        """The small frames of a group."""
        return self._inline[group]

    def large(self, group: int) -> list[Any]:
        """The pieces of its bulk."""
        return self._chunks[group] if self.bulk else []

    def let_go(self, group: int) -> None:
        """Nobody needs this group any more."""
        self._inline[group] = []
        if self.bulk:
            self._chunks[group] = []
