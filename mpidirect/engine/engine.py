"""The engine's main thread: takes tasks, runs them, sends what came of them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..arrays import lazy_numpy
from ..mpi.bulk_transfer import BulkTransfer
from ..mpi.world import World
from ..protocol import messages
from ..serialize import module_importer, pickles
from ..serialize.failures import describe
from ..transport.base import Closed, Connection
from . import batches, bulk_data, environment, interrupts, signal_handlers, terminal
from .interrupts import EngineExit
from .memory_reserve import MemoryReserve, limit
from .mpi import recovery
from .mpi.communicators import here
from .mpi.spawning import Spawner
from .output import displays, task_output
from .retained_results import RetainedResults
from .shared_memory import SharedMemory
from .tasks import OPERATIONS, new_namespace, shell

log = logging.getLogger(__name__)

IDLE = 1000  # milliseconds without a task, after which there is time to import numpy
CROWDED = 10_000  # the same, where others were importing it: a call would meet some of them each time
OWN_THREADS = 2  # the main thread and the control thread

WAKE = signal.SIGURG  # a signal that programs ignore unless they ask for it, and that means nothing by itself


class Engine:
    """Runs tasks one after the other.

    Parameters
    ----------
    id : int
        The engine's id: its rank in `engines`.
    world : World
        The communicators: of controller and engines, for bulk data, and the same for collectives.
    restore : Recovery
        Who makes the communicators anew.
    spawner : Spawner
        Who starts other engines.
    tasks : Connection
        The task connection; only the main thread uses it.
    names : dict
        What the namespace begins with.
    printed : Output
        What its tasks print and display.
    """

    def __init__(
        self,
        id: int,
        world: World,
        restore: recovery.CommunicatorRepair,
        spawner: Spawner,
        tasks: Connection,
        names: dict[str, Any],
        printed: task_output.TaskOutput,
    ) -> None:
        self.id = id
        self.recovery = restore
        self.spawner = spawner
        self._use(world)
        self.tasks = tasks
        self.names = names
        self.namespace = new_namespace(names)
        self._seen: deque[str] = deque(maxlen=64)  # tasks that have begun or ended; more are never handed out
        self._aborted: set[str] = set()  # tasks that will not begin, and were answered already
        self._beginning = threading.Lock()
        self.reserve = MemoryReserve()
        self.held = RetainedResults()
        self.shares = SharedMemory()
        self.batches = batches.BatchRunner(self)
        self.leaving = False
        self._left = False  # whether the loop has been left
        self._pid = os.getpid()
        self._task = ""  # the id of the task whose user code runs now
        self._wanted: set[str] = set()  # tasks that are to be interrupted
        self._ours = False  # whether the SIGINT that comes is our control thread's
        here.engine = id
        here.interrupted = self._take_interrupt
        here.running = lambda: bool(self._task)
        self.output = printed
        displays.begin(partial(shell, self.namespace))
        terminal.refuse()

    # -- the loop ---------------------------------------------------------------------------------

    def run(self, beside: Callable[[], None] = lambda: None) -> None:
        """Serve until told to stop; first call `beside`, which starts the other thread."""
        _be_patient()
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(WAKE, _nothing)
        signal_handlers.begin(Engine._call, (self._interrupt, _nothing))
        sys.unraisablehook = self._unraisable
        try:
            try:
                beside()  # not before: it may be told at once that all is over, and send a signal
                self._take_tasks()
            except Closed:
                here.left = here.left or "the controller is gone"
            finally:
                self.leaving, self._left = True, True
        except EngineExit:  # also in the moment before it is noted that the loop has been left
            self._left = True

    def _take_tasks(self) -> None:
        warm, idle = False, IDLE
        while not self.leaving:
            if not (warm or self.tasks.poll(idle)):
                warm = self._warm()
                idle = CROWDED + 97 * self.id % CROWDED  # not all at the same moment again
            try:
                message = messages.decode_to_engine(self.tasks.first(wait=True))
            except MemoryError:  # threads of user code may take what a task has left
                if not self.reserve.release():
                    raise
                continue
            frames = self.tasks.rest()
            if isinstance(message, messages.Stop):
                return
            if isinstance(message, messages.Task):
                if message.batch is not None:
                    self.batches.serve(message, frames)
                else:
                    self._serve(message, frames)
            else:
                self._arrange(message)

    def _warm(self) -> bool:
        """Import numpy while nothing is asked for; returns whether no more is to be tried.

        In this thread: in another one, a task that imports a part of numpy would meet half a package.
        For the same reason not while user code has threads, which may import as well.
        """
        if threading.active_count() > OWN_THREADS:
            return False
        return lazy_numpy.warm_in_turn()

    def _arrange(self, message: messages.Message) -> None:
        """Do what all engines do together, or for each other."""
        if isinstance(message, messages.RepairCommunicator):
            self._tell(self.recovery.repair(message))
        elif isinstance(message, messages.SpawnEngines):
            self._tell(self.spawner.spawn(message))
        elif isinstance(message, messages.PrepareCommunicators):
            self._tell(self.recovery.join(message))
        elif isinstance(message, messages.MakeCommunicators):
            self._tell(self.recovery.grow())
        elif isinstance(message, messages.UseCommunicators):
            self._use(self.recovery.commit())
        if isinstance(message, (messages.RepairCommunicator, messages.UseCommunicators)):
            around = environment.enter(self.recovery.places, here.world.Get_rank())
            recovery.update(self.names, self.namespace, around)
            self._tell(environment.placed(around))

    def _use(self, world: World) -> None:
        self.comm = world.private
        self.pieces = BulkTransfer(world.private, world.processes)
        self.spread = bulk_data.BroadcastReceiver(world.spread)

    def _tell(self, message: messages.Message) -> None:
        self.tasks.put([messages.encode(message)], wait=True)

    def _serve(self, task: messages.Task, frames: list[bytes]) -> None:
        """Receive a task's data, run it, send the reply."""
        started = time.time()
        try:
            shared, own = self._receive(task, frames)
        except (OSError, MemoryError) as e:  # the client is gone, and its data with it; or there is no room
            self.shares.abandon()
            if self._begins(task.id):
                self._reply(task, "error", [], started, failure=describe(e, task.method))
            self.reserve.look()
            return
        if not self._begins(task.id):
            return
        self.output.begin(task.id)
        failure: messages.Failure | None = None
        result: list[Any] = []
        try:
            if task.op == "collective":  # which says itself where it can be interrupted: others wait for it
                with interrupts.held():
                    result = self._run(task, shared, own)
            else:
                result = self._run(task, shared, own)
        except EngineExit:
            raise
        except BaseException as e:
            if isinstance(e, MemoryError):
                self.reserve.release()
            failure = describe(e, task.method)
            BaseException.with_traceback(e, None)  # not by assignment: user code may have a say in that
            self.end_child(e)
        self.end_child()
        del shared, own
        self._mend()
        self._wanted.discard(task.id)
        status = "ok" if failure is None else "error"
        self._reply(task, status, result, started, *self.output.end(), failure)

    def end_child(self, error: BaseException | None = None) -> None:
        """If this is a forked child that comes back from user code, end it as a script would end."""
        if os.getpid() != self._pid:
            self.output.flush()
            ended = error is None or isinstance(error, SystemExit)
            code = getattr(error, "code", 0)
            os._exit(code if ended and isinstance(code, int) else 1)

    def _run(self, task: messages.Task, shared: Sequence[Any], own: Sequence[Any] | None) -> list[Any]:
        """Run it; here, and nowhere else, an interrupt is raised."""
        try:
            self._task = task.id
            return self._call(task, shared, own)
        finally:
            self._task = ""

    def _call(self, task: messages.Task, shared: Sequence[Any], own: Sequence[Any] | None) -> list[Any]:
        """Call user code; here, and nowhere else, its handlers of signals may raise."""
        if self._wanted and task.op != "collective" and self._take_interrupt():  # it overtook the task
            raise KeyboardInterrupt
        module_importer.serve(task.id.rpartition("-")[0], task.directory)
        if task.batch is not None:
            self.batches.run(task, shared[0], own)
            return []
        self.batches.others_ran()
        if task.op == "share":
            return pickles.dumps(self.shares.keep(task.id))
        mine = None if own is None else pickles.loads(own)
        try:
            value = OPERATIONS[task.op](self.namespace, pickles.loads(shared), mine)
        finally:
            if not self.leaving:
                displays.show_figures()  # before pickling: an open one opens again where it arrives
        return pickles.dumps(value)

    def _mend(self) -> None:
        """Put back what the next task can't do without, as IPython's kernels do."""
        self.reserve.look()
        self.output.mend()
        if signal_handlers.interrupt_replaced:
            signal.signal(signal.SIGINT, self._interrupt)

    def _begins(self, task: str) -> bool:
        """Whether the task is to begin: then it can't be aborted any more."""
        with self._beginning:
            if task not in self._aborted:
                self._seen.append(task)
                return True
            self._aborted.discard(task)
            self._wanted.discard(task)
            return False

    def abort(self, tasks: Sequence[str]) -> list[str]:
        """Keep these tasks from beginning; returns those that had not begun (the control thread asks)."""
        with self._beginning:
            aborted = [task for task in tasks if task not in self._seen and task not in self._aborted]
            self._aborted.update(aborted)
            self.batches.cut(tasks)
        return aborted

    def _receive(self, task: messages.Task, frames: list[bytes]) -> tuple[list[Any], list[Any] | None]:
        """The task's shared frames, and its own, wherever their bulk is."""
        part = messages.decode_engine_frames(frames.pop(0)) if task.own else messages.EngineFrames([])
        sizes = [*task.frames, *part.frames]
        if max(sizes, default=0) < messages.BULK and not task.client and not task.sealed:
            count = len(task.frames)
            return frames[:count], frames[count:] if task.own else None
        room = self.shares.room if task.op == "share" else bulk_data.private.room
        try:
            received = bulk_data.rooms(sizes, iter(frames), room)
        except (MemoryError, OSError) as e:
            self._refuse(task, sizes)
            raise MemoryError(f"{sum(sizes):,} bytes find no room on this engine{limit()}") from e
        count = len(task.frames)
        if task.client:
            bulk_data.fetch(task.client, [*task.addresses, *part.addresses], received)
            self._tell(messages.DataFetched(task.id))
        else:
            self._receive_bulk(task, received, sizes)
        return received[:count], received[count:] if task.own else None

    def _refuse(self, task: messages.Task, sizes: Sequence[int]) -> None:
        """There is no room for a task's data: get what is on its way out of the way."""
        self.reserve.release()
        if task.client:
            self._tell(messages.DataFetched(task.id))
        else:
            self._receive_bulk(task, bulk_data.nowhere(sizes), sizes)

    def _receive_bulk(self, task: messages.Task, frames: list[Any], sizes: Sequence[int]) -> None:
        """What comes over MPI: what all engines get perhaps by a collective, the rest point to point."""
        together = len(task.frames) if task.spread else 0
        if together and not self.spread.receive(frames[:together]):
            self._tell(messages.Resend(task.id))
            for k, frame in enumerate(frames[:together]):  # the collective may still write into the old ones
                if len(frame) >= messages.BULK and not isinstance(frame, bulk_data.DiscardedFrame):
                    frames[k] = bulk_data.private.room(sizes[k])
            together = 0
        bulk_data.receive(self.pieces, frames[together:])
        if task.sealed:
            bulk_data.check_seal(self.pieces)

    def _reply(
        self,
        task: messages.Task,
        status: str,
        frames: list[Any],
        started: float,
        stdout: str = "",
        stderr: str = "",
        outputs: bytes = b"",
        failure: messages.Failure | None = None,
    ) -> None:
        sizes = [len(frame) for frame in frames]
        inline = [frame for frame in frames if len(frame) < messages.BULK]
        bulk = len(inline) < len(frames)
        addresses = self.held.keep(task.id, frames) if bulk and task.hold else []
        done = messages.TaskDone(
            task.id,
            status,
            sizes,
            started,
            time.time(),
            stdout,
            stderr,
            failure,
            addresses,
            here.left,
            outputs,
            self.output.ends,
        )
        self.tasks.put([_encode(done), *inline], wait=True)
        if addresses:
            moved = self.held.wait(task.id)
            if moved:
                self._tell(messages.Moved(task.id, moved))
        elif bulk:
            bulk_data.send(self.pieces, frames)

    # -- interrupts -----------------------------------------------------------------------------

    def signalled(self, message: messages.Signal) -> None:
        """A signal for the user's code came; called by the control thread."""
        if message.signum == signal.SIGINT:
            self._wanted.add(message.id or self._task)
            self._ours = True
        signal.pthread_kill(threading.main_thread().ident or 0, message.signum)

    def wake(self) -> None:
        """End the system call that the main thread is in, so that Python looks for signals."""
        signal.pthread_kill(threading.main_thread().ident or 0, WAKE)

    @property
    def task(self) -> str:
        """The id of the task whose user code runs."""
        return self._task

    @property
    def deaf(self) -> bool:
        """Whether the task that runs was to be interrupted, and has not noticed yet."""
        return bool(self._task) and (self._task in self._wanted or here.pending)

    def _interrupt(self, signum: int, frame: Any) -> None:
        """SIGINT: raise in user code that is meant, and nowhere else."""
        if self._left:
            return
        if self.leaving:
            raise EngineExit
        ours, self._ours = self._ours, False
        meant = self._take_interrupt() if ours else bool(self._task)
        if meant and here.at is not None:
            here.pending = True  # that call looks for it
        elif meant:
            raise KeyboardInterrupt from None

    def _unraisable(self, info: Any) -> None:
        """What comes where Python can raise nothing, as when it frees an object: an interrupt comes again."""
        if self._task and isinstance(info.exc_value, KeyboardInterrupt):
            again = messages.Signal(signal.SIGINT, self._task)
            threading.Timer(0.01, self.signalled, [again]).start()
        else:
            sys.__unraisablehook__(info)

    def _take_interrupt(self) -> bool:
        """Whether the task that runs is to be interrupted: asked once, it is so once."""
        if not self._task or self._task not in self._wanted:
            return False
        self._wanted.discard(self._task)
        return True


def _be_patient() -> None:
    """Have the kernel take this for a process that computes: where engines are more than cores, waking one
    does not interrupt the controller, which has more to hand out.
    """
    with contextlib.suppress(AttributeError, OSError):  # not on this system, or not allowed
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _nothing(signum: int, frame: Any) -> None:
    """A handler of Python's: without one a signal would not end a system call."""


def _encode(done: messages.TaskDone) -> bytes:
    try:
        return messages.encode(done)
    except (UnicodeEncodeError, UnicodeDecodeError):  # lone surrogates in what was printed
        batches.clean(done)
        return messages.encode(done)
