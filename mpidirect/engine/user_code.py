"""Calls of user code on the engine's main thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from ..protocol import messages
from ..serialize import module_importer
from . import post_mortem
from .breakpoints import Breakpoints, PromptInterrupted
from .main_thread import MainThread
from .memory_reserve import MemoryReserve
from .output.task_output import TaskOutput

Result = TypeVar("Result")


class UserCode:
    """Calls the user code of the tasks, one after the other.

    Parameters
    ----------
    main_thread : MainThread
        Delivers interrupts.
    output : TaskOutput
        The output of tasks.
    reserve : MemoryReserve
        The memory that is reserved for the engine's own work.
    breakpoints : Breakpoints
        The debugger of a task.
    """

    def __init__(
        self, main_thread: MainThread, output: TaskOutput, reserve: MemoryReserve, breakpoints: Breakpoints
    ) -> None:
        self._main_thread = main_thread
        self._output = output
        self._reserve = reserve
        self._breakpoints = breakpoints
        self._pid = os.getpid()

    def run(self, task: messages.Task, operation: Callable[..., Result], *args: Any) -> Result:
        """Call ``operation(*args)`` for a task; an interrupt of the task is raised in this call only."""
        if post_mortem.last_error is not None and task.op not in post_mortem.HARMLESS:
            post_mortem.release()
        try:
            self._main_thread.begin(task)
            return self.call(task, operation, *args)
        except PromptInterrupted:
            raise KeyboardInterrupt from None
        finally:
            self._main_thread.task = ""

    def call(self, task: messages.Task, operation: Callable[..., Result], *args: Any) -> Result:
        """Call the operation; handlers of user code may raise exceptions below this frame only."""
        main_thread = self._main_thread
        if main_thread.requested and task.op != "collective" and main_thread.take_interrupt():
            raise KeyboardInterrupt  # The interrupt came before the task.
        module_importer.serve(task.id.rpartition("-")[0], task.directory)
        return operation(*args)

    def make_room(self, error: BaseException) -> None:
        """Release the reserve after a MemoryError: to report the error takes memory."""
        # isinstance would use attributes of the error, which may raise exceptions
        if issubclass(type(error), MemoryError):
            self._reserve.release()

    def end_failed(self, error: BaseException) -> None:
        """Keep a reported error for a debugger; end the process if it is a forked child."""
        post_mortem.keep(error)
        # No assignment: a class of the user may redefine this attribute.
        BaseException.with_traceback(error, None)
        self.end_child(error)

    def end_child(self, error: BaseException | None = None) -> None:
        """If this process is a forked child that returns from user code, end the child as a script ends."""
        if os.getpid() != self._pid:
            self._output.flush()
            ended = error is None or isinstance(error, SystemExit)
            code = getattr(error, "code", 0)
            os._exit(code if ended and isinstance(code, int) else 1)

    def clean_up(self, task: messages.Task) -> None:
        """Restore after a task what the next task needs, as IPython's kernels do."""
        self._breakpoints.end_task()
        self._reserve.renew()
        self._output.restore_streams()
        self._main_thread.restore_interrupt_handler()
        self._main_thread.requested.discard(task.id)
