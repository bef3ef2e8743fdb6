"""Continue the cluster in another job: save the namespaces before this job ends, and load them again.

Before the walltime ends, or when the scheduler warns the job by a signal, the controller submits the next
job, which waits for the end of this one. Then the controller ends the calls of all clients, has each engine
write its namespace, ends the engines, and hands the clients over (`handover.Succession`). The controller of
the next job has each engine load its namespace.
"""

from __future__ import annotations

import enum
import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..files.saved_namespaces import MANIFEST
from ..protocol import messages
from .engine_registry import EngineRegistry
from .lifecycle import EngineLifecycle
from .namespaces import Namespaces
from .scheduling.balancer import Balancer
from .scheduling.scheduler import ActiveRequest, Scheduler
from .scheduling.task_batch import TaskBatch
from .sessions.sessions import Sessions

log = logging.getLogger(__name__)

SAVE_SHARE = 0.7  # the part of the remaining time that engines have to save their namespaces
LEAST_TIME = 3.0  # minimum seconds of a save
WARNING_INTERVAL = 1.0  # seconds between two checks for a warning of the scheduler
END_REASON = "was ended before its job ends; another job continues with the same namespaces"


class Outlook(NamedTuple):
    """What the scheduler says about this job.

    Attributes
    ----------
    ends : float
        When the walltime ends this job, in seconds since the epoch.
    cancelled : bool or None
        Whether the job was cancelled, or ends for another reason; None if the scheduler does not tell.
    """

    ends: float
    cancelled: bool | None


@dataclass
class NextJob:
    """How the cluster continues in another job.

    Attributes
    ----------
    ends : float
        When the walltime ends this job, in seconds since the epoch; infinite without a walltime.
    before : float
        Seconds before this end at which the namespaces are saved.
    directory : Path
        The directory of the saved namespaces.
    outlook : callable
        Asks the scheduler about this job; the argument is the known end. This can take seconds.
    submit : callable
        Submits the next job, for this number of engines. This can take seconds.
    warned : callable
        Returns whether the scheduler has sent a warning signal to the job, and forgets the warning.
    """

    ends: float
    before: float
    directory: Path
    outlook: Callable[[float], Outlook]
    submit: Callable[[int], None]
    warned: Callable[[], bool]

    @property
    def query_interval(self) -> float:
        """Seconds between two queries for the end of the job, whose walltime may be shortened."""
        return min(60.0, max(5.0, self.before / 2))


class Step(enum.Enum):
    """The steps by which a cluster continues in another job."""

    WAITING = 0  # the end is not near
    ASKING = 1  # a thread asks the scheduler about this job, and submits the next job if the end is near
    SAVING = 2  # engines save their namespaces
    ENDING = 3  # engines end; after that the clients are handed over
    GIVEN_UP = 4  # the next job could not be submitted: the cluster ends with this job
    CANCELLED = 5  # this job was cancelled: the cluster is stopped


class Resumption:
    """Continues the cluster in another job.

    Attributes
    ----------
    step : Step
        The present step.
    """

    def __init__(
        self,
        sessions: Sessions,
        scheduler: Scheduler,
        balancer: Balancer,
        registry: EngineRegistry,
        lifecycle: EngineLifecycle,
        namespaces: Namespaces,
        fail: Callable[[ActiveRequest, int, str, str], None],  # ends a task with an error name and a text
    ) -> None:
        self.step = Step.WAITING
        self._sessions = sessions
        self._scheduler = scheduler
        self._balancer = balancer
        self._registry = registry
        self._lifecycle = lifecycle
        self._namespaces = namespaces
        self._fail = fail
        self._next: NextJob | None = None
        self._thread: threading.Thread | None = None
        # whether the scheduler has sent a warning; whether the warning was a SIGTERM
        self._warned = self._terminated = False
        self._next_query = self._next_warning_look = 0.0  # times on the monotonic clock
        self._outcome = Step.WAITING  # the step that follows the step `ASKING`
        self._save_deadline = 0.0
        self._loading: Path | None = None  # the directory from which the engines load their namespaces

    def plan(self, next_job: NextJob) -> None:
        """Let the cluster continue in another job when this one ends."""
        self._next = next_job
        self._next_query = time.monotonic() + next_job.query_interval

    def receive_end_signal(self) -> bool:
        """Note a SIGTERM. Return whether it may be a warning, so that the controller goes on for now."""
        may_warn = self.step in (Step.WAITING, Step.ASKING)
        if self._next is None or self._terminated or not may_warn:
            return False
        self._terminated = True
        return True

    def look(self) -> None:
        """Do the next step, if it is due."""
        if self._loading is not None and self._namespaces.complete:
            self._loaded(self._loading)
        next_job = self._next
        if next_job is None:
            return
        now = time.time()
        if self.step is Step.WAITING:
            if self._question_due(next_job, now):
                self._ask(next_job)
        elif self.step is Step.ASKING and self._thread and not self._thread.is_alive():
            self._answered(next_job, now)
        elif self.step is Step.SAVING and (self._namespaces.complete or now > self._save_deadline):
            self._saved(next_job)

    # -- the end of this job ----------------------------------------------------------------------

    def _question_due(self, next_job: NextJob, now: float) -> bool:
        """Return whether the scheduler should be asked about this job now."""
        tick = time.monotonic()
        if tick >= self._next_warning_look:
            self._next_warning_look = tick + WARNING_INTERVAL
            self._warned = next_job.warned() or self._warned
        near = now >= next_job.ends - next_job.before
        return self._terminated or (self._has_started and (near or self._warned or tick >= self._next_query))

    @property
    def _has_started(self) -> bool:
        """Return whether all engines have joined, and have loaded their namespaces."""
        known = len(self._registry.alive) + len(self._registry.lost)
        return known >= self._registry.size and self._loading is None and not self._lifecycle.busy

    def _ask(self, next_job: NextJob) -> None:
        self.step = Step.ASKING
        self._next_query = time.monotonic() + next_job.query_interval
        arguments = next_job, self._has_started
        self._thread = threading.Thread(target=self._ask_and_submit, args=arguments, daemon=True)
        self._thread.start()

    def _ask_and_submit(self, next_job: NextJob, has_started: bool) -> None:
        """In a thread: ask the scheduler about this job, and submit the next job if the end is near."""
        self._outcome = Step.CANCELLED if self._terminated else Step.GIVEN_UP
        try:
            next_job.ends, cancelled = next_job.outlook(next_job.ends)
            left = next_job.ends - time.time()
            if cancelled or (self._terminated and cancelled is None):  # `scancel` also sends a SIGTERM
                log.info("this job is cancelled: no other job continues the cluster")
                self._outcome = Step.CANCELLED
            elif not has_started:  # the SIGTERM is a warning, but the engines can't save yet
                self._terminated, self._warned, self._outcome = False, True, Step.WAITING
            elif not (self._terminated or self._warned or left <= next_job.before + 1.0):
                self._outcome = Step.WAITING
            elif left < LEAST_TIME:
                log.error("the cluster can't continue in another job: this job ends in %.0f s", left)
            else:
                next_job.submit(self._registry.size)
                self._outcome = Step.SAVING
        except Exception as e:
            log.error("the cluster can't continue in another job: %s", e or type(e).__name__)

    def _answered(self, next_job: NextJob, now: float) -> None:
        self.step = self._outcome
        if self.step is Step.GIVEN_UP and self._terminated:  # the SIGTERM arrived while the thread asked
            self.step = Step.CANCELLED
        elif self.step is Step.SAVING:
            log.info("the next job waits: the namespaces are saved")
            remaining = min(next_job.before, max(0.0, next_job.ends - now))
            self._save_deadline = now + SAVE_SHARE * remaining
            self._end_calls()
            self._namespaces.begin_to_save(next_job.directory)

    def _end_calls(self) -> None:
        """End all calls with an error, and interrupt running tasks. Later calls end with the engines."""
        self._namespaces.hold_clients()
        for engine in self._scheduler.engines.values():
            for request in engine.sent.values():
                if not isinstance(request, TaskBatch):
                    self._fail(request, engine.id, "EngineError", f"engine {engine.id} {END_REASON}")
            if engine.sent:
                running = next(iter(engine.sent))
                self._lifecycle.send_control(engine.id, messages.Signal(signal.SIGINT, running))
        for request, number in self._scheduler.abort(None, list(self._scheduler.engines), False):
            self._fail(request, number, "EngineError", f"engine {number} {END_REASON}")
        self._balancer.retire(f"each engine {END_REASON}")
        for session in self._sessions.values():  # no engine is lost: clients wait for their return
            session.notify(messages.EnginesChanged, [], self._registry.size, {})

    def _saved(self, next_job: NextJob) -> None:
        """Complete the save, and end the engines."""
        try:
            self._namespaces.finish_save()
        except OSError as e:
            log.error("the namespaces are not saved: %s", e)
        self.step = Step.ENDING
        self._lifecycle.generations.end_for_next_job(END_REASON)

    # -- the start of the next job ----------------------------------------------------------------

    def load(self, directory: Path) -> None:
        """Have each engine load its namespace, before any task of a client."""
        if not (directory / MANIFEST).exists():
            log.error("there are no saved namespaces at %s", directory)
            return
        self._namespaces.begin_to_load(directory)
        self._loading = directory

    def _loaded(self, directory: Path) -> None:
        """Remove the saved namespaces, unless an engine could not load its namespace."""
        self._loading = None
        if self._namespaces.finish_load():
            shutil.rmtree(directory, ignore_errors=True)
            log.info("the namespaces are loaded")
        else:
            log.error("the saved namespaces stay at %s", directory)
