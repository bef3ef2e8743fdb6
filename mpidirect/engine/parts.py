"""The parts of an engine that run tasks."""

from __future__ import annotations

from typing import NamedTuple

from ..transport.base import Connection
from .main_thread import MainThread
from .memory_reserve import MemoryReserve
from .output.task_output import TaskOutput
from .task_admission import TaskAdmission
from .task_data import TaskData
from .user_code import UserCode


class EngineParts(NamedTuple):
    """The parts that run tasks, single ones and batches.

    Attributes
    ----------
    tasks : Connection
        The task connection; only the main thread uses it.
    main_thread : MainThread
        The running task, and its interrupts.
    admission : TaskAdmission
        Decides which tasks begin.
    data : TaskData
        Receives the data of tasks and sends the data of results.
    user_code : UserCode
        Calls user code.
    output : TaskOutput
        The output of tasks.
    reserve : MemoryReserve
        The memory that is reserved for the engine's own work.
    """

    tasks: Connection
    main_thread: MainThread
    admission: TaskAdmission
    data: TaskData
    user_code: UserCode
    output: TaskOutput
    reserve: MemoryReserve
