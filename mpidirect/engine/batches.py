"""Batches: many short tasks that arrive together, and whose replies are sent together."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from ..protocol import messages
from ..protocol.frames import Frame
from ..serialize import pickles
from .batch_result import BatchResult
from .interrupts import EngineExit
from .parts import EngineParts

TIME_LIMIT = 0.01  # Seconds after which tasks that have not begun are returned: other engines may be free.
CACHE_SIZE = 64  # Maximum number of functions that are kept.
SILENT_TIME = 0.5e-6  # Seconds in which no task can print: the test for output takes several times as long.

Frames = Sequence[Frame]


class BatchRunner:
    """Runs batches of tasks on an engine.

    Parameters
    ----------
    parts : EngineParts
        The parts of the engine.
    """

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        # Pickled functions, by the work that they belong to.
        self._pickled: OrderedDict[str, Frames] = OrderedDict()
        self._function: tuple[str, Any] = "", None  # The work of the latest batch, and its function.
        self._stopped: set[str] = set()  # Batches of which no more tasks will begin.
        self._running = ""  # The id of the running batch.

    def stop(self, ids: Sequence[str]) -> None:
        """Begin no more tasks of these batches (called by the control thread)."""
        if self._running in ids:
            self._stopped.add(self._running)

    def forget(self, ids: Sequence[str]) -> None:
        """Forget the functions of works that are over (called by the control thread)."""
        for id in ids:
            self._pickled.pop(id, None)
            if self._function[0] == id:
                self.unload_function()

    def unload_function(self) -> None:
        """Unpickle the function again for the next batch: a task may have changed what it refers to."""
        self._function = "", None

    def serve(self, task: messages.Task, frames: list[Frame]) -> None:
        """Receive the data of a batch, run its tasks, send the reply."""
        parts, batch = self._parts, task.batch
        assert batch is not None
        result = BatchResult(parts, task, batch)
        try:
            shared, own = parts.data.receive(task, frames)
        except (OSError, MemoryError) as e:
            if parts.admission.begin(task.id):
                result.fail(e)
                result.send()
            parts.reserve.renew()
            return
        if shared and batch.keep:
            self._pickled[batch.work] = shared
            if len(self._pickled) > CACHE_SIZE:
                self._pickled.popitem(last=False)
        pickled: Frames = shared or list(self._pickled.get(batch.work, ()))
        if not parts.admission.begin(task.id):
            return
        if not pickled:  # The function has left the cache: the controller sends it again.
            result.send()
            return
        self._running = task.id
        parts.output.begin(task.id)
        try:
            parts.user_code.run(task, self._run, task, batch, pickled, own, result)
        except EngineExit:
            raise
        except BaseException as e:
            parts.user_code.make_room(e)
            if _ends_batch(e):  # The error ends the running task, or the task that was about to begin.
                result.fail(e, 0 if result.interrupted else batch.chunk or 1)
            else:
                result.fail(e)
            parts.user_code.end_failed(e)
        parts.user_code.end_child()
        self._running = ""
        self._stopped.discard(task.id)
        parts.output.end()
        parts.user_code.clean_up(task)
        result.send()

    def _run(
        self,
        task: messages.Task,
        batch: messages.ItemRange,
        pickled: Frames,
        own: Frames | None,
        result: BatchResult,
    ) -> None:
        """Call the function for each item."""
        f, args, kwargs = self._load(batch, pickled)
        if own is None:
            result.begin()
            result.add_value(f(*args, **kwargs))
            return
        sequences = pickles.loads(own)
        items = list(zip(*(part[batch.start : batch.stop] for part in sequences), strict=True))
        result.begin()
        if batch.chunk:
            self._run_chunks(task, batch, f, items, result)
        else:
            self._run_items(task, f, items, result)

    def _load(self, batch: messages.ItemRange, pickled: Frames) -> Any:
        work, function = self._function
        if work != batch.work:
            function = pickles.loads(pickled)
            self._function = (batch.work, function) if batch.keep else ("", None)
        return function

    def _run_items(
        self, task: messages.Task, f: Callable[..., Any], items: list[Any], result: BatchResult
    ) -> None:
        """Run each item as a task; tasks that succeed are reported together."""
        output, stopped, clock = self._parts.output, self._stopped, time.perf_counter
        values: list[Any] = []
        deadline = clock() + TIME_LIMIT
        at = 0
        while at < len(items):
            began = clock()
            try:
                for item in items[at:]:
                    values.append(f(*item))
                    now = clock()
                    if now - began > SILENT_TIME:
                        if output.printed() or now > deadline or task.id in stopped:
                            break
                        now = clock()
                    began = now
            except BaseException as e:
                at += len(values)
                result.add_values(values, quiet=True)
                values = []
                result.fail(e, 1)
                at += 1
                if _ends_batch(e):
                    return
                continue
            at += len(values)
            if output.printed():  # The output belongs to the last task alone.
                result.add_values(values[:-1], quiet=True)
                values = values[-1:]
            result.add_values(values)
            values = []
            if result.has_bulk or clock() > deadline or task.id in stopped:
                return

    def _run_chunks(
        self,
        task: messages.Task,
        batch: messages.ItemRange,
        f: Callable[..., Any],
        items: list[Any],
        result: BatchResult,
    ) -> None:
        """Run each chunk of items as a task."""
        deadline = time.perf_counter() + TIME_LIMIT
        for at in range(0, len(items), batch.chunk):
            chunk = items[at : at + batch.chunk]
            try:
                result.add_values([f(*item) for item in chunk], whole=True)
            except BaseException as e:
                result.fail(e, len(chunk))
                if _ends_batch(e):
                    return
            if result.has_bulk or time.perf_counter() > deadline or task.id in self._stopped:
                return


def _ends_batch(error: BaseException) -> bool:
    """Return whether this error keeps the other tasks of the batch from beginning."""
    return issubclass(type(error), KeyboardInterrupt)  # isinstance would ask the error
