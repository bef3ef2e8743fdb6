"""The data of tasks and results, by each way: with the message, over MPI, out of the client's memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..mpi.bulk_transfer import BulkTransfer
from ..mpi.world import World
from ..protocol import messages
from ..protocol.frames import Frame
from ..transport.base import Connection
from . import bulk_data
from .memory_reserve import MemoryReserve, memory_limit
from .retained_results import RetainedResults
from .shared_memory import SharedMemory
from .task_admission import TaskAdmission


class TaskData:
    """Receives the data of tasks, and sends the data of results; only the main thread uses it.

    Parameters
    ----------
    tasks : Connection
        The task connection.
    world : World
        The communicators of the job.
    reserve : MemoryReserve
        The memory that is released if there is no room for a task's data.
    admission : TaskAdmission
        Knows which tasks are aborted.
    """

    def __init__(
        self, tasks: Connection, world: World, reserve: MemoryReserve, admission: TaskAdmission
    ) -> None:
        self._tasks = tasks
        self._admission = admission
        self._reserve = reserve
        self.retained = RetainedResults()
        self.shared_memory = SharedMemory()
        self.use(world)

    def use(self, world: World) -> None:
        """Use new communicators."""
        self.comm = world.private
        self.broadcast = bulk_data.BroadcastReceiver(world.broadcast_comm)
        self._transfer = BulkTransfer(world.private, world.processes)

    def receive(self, task: messages.Task, frames: list[Frame]) -> tuple[list[Frame], list[Frame] | None]:
        """Receive the data of a task, by the way that its header names.

        Parameters
        ----------
        task : Task
            The header.
        frames : list of bytes
            The frames that came with the header.

        Returns
        -------
        shared : list
            The frames that all engines get.
        own : list or None
            The frames of this engine alone.

        Raises
        ------
        MemoryError
            If there is no room for the data.
        OSError
            If the client is gone.
        """
        part = messages.decode_engine_frames(frames.pop(0)) if task.own else messages.EngineFrames([])
        sizes = [*task.frames, *part.frames]
        count = len(task.frames)
        if max(sizes, default=0) < messages.BULK and not task.client and not task.sealed:
            return frames[:count], frames[count:] if task.own else None
        allocate = self.shared_memory.allocate if task.op == "share" else bulk_data.pool.buffer
        try:
            received = bulk_data.allocate_bulk(sizes, iter(frames), allocate)
        except (MemoryError, OSError) as e:
            self._discard(task, sizes)
            raise MemoryError(f"this engine has no room for {sum(sizes):,} bytes{memory_limit()}") from e
        if task.client:
            addresses = [*task.addresses, *part.addresses]
            is_aborted = partial(self._admission.is_aborted, task.id)
            try:
                bulk_data.read_client(task.client, addresses, received, self._arrival(task), is_aborted)
            except bulk_data.Incomplete:
                self._tell(messages.DataFetched(task.id))
                raise
            self._tell(messages.DataFetched(task.id))
        else:
            self._receive_by_mpi(task, received, sizes)
        return received[:count], received[count:] if task.own else None

    def _discard(self, task: messages.Task, sizes: Sequence[int]) -> None:
        """Receive data for which there is no memory, and discard it."""
        self._reserve.release()
        if task.client:
            self._tell(messages.DataFetched(task.id))
        else:
            self._receive_by_mpi(task, bulk_data.discarded_frames(sizes), sizes)

    def _arrival(self, task: messages.Task) -> bulk_data.Arrival:
        return bulk_data.Arrival(lambda moved: self._tell(messages.DataArriving(task.id, moved)))

    def _receive_by_mpi(self, task: messages.Task, frames: list[Frame], sizes: Sequence[int]) -> None:
        """Receive bulk data over MPI: shared frames possibly by a collective, the others point to point."""
        arrival = self._arrival(task)
        collective = len(task.frames) if task.broadcast else 0
        if collective and not self.broadcast.receive(frames[:collective], arrival):
            self._tell(messages.Resend(task.id))
            for k, frame in enumerate(
                frames[:collective]
            ):  # The collective may still write into the old frames.
                if len(frame) >= messages.BULK and not isinstance(frame, bulk_data.DiscardedFrame):
                    frames[k] = bulk_data.pool.buffer(sizes[k])
            collective = 0
        bulk_data.receive(self._transfer, frames[collective:], arrival)
        if task.sealed:
            bulk_data.check_seal(self._transfer)

    def retain(self, task: messages.Task, frames: Sequence[Frame]) -> list[int]:
        """Keep a result for its client to read here, if the client can; return its addresses, or none."""
        if task.retain and any(len(frame) >= messages.BULK for frame in frames):
            return self.retained.keep(task.id, frames)
        return []

    def send_reply(self, header: bytes, task: str, frames: Sequence[Frame], addresses: Sequence[int]) -> None:
        """Send the header and the frames of a result.

        Parameters
        ----------
        header : bytes
            The encoded header.
        task : str
            The id of the task.
        frames : sequence
            The result.
        addresses : sequence of int
            The addresses at which the client reads the bulk data, as `retain` returned them.
        """
        inline = [frame for frame in frames if len(frame) < messages.BULK]
        self._tasks.put([header, *inline], wait=True)
        if addresses:
            copies = self.retained.wait(task)
            if copies:
                self._tell(messages.Moved(task, copies))
        elif len(inline) < len(frames):
            self.send_bulk(frames)

    def send_bulk(self, frames: Sequence[Frame]) -> None:
        """Send the bulk frames of `frames` to the controller."""
        bulk_data.send(self._transfer, frames)

    def _tell(self, message: messages.Message) -> None:
        self._tasks.put([messages.encode(message)], wait=True)
