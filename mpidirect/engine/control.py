"""The engine's second thread: what must get through while user code runs."""

from __future__ import annotations

import logging
import signal
import threading
import time
from typing import TYPE_CHECKING

import zmq

from ..job.exit import exit_cleanly
from ..job.parent import Parent
from ..protocol import messages
from ..transport.zeromq import event_of
from .bulk_data import CONTROLLER, private
from .mpi import communicators
from .mpi.communicators import here
from .peek import peek
from .where import stack, where

if TYPE_CHECKING:
    from .engine import Engine

log = logging.getLogger(__name__)

GRACE = 1.0  # seconds that the main thread has to leave by itself
MOMENT = 0.05  # seconds that an interrupt has to get the main thread out of an MPI call
NUDGES = 20  # times that MPI is called to let it work
ROUSING = 0.2  # seconds in which a revoked call must have ended
UNUSED = 32_000  # a tag that no message has
PATIENCE = 3.0  # the same, out of who knows what
PIECES = 4  # messages with what was printed that are sent at once
TOGETHER = 0.02  # seconds between two looks at what was printed
UNWATCHED = 0.1  # the same, where no descriptor tells that something was


class ControlThread(threading.Thread):
    """Reads the control connection: aborts, signals, the end; and notices when the job is orphaned.

    Parameters
    ----------
    engine : Engine
        Whose thread this is.
    socket : zmq.Socket
        The control connection.
    """

    def __init__(self, engine: Engine, socket: zmq.Socket) -> None:
        super().__init__(name="mpidirect-control", daemon=True)
        self.engine = engine
        self.socket = socket
        self._monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._parent = Parent()
        self._since: float | None = None  # when an interrupt came that the main thread has not noticed yet
        self._told = 0.0  # when the controller was told last that the main thread is overdue
        self._overdue_since = 0.0
        self._gave_up = False  # whether all communicators have been given up because of it
        self._printed: float | None = None  # when to look at what was printed, if something was
        self._looked = 0.0  # when that was done last

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self.socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        descriptors = self.engine.output.descriptors
        while True:
            for descriptor in descriptors:  # who prints on and on must not wake this thread each time
                poller.register(descriptor, 0 if self._printed else zmq.POLLIN)
            ready = dict(poller.poll(self._patience()))
            # Messages first: while C code holds Python's lock, each system call before may cost a whole turn.
            if self.socket in ready:
                try:
                    self._obey(messages.decode_to_engine(self.socket.recv()))
                except Exception:  # MPI tells of a death wherever it likes, and interrupts must work after it
                    log.exception("a message of the controller could not be handled")
            if self._monitor in ready:
                event_of(self._monitor)
                self._leave("the controller is gone", orphaned=True)
            if self._parent.gone():
                self._leave("the process that started this job is gone", orphaned=True)
            noticed = any(descriptor in ready for descriptor in descriptors)
            if self._printed is None and (noticed or self.engine.output.unwatched):
                self._printed = max(time.monotonic(), self._looked + TOGETHER)
            if self._printed is not None and time.monotonic() >= self._printed:
                self._pass_on()
            self.engine.shares.expire()
            private.expire()
            self._insist()

    def _patience(self) -> int:
        """Milliseconds until there is something to look at."""
        within = MOMENT if self._since is not None or self._overdue() else 1.0
        if self.engine.output.unwatched:
            within = min(within, UNWATCHED)
        if self._printed is not None:
            within = min(within, max(0.0, self._printed - time.monotonic()))
        return int(within * 1000 + 0.999)

    def _pass_on(self) -> None:
        """Send what was printed and displayed; what does not go now goes the next time."""
        output = self.engine.output
        output.noticed()
        self._printed, self._looked = None, time.monotonic()
        for _ in range(PIECES):
            if not self.socket.poll(0, zmq.POLLOUT):
                break
            told = output.next()
            if told is None:
                return
            self.socket.send(messages.encode(told))
        self._printed = self._looked + TOGETHER  # there is more

    def _obey(self, message: messages.Message) -> None:
        if isinstance(message, messages.AbortTasks):
            self.socket.send(messages.encode(messages.TasksAborted(self.engine.abort(message.ids))))
        elif isinstance(message, messages.CollectiveBroken):
            self.engine.spread.broken = True
        elif isinstance(message, messages.DropResults):
            self.engine.held.release(message.ids)
            self.engine.shares.close(message.ids)
            self.engine.batches.forget(message.ids)
        elif isinstance(message, messages.Signal):
            self.engine.signalled(message)
            self._since, self._gave_up = time.monotonic(), False
        elif isinstance(message, messages.LeaveCommunicator):
            communicators.leave(message.why, message.epoch, message.dead)
        elif isinstance(message, messages.ProgressMPI):
            # A send that nobody receives ends when its target takes notice, which an idle engine does not.
            for _ in range(NUDGES):
                self.engine.comm.Iprobe(CONTROLLER, UNUSED)
        elif isinstance(message, messages.RevokeWorld):
            communicators.give_up_world()
        elif isinstance(message, messages.Inspect):
            look = stack if message.deep else where
            located = messages.Inspection(message.number, look() if self.engine.task else "")
            if message.names:
                located.value, located.problem = peek(self.engine.namespace, message.names)
            self.socket.send(messages.encode(located))
        elif isinstance(message, messages.Stop):
            self._leave("told to stop")

    def _overdue(self) -> bool:
        """Whether the main thread is in a communicator that was given up."""
        at = here.at
        return at is not None and bool(at[0].left)

    def _insist(self) -> None:
        """If an interrupt has not reached the main thread, get it out of MPI: no signal can do that."""
        now = time.monotonic()
        if not self._overdue():
            self._overdue_since = now
        elif now - self._told >= MOMENT:  # not for each answer to that
            self._told = now
            self.socket.send(messages.encode(messages.CommunicatorRevoked()))
            if now - self._overdue_since >= ROUSING:
                self._overdue_since = now
                communicators.rouse()
        if self._since is None:
            return
        waited = time.monotonic() - self._since
        epoch, at = here.epoch, here.at  # before it is asked whether they matter: the main thread runs on
        if not self.engine.deaf:
            self._since = None
        elif at is not None and waited >= MOMENT:
            communicators.leave_this(at[0], epoch, f"engine {self.engine.id} was interrupted in its {at[1]}")
        elif at is None and waited >= MOMENT:
            if waited >= PATIENCE and not self._gave_up:
                # Perhaps it waits for a request; if it computes, nothing is lost but time.
                communicators.leave_everything(epoch, f"engine {self.engine.id} was interrupted")
                self._gave_up = True
            # A signal that comes between Python's last look for signals and a system call does not end the
            # call, which may last for ever: the next one does.
            self.engine.wake()

    def _leave(self, why: str, orphaned: bool = False) -> None:
        """End this process: by the main thread if it can, else without it."""
        log.info("leaving: %s", why)
        self.engine.output.discard()
        if orphaned:
            here.left = here.left or why  # MPI can't be finalized without the others
        self.engine.leaving = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        time.sleep(GRACE)
        log.info("the main thread did not come back: leaving without it")
        exit_cleanly()
