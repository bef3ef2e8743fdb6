"""The engine's main loop: handles tasks and orders, one after the other."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from ..arrays import lazy_numpy
from ..mpi.world import World
from ..protocol import messages
from ..transport.base import Closed, Connection
from . import environment
from .batches import BatchRunner
from .breakpoints import Breakpoints
from .debugger_channel import DebuggerChannel
from .interrupts import EngineExit
from .main_thread import MainThread
from .memory_reserve import MemoryReserve
from .mpi import communicator_repair
from .mpi.spawning import Spawner
from .mpi.watched_communicator import mpi_state
from .output import displays
from .output.task_output import TaskOutput
from .parts import EngineParts
from .task_admission import TaskAdmission
from .task_data import TaskData
from .task_runner import TaskRunner
from .tasks import new_namespace, shell
from .user_code import UserCode

IDLE = 1000  # Milliseconds without a task, after which the engine imports numpy.
IMPORT_RETRY = 10_000  # Milliseconds until the next attempt, while other engines of the host import numpy.
RETRY_SPREAD = 97  # Milliseconds between the retries of two neighbours.
OWN_THREADS = "mpidirect-"  # The beginning of the names of threads that run no user code.


class Engine:
    """Runs tasks one after the other.

    Parameters
    ----------
    id : int
        The engine's id: its rank in `engines`.
    world : World
        The communicators of controller and engines.
    repair : CommunicatorRepair
        Makes the communicators of engines anew.
    spawner : Spawner
        Starts other engines.
    tasks : Connection
        The task connection; only the main thread uses it.
    names : dict
        The initial names of the namespace.
    output : TaskOutput
        The output of tasks.

    Attributes
    ----------
    parts : EngineParts
        The parts that run tasks.
    batches : BatchRunner
        Runs batches of tasks.
    namespace : dict
        The namespace of user code.
    debugger : DebuggerChannel
        Debuggers in user code, which wait for commands.
    """

    def __init__(
        self,
        id: int,
        world: World,
        repair: communicator_repair.CommunicatorRepair,
        spawner: Spawner,
        tasks: Connection,
        names: dict[str, Any],
        output: TaskOutput,
    ) -> None:
        self.id = id
        self._repair = repair
        self._spawner = spawner
        self._tasks = tasks
        self._names = names
        mpi_state.engine = id
        reserve, main_thread = MemoryReserve(), MainThread()
        admission = TaskAdmission(main_thread)
        self.debugger = DebuggerChannel(main_thread, output)
        breakpoints = Breakpoints(self.debugger, lambda: bool(main_thread.task))
        self.parts = EngineParts(
            tasks,
            main_thread,
            admission,
            TaskData(tasks, world, reserve, admission),
            UserCode(main_thread, output, reserve, breakpoints),
            output,
            reserve,
        )
        self.namespace = new_namespace(names)
        self.batches = BatchRunner(self.parts)
        self._runner = TaskRunner(self.parts, self.namespace)
        displays.enable(partial(shell, self.namespace))
        breakpoints.enable()

    def run(self, start_control: Callable[[], None] = lambda: None) -> None:
        """Serve until told to stop.

        Parameters
        ----------
        start_control : callable
            Starts the control thread. It is called when this thread can handle signals, because the control
            thread may be told at once to end the engine.
        """
        _set_batch_scheduling()
        main_thread = self.parts.main_thread
        main_thread.install_handlers(UserCode.call)
        try:
            try:
                start_control()
                self._serve()
            except Closed:
                mpi_state.unusable_reason = mpi_state.unusable_reason or "the controller is gone"
            finally:
                main_thread.leave_loop()
        except EngineExit:  # Also possible just before the end of the loop is noted.
            main_thread.leave_loop()

    def _serve(self) -> None:
        numpy_done, idle = False, IDLE
        while not self.parts.main_thread.leaving:
            if not (numpy_done or self._tasks.poll(idle)):
                numpy_done = _import_numpy()
                idle = IMPORT_RETRY + RETRY_SPREAD * self.id % IMPORT_RETRY
            try:
                message = messages.decode_to_engine(self._tasks.first(wait=True))
            except MemoryError:  # Threads of user code may take the memory that a task has left.
                if not self.parts.reserve.release():
                    raise
                continue
            frames = self._tasks.rest()
            if isinstance(message, messages.Stop):
                return
            if not isinstance(message, messages.Task):
                self._execute(message)
            elif message.batch is not None:
                self.batches.serve(message, frames)
            else:
                self.batches.unload_function()
                self._runner.serve(message, frames)

    def _execute(self, order: messages.Message) -> None:
        """Make communicators or spawn engines, as the controller orders."""
        renewed = isinstance(order, messages.UseCommunicators)
        if isinstance(order, messages.RepairCommunicator):
            made = self._repair.repair(order)
            self._tell(made)
            renewed = not made.problem
        elif isinstance(order, messages.SpawnEngines):
            self._tell(self._spawner.spawn(order))
        elif isinstance(order, messages.PrepareCommunicators):
            self._tell(self._repair.join(order))
        elif isinstance(order, messages.MakeCommunicators):
            self._tell(self._repair.grow())
        elif isinstance(order, messages.UseCommunicators):
            self.parts.data.use(self._repair.commit())
        if renewed:
            place = environment.enter(self._repair.places, mpi_state.world.Get_rank())
            communicator_repair.update(self._names, self.namespace, place)
            self._tell(environment.placed(place))
            self._repair.reserve.renew()

    def _tell(self, message: messages.Message) -> None:
        self._tasks.put([messages.encode(message)], wait=True)


def _import_numpy() -> bool:
    """Import numpy while there is no task; return whether numpy is imported.

    This thread imports it, because two threads that import parts of one package may each find half of it. For
    the same reason numpy is not imported while user code has threads.
    """
    others = [one for one in threading.enumerate() if not one.name.startswith(OWN_THREADS)]
    if others != [threading.main_thread()]:
        return False
    return lazy_numpy.warm_in_turn()


def _set_batch_scheduling() -> None:
    """Tell the kernel that this process computes.

    If there are more engines than cores, a waking engine then does not interrupt the controller, which has
    more tasks to send.
    """
    with contextlib.suppress(AttributeError, OSError):  # The system has no such policy, or does not allow it.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
