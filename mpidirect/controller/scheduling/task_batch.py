"""Tasks of a balanced request that one engine gets together."""

from __future__ import annotations

from collections.abc import Sequence

from ...protocol import messages
from ...protocol.frames import Frame
from ..sessions.uploads import SHARED
from .balanced_request import BalancedRequest, TaskRange
from .delivery import Delivery
from .scheduler import ActiveRequest


class TaskBatch(ActiveRequest):
    """A range of tasks on one engine."""

    __slots__ = ("balanced_request", "seconds", "tasks")

    def __init__(self, request: BalancedRequest, engine: int, tasks: TaskRange) -> None:
        super().__init__(request.next_batch_id(), request.client, request.method, [engine], request.upload)
        self.request_id = request.id
        self.balanced_request = request
        self.tasks = tasks
        self.seconds = (tasks.stop - tasks.first) * (request.pace or 0.0)  # the expected time; 0 if unknown
        self.delivery = BatchDelivery(self.id, request, tasks, engine in request.function_holders)
        if request.total > 1:
            request.function_holders.add(engine)


class BatchDelivery(Delivery):
    """The delivery of a batch: the block of its items, and the function unless the engine has it."""

    def __init__(self, task: str, request: BalancedRequest, tasks: TaskRange, has_function: bool) -> None:
        self.upload = request.upload
        self._task_id = task
        self._request = request
        self._tasks = tasks
        self._block = request.block_of(tasks.first)
        self._has_function = has_function

    def frames_for(self, engine: int) -> list[Frame]:
        request, header, upload = self._request, self._request.header, self.upload
        first, stop = self._tasks
        start = first - request.block_start(self._block)
        items = messages.ItemRange(
            request.id, first, start, start + stop - first, request.chunk, request.total > 1
        )
        task = messages.Task(
            self._task_id,
            header.op,
            header.op,
            [] if self._has_function else header.frames,
            bool(header.parts),
            directory=upload.directory,
            batch=items,
        )
        frames: list[Frame] = [messages.encode(task)]
        if header.parts:
            frames.append(messages.encode(messages.EngineFrames(header.parts[self._block])))
        if not self._has_function:
            frames += upload.inline(SHARED)
        if header.parts:
            frames += upload.inline(self._block + 1)
        return frames

    def pieces_for(self, engine: int) -> Sequence[Frame]:
        function = [] if self._has_function else self.upload.chunks(SHARED)
        items = self.upload.chunks(self._block + 1) if self._request.header.parts else []
        return [*function, *items]
