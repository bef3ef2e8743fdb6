"""The engine's control thread: handles messages of the controller also while user code runs."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, NoReturn

import zmq

from ..job.exit import exit_cleanly
from ..job.parent import Parent
from ..job.signals import send_signal
from ..protocol import messages
from ..transport.zeromq import event_of
from . import interrupt_watch
from .batches import BatchRunner
from .bulk_data import CONTROLLER, pool
from .debugger_channel import DebuggerChannel
from .mpi import communicators
from .mpi.watched_communicator import mpi_state
from .output.relay import OutputRelay
from .parts import EngineParts
from .peek import peek
from .process_examiner import ProcessExaminer
from .tasks import Namespace
from .usage import usage
from .where import stack, where

log = logging.getLogger(__name__)

EXIT_GRACE = 1.0  # Seconds that the main thread has to end the engine by itself.
LONGEST_WAIT = 1.0  # Seconds between two checks whether the parent still runs.
PROGRESS_CALLS = 20  # Calls of MPI that let it make progress.
UNUSED_TAG = 32_000  # A tag that no message has.


class ControlThread(threading.Thread):
    """Reads the control connection: aborts, signals, and the end. Ends the engine if the job is orphaned.

    Parameters
    ----------
    engine : int
        The engine's id.
    parts : EngineParts
        The parts of the engine that run tasks.
    batches : BatchRunner
        Runs batches of tasks.
    namespace : dict
        The namespace of user code.
    debugger : DebuggerChannel
        Debuggers in user code, which wait for commands.
    socket : zmq.Socket
        The control connection.
    """

    def __init__(
        self,
        engine: int,
        parts: EngineParts,
        batches: BatchRunner,
        namespace: Namespace,
        debugger: DebuggerChannel,
        socket: zmq.Socket[Any],
    ) -> None:
        super().__init__(name="mpidirect-control", daemon=True)
        self._parts = parts
        self._batches = batches
        self._namespace = namespace
        self._debugger = debugger
        self._examiner = ProcessExaminer(parts.output.notify)
        self._socket = socket
        self._monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._parent = Parent()
        self._relay = OutputRelay(parts.output, socket)
        self._interrupts = interrupt_watch.InterruptWatch(engine, parts.main_thread, self._send)

    def run(self) -> None:
        """Serve until the engine ends."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        while True:
            self._relay.register(poller)
            timeout = min(LONGEST_WAIT, self._relay.timeout(), self._interrupts.timeout())
            ready = dict(poller.poll(int(timeout * 1000 + 0.999)))
            # Messages first: while C code holds Python's lock, each earlier system call may take seconds.
            if self._socket in ready:
                try:
                    self._handle(messages.decode_to_engine(self._socket.recv()))
                except Exception:  # MPI reports a death in any call, and later interrupts must work.
                    log.exception("a message of the controller could not be handled")
            if self._monitor in ready:
                event_of(self._monitor)
                self._leave("the controller is gone", orphaned=True)
            if self._parent.gone():
                self._leave("the process that started this job is gone", orphaned=True)
            self._relay.send(ready)
            while self._examiner.due:
                self._send(self._examiner.due.popleft())
            while self._debugger.due:
                self._relay.send_all()
                self._send(self._debugger.due.popleft())
            self._parts.data.shared_memory.expire()
            pool.expire()
            self._interrupts.check()

    def _handle(self, message: messages.Message) -> None:
        parts = self._parts
        if isinstance(message, messages.AbortTasks):
            aborted = parts.admission.abort(message.ids)
            self._batches.stop(message.ids)
            self._send(messages.TasksAborted(aborted))
        elif isinstance(message, messages.CollectiveBroken):
            parts.data.broadcast.broken = True
        elif isinstance(message, messages.DropResults):
            parts.data.retained.release(message.ids)
            parts.data.shared_memory.close(message.ids)
            self._batches.forget(message.ids)
        elif isinstance(message, messages.Signal):
            parts.main_thread.send_signal(message)
            self._interrupts.begin()
        elif isinstance(message, messages.LeaveCommunicator):
            communicators.abandon_world(message.why, message.epoch, message.dead)
        elif isinstance(message, messages.ProgressMPI):
            # A send without a receiver ends when its target calls MPI, which an idle engine does not do.
            for _ in range(PROGRESS_CALLS):
                parts.data.comm.Iprobe(CONTROLLER, UNUSED_TAG)
        elif isinstance(message, messages.RevokeWorld):
            communicators.revoke_c_world()
        elif isinstance(message, messages.ExamineProcesses):
            self._examiner.examine(message)
        elif isinstance(message, messages.SignalProcess):
            send_signal(message.pid, message.signum)
        elif isinstance(message, messages.Inspect):
            self._inspect(message)
        elif isinstance(message, messages.DebuggerCommand):
            self._debugger.put(message)
        elif isinstance(message, messages.Stop):
            self._leave("told to stop")

    def _inspect(self, message: messages.Inspect) -> None:
        """Answer with the place of user code, and with the values of names."""
        look = stack if message.deep else where
        answer = messages.Inspection(message.number, look() if self._parts.main_thread.task else "")
        if message.names:
            answer.value, answer.problem = peek(self._namespace, message.names)
        if message.usage:
            answer.usage = usage(self._parts.main_thread, self._parts.output)
        self._send(answer)

    def _send(self, message: messages.Message) -> None:
        self._socket.send(messages.encode(message))

    def _leave(self, reason: str, orphaned: bool = False) -> NoReturn:
        """End this process: by the main thread if it responds, otherwise without it."""
        log.info("leaving: %s", reason)
        self._parts.output.discard()
        if orphaned:  # MPI can't be finalized without the other ranks.
            mpi_state.unusable_reason = mpi_state.unusable_reason or reason
        self._parts.main_thread.leave()
        time.sleep(EXIT_GRACE)
        log.info("the main thread does not respond: leaving without it")
        exit_cleanly()
