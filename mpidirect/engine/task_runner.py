"""Single tasks: receive the data, call the operation, send the reply."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..protocol import messages
from ..protocol.frames import Frame
from ..serialize import pickles
from ..serialize.failures import describe
from . import interrupts, text_repair
from .interrupts import EngineExit
from .mpi.watched_communicator import mpi_state
from .output import displays
from .parts import EngineParts
from .tasks import CONTROLLER_OPERATIONS, OPERATIONS, Namespace


class TaskRunner:
    """Runs single tasks, each with a reply of its own.

    Parameters
    ----------
    parts : EngineParts
        The parts of the engine.
    namespace : dict
        The namespace of user code.
    """

    def __init__(self, parts: EngineParts, namespace: Namespace) -> None:
        self._parts = parts
        self._namespace = namespace

    def serve(self, task: messages.Task, frames: list[Frame]) -> None:
        """Receive a task's data, run the task, send the reply."""
        parts = self._parts
        started = time.time()
        try:
            shared, own = parts.data.receive(task, frames)
        except (OSError, MemoryError) as e:  # The client is gone, or there is no room.
            parts.data.shared_memory.abandon()
            if parts.admission.begin(task.id):
                self._reply(task, [], started, failure=describe(e, task.method))
            parts.reserve.renew()
            return
        if not parts.admission.begin(task.id):
            return
        parts.output.begin(task.id)
        failure: messages.Failure | None = None
        result: list[Frame] = []
        try:
            if task.op == "collective":  # A collective admits interrupts where it can be left.
                with interrupts.held():
                    result = parts.user_code.run(task, self._call, task, shared, own)
            else:
                result = parts.user_code.run(task, self._call, task, shared, own)
        except EngineExit:
            raise
        except BaseException as e:
            parts.user_code.make_room(e)
            failure = describe(e, task.method)
            parts.user_code.end_failed(e)
        parts.user_code.end_child()
        del shared, own
        parts.user_code.clean_up(task)
        self._reply(task, result, started, *parts.output.end(), failure)

    def _call(self, task: messages.Task, shared: Sequence[Frame], own: Sequence[Frame] | None) -> list[Frame]:
        """Unpickle the arguments, call the operation, pickle the result."""
        if task.op == "share":
            return pickles.dumps(self._parts.data.shared_memory.keep(task.id))
        if task.op in CONTROLLER_OPERATIONS:
            arguments = [bytes(frame).decode() for frame in own or []]
            return CONTROLLER_OPERATIONS[task.op](self._namespace, *arguments)
        own_value = None if own is None else pickles.loads(own)
        try:
            value = OPERATIONS[task.op](self._namespace, pickles.loads(shared), own_value)
        finally:
            if not self._parts.main_thread.leaving:
                displays.show_figures()  # Before pickling: an open figure opens again where it arrives.
        return pickles.dumps(value)

    def _reply(
        self,
        task: messages.Task,
        frames: list[Frame],
        started: float,
        stdout: str = "",
        stderr: str = "",
        outputs: bytes = b"",
        failure: messages.Failure | None = None,
    ) -> None:
        parts = self._parts
        addresses = parts.data.retain(task, frames)
        done = messages.TaskDone(
            task.id,
            "ok" if failure is None else "error",
            [len(frame) for frame in frames],
            started,
            time.time(),
            stdout,
            stderr,
            failure,
            addresses,
            mpi_state.unusable_reason,
            outputs,
            parts.output.ends,
        )
        parts.data.send_reply(text_repair.encode(done, [done]), task.id, frames, addresses)
