"""The results of a batch of tasks, until they are sent together."""

from __future__ import annotations

import time
from typing import Any

from ..errors import SerializationError
from ..protocol import messages
from ..protocol.frames import Frame
from ..serialize import pickles
from ..serialize.failures import describe
from . import text_repair
from .interrupts import EngineExit
from .mpi.watched_communicator import mpi_state
from .output import displays
from .parts import EngineParts


class BatchResult:
    """What the tasks of a batch have returned so far.

    Parameters
    ----------
    parts : EngineParts
        The parts of the engine.
    task : Task
        The batch.
    batch : ItemRange
        The items of the batch.

    Attributes
    ----------
    has_bulk : bool
        Whether the latest result has bulk.
    interrupted : bool
        Whether an interrupt came after the tasks, while their values were pickled.
    """

    def __init__(self, parts: EngineParts, task: messages.Task, batch: messages.ItemRange) -> None:
        self.has_bulk = False
        self.interrupted = False
        self._parts = parts
        self._task = task
        self._quiet = False  # Whether the present output belongs to none of the tasks that are added.
        self._at = batch.first
        self._stop = batch.first + batch.stop - batch.start
        self._ends: list[messages.ItemsDone] = []
        self._inline: list[Frame] = []
        self._bulk: list[Frame] = []
        self._started = self._completed = time.time()

    def begin(self) -> None:
        """Note that the first task begins now."""
        self._started = time.time()

    def add_value(self, value: Any) -> None:
        """Add the value of the only task of the batch."""
        self.add_values([value], whole=True)

    def add_values(self, values: list[Any], whole: bool = False, quiet: bool = False) -> None:
        """Add the values of the next tasks.

        Parameters
        ----------
        values : list
            The values; an empty list adds nothing.
        whole : bool
            Whether the values belong to one task, which fails as a whole.
        quiet : bool
            Whether these tasks have printed nothing: present output belongs to the next task.
        """
        if not values:
            return
        self._completed = time.time()
        self._quiet = quiet
        try:
            self._add_pickled(values, whole)
        finally:
            self._quiet = False

    def _add_pickled(self, values: list[Any], whole: bool) -> None:
        displays.show_figures()
        try:
            frames = pickles.dumps(values)
        except SerializationError:
            if whole:
                raise
            for value in values:
                try:
                    self._add_frames(1, pickles.dumps([value]))
                except SerializationError as e:
                    self.fail(e, 1)
            return
        except KeyboardInterrupt as e:  # The tasks have run, and must not run again.
            self.fail(e, len(values))
            self.interrupted = True
            raise
        self._add_frames(len(values), frames)

    def _add_frames(self, count: int, frames: list[Frame]) -> None:
        self.has_bulk = any(len(frame) >= messages.BULK for frame in frames)
        if self.has_bulk:
            self._bulk += frames
        self._add(count, "ok", frames)

    def fail(self, error: BaseException, count: int | None = None) -> None:
        """Add an error as the result of the next `count` tasks, or of all remaining tasks."""
        if issubclass(type(error), EngineExit):
            raise error
        self._completed = time.time()
        failure = describe(error, self._task.method)
        if count is not None:  # The frames of the traceback may keep much alive.
            BaseException.with_traceback(error, None)
        left = self._stop - self._at
        if left and count != 0:
            self._add(left if count is None else min(count, left), "error", [], failure)

    def _add(
        self, count: int, status: str, frames: list[Frame], failure: messages.Failure | None = None
    ) -> None:
        """Add results; an interrupt during this call is raised afterwards."""
        main_thread = self._parts.main_thread
        task, main_thread.task = main_thread.task, ""  # Faster than to block the signal.
        try:
            self._note(count, status, frames, failure)
        finally:
            main_thread.task = task
        if main_thread.requested and main_thread.take_interrupt():
            raise KeyboardInterrupt

    def _note(self, count: int, status: str, frames: list[Frame], failure: messages.Failure | None) -> None:
        output = self._parts.output
        out, err, outputs = ("", "", b"") if self._quiet else output.end()
        sizes = [len(frame) for frame in frames]
        end = messages.ItemsDone(
            self._at, count, status, sizes, self._started, self._completed, out, err, failure, outputs
        )
        self._ends.append(end)
        self._at += count
        self._started = self._completed
        self._inline += [frame for frame in frames if len(frame) < messages.BULK]
        if not self._quiet:
            output.begin(self._task.id)

    def send(self) -> None:
        """Send the results to the controller."""
        done = messages.BatchDone(self._task.id, self._ends, mpi_state.unusable_reason)
        self._parts.tasks.put([text_repair.encode(done, self._ends), *self._inline], wait=True)
        if self._bulk:
            self._parts.data.send_bulk(self._bulk)
