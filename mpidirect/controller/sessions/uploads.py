"""The data of a request in the controller: opaque frames, the bulk frames in chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ...arrays.lazy_numpy import np
from ...memory import process_memory
from ...protocol import messages
from ...protocol.frames import Frame
from ...protocol.messages import BULK

MAX_FRAME = 1 << 40  # maximum bytes of one frame
MPI_RATE = 4e9  # approximate bytes per second that the controller can send to engines
REPORT_INTERVAL = 0.2  # seconds between two reports on the arrival of a request's data
SHARED = 0  # the group of the frames that all targets get; group k + 1 is part k of the request

RequestHeader = messages.Request | messages.BalancedTasks


class ChunkSlot(NamedTuple):
    """A chunk that has not arrived."""

    group: int
    address: int  # the address in the client's memory; 0 if the chunk arrives as a message
    size: int


class Upload:
    """The frames of a request, by groups: the shared frames, and one group for each part.

    Small frames come with the header. Bulk frames come in chunks (`add`), or are read out of the client's
    memory (`read_chunk`), or stay there for the engines to read.

    Parameters
    ----------
    header : Request or BalancedTasks
        The header of the request.
    frames : list of buffers
        The small frames.
    client_process : int
        The client's process if its memory can be read, else 0.
    directory : str
        The directory of the client's script.

    Raises
    ------
    ValueError
        When the frames differ from the header.
    """

    def __init__(
        self, header: RequestHeader, frames: list[Frame], client_process: int, directory: str = ""
    ) -> None:
        self.header = header
        self.client_process = client_process
        self.directory = directory
        owners = header.targets if isinstance(header, messages.Request) else range(len(header.parts))
        if len(set(header.targets)) != len(header.targets):
            raise ValueError("targets repeat")
        if isinstance(header, messages.Request) and not header.targets:
            raise ValueError("there is no target")
        if header.parts and len(header.parts) != len(owners):
            raise ValueError("parts and targets differ in number")
        self._inline: list[list[Frame]] = []
        self._bulk_sizes: list[list[int]] = []
        self._sort_frames(frames)
        self._group_of = {owner: k for k, owner in enumerate(owners, 1)} if header.parts else {}
        self.bulk = any(self._bulk_sizes)
        # missing chunks; bytes of bulk data; bytes that have arrived
        self.missing = self.size = self.arrived = 0
        if self.bulk:
            self._expect_bulk()
        if header.addresses and (
            not client_process or len(header.addresses) != sum(map(len, self._bulk_sizes))
        ):
            raise ValueError("these are not the addresses of the bulk frames")

    def _sort_frames(self, frames: list[Frame]) -> None:
        """Give each group its small frames and the sizes of its bulk frames."""
        coming = iter(frames)
        for sizes in (self.header.frames, *self.header.parts):
            small, large = [], []
            for size in sizes:
                if BULK <= size <= MAX_FRAME:
                    large.append(size)
                elif (frame := next(coming, None)) is not None and len(frame) == size:
                    small.append(frame)
                else:
                    raise ValueError("the frames are not those that the header announces")
            self._inline.append(small)
            self._bulk_sizes.append(large)
        if next(coming, None) is not None:
            raise ValueError("there are more frames than the header announces")

    def _expect_bulk(self) -> None:
        self._chunks: list[list[Frame]] = [[] for _ in self._bulk_sizes]
        slots = self._slots()
        self.missing = len(slots)
        self._expected: Iterator[ChunkSlot] = iter(slots)
        self.size = sum(map(sum, self._bulk_sizes))
        self._began = time.monotonic()
        self._report_time = 0.0

    def _slots(self) -> list[ChunkSlot]:
        """Return the slot of each chunk, in the order of their arrival.

        This is no generator, because a generator would keep the upload alive until the garbage collector
        runs.
        """
        addresses = iter(self.header.addresses)
        slots = []
        for group, sizes in enumerate(self._bulk_sizes):
            for size in sizes:
                address = next(addresses, 0)
                for start, stop in messages.chunks(size):
                    slots.append(ChunkSlot(group, address + start if address else 0, stop - start))
        return slots

    # -- arrival ----------------------------------------------------------------------------------

    def add(self, frame: Frame) -> tuple[int, Frame]:
        """Take the next chunk, which arrived as a message; return its group and its bytes."""
        slot = next(self._expected)
        if len(frame) != slot.size:
            raise ValueError(f"a chunk of {len(frame)} bytes came where {slot.size} were due")
        return slot.group, self._store(slot, memoryview(frame))

    def read_chunk(self) -> None:
        """Read the next chunk out of the client's memory; raise OSError if the client is gone."""
        slot = next(self._expected)
        chunk = np.empty(slot.size, np.uint8)
        process_memory.read(self.client_process, slot.address, chunk)
        self._store(slot, chunk)

    def fill(self, substitute: Callable[[ChunkSlot], Any]) -> tuple[int, Any]:
        """Put a substitute in the place of the next chunk; return its group and its bytes."""
        slot = next(self._expected)
        return slot.group, self._store(slot, substitute(slot))

    def _store(self, slot: ChunkSlot, chunk: Frame) -> Frame:
        self._chunks[slot.group].append(chunk)
        self.arrived += slot.size
        self.missing -= 1
        return chunk

    @property
    def outgoing(self) -> int:
        """Return the bytes of bulk data that all engines together get."""
        shared, *own = map(sum, self._bulk_sizes)
        return shared * len(self.header.targets) + sum(own)

    def outgoing_to(self, owner: int) -> int:
        """Return the bytes of bulk data that one target gets."""
        group = self.group_of(owner)
        return sum(self._bulk_sizes[SHARED]) + (sum(self._bulk_sizes[group]) if group != SHARED else 0)

    def report_due(self, delay: float = 0.0) -> bool:
        """Return whether the client should be told now how much has arrived: after `delay`, in intervals."""
        now = time.monotonic()
        if now < max(self._report_time, self._began + delay):
            return False
        self._report_time = now + REPORT_INTERVAL
        return True

    @property
    def due(self) -> int:
        """Return the number of bytes that have not arrived."""
        return self.size - self.arrived

    @property
    def keeps_up(self) -> bool:
        """Return whether the rest will probably arrive before MPI has sent the whole to the engines."""
        elapsed = time.monotonic() - self._began
        wait = self.due * elapsed / max(self.arrived, 1)
        return self.arrived > 0 and wait <= self.outgoing / MPI_RATE

    # -- content ----------------------------------------------------------------------------------

    def group_of(self, owner: int) -> int:
        """Return the group of a target's own frames; 0 if the request has no parts."""
        return self._group_of.get(owner, SHARED)

    def targets_of(self, group: int) -> list[int]:
        """Return the engines that get the frames of a group."""
        targets = self.header.targets
        return targets if group == SHARED else [targets[group - 1]]

    def inline(self, group: int) -> list[Frame]:
        """Return the small frames of a group."""
        return self._inline[group]

    def chunks(self, group: int) -> list[Frame]:
        """Return the chunks of a group that have arrived."""
        return self._chunks[group] if self.bulk else []

    def addresses(self) -> list[list[int]]:
        """Return the addresses of the bulk frames of each group in the client's memory."""
        given = iter(self.header.addresses)
        return [[next(given) for _ in sizes] for sizes in self._bulk_sizes]

    def release(self, group: int) -> None:
        """Release the frames of a group: no engine needs them any more."""
        self._inline[group] = []
        if self.bulk:
            self._chunks[group] = []
