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
    """What runs tasks, single ones and batches.

    Attributes
    ----------
    tasks : Connection
        The task connection; only the main thread uses it.
    main_thread : MainThread
        The task that runs, and its interrupts.
    admission : TaskAdmission
        Which tasks begin.
    data : TaskData
        Receives the data of tasks and sends that of results.
    user_code : UserCode
        Calls user code.
    output : TaskOutput
        What tasks print and display.
    reserve : MemoryReserve
        The memory that is kept back for the engine's own work.
    """

    tasks: Connection
    main_thread: MainThread
    admission: TaskAdmission
    data: TaskData
    user_code: UserCode
    output: TaskOutput
    reserve: MemoryReserve
