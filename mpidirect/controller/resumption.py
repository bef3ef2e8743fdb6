"""The cluster continues in another job: its namespaces are saved before the walltime, and loaded again.

Before the walltime ends, the controller submits the next job, which waits for the end of this one. Then it
ends the calls of all clients, has each engine write its namespace, ends the engines, and hands the clients
over (`handover.Succession`). The controller of the next job has each engine load its namespace.
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

from .. import _version
from ..files.saved_namespaces import write_manifest
from ..protocol import messages
from .engine_registry import EngineRegistry
from .lifecycle import EngineLifecycle
from .own_tasks import OwnTasks
from .scheduling.balancer import Balancer
from .scheduling.scheduler import ActiveRequest, Scheduler
from .scheduling.task_batch import TaskBatch
from .sessions.sessions import Sessions

log = logging.getLogger(__name__)

SAVE_SHARE = 0.7  # the part of the remaining time that engines have to save their namespaces
END_REASON = "was ended before the walltime ends its job; another job continues with the same namespaces"


@dataclass
class NextJob:
    """How the cluster continues in another job.

    Attributes
    ----------
    ends : float
        When the walltime ends this job, in seconds since the epoch.
    before : float
        Seconds before this end at which the namespaces are saved.
    directory : Path
        Where the namespaces are saved.
    current_end : callable
        Ask the scheduler for the end of this job, which may have changed. This can take seconds.
    submit : callable
        Submit the next job. This can take seconds.
    """

    ends: float
    before: float
    directory: Path
    current_end: Callable[[float], float]
    submit: Callable[[], None]


class Step(enum.Enum):
    """What has been done to continue in another job."""

    WAITING = 0  # the walltime is far
    SUBMITTING = 1  # a thread asks the scheduler for the end of this job, and submits the next one
    SAVING = 2  # engines save their namespaces
    ENDING = 3  # engines end; then the clients are handed over
    GIVEN_UP = 4  # the next job could not be submitted: the walltime ends the cluster


class Resumption:
    """Continues the cluster in another job.

    Attributes
    ----------
    step : Step
        What has been done.
    """

    def __init__(
        self,
        sessions: Sessions,
        scheduler: Scheduler,
        balancer: Balancer,
        registry: EngineRegistry,
        lifecycle: EngineLifecycle,
        tasks: OwnTasks,
        fail: Callable[[ActiveRequest, int, str, str], None],  # ends a task: error name and text
    ) -> None:
        self.step = Step.WAITING
        self._sessions = sessions
        self._scheduler = scheduler
        self._balancer = balancer
        self._registry = registry
        self._lifecycle = lifecycle
        self._tasks = tasks
        self._fail = fail
        self._next: NextJob | None = None
        self._thread: threading.Thread | None = None
        self._failure = ""  # why the next job could not be submitted
        self._save_deadline = 0.0
        self._loading: Path | None = None  # the directory from which the engines load their namespaces

    def plan(self, next_job: NextJob) -> None:
        """Continue in another job when the walltime of this one ends."""
        self._next = next_job

    def look(self) -> None:
        """Do the next step, if it is due."""
        if self._loading is not None and self._tasks.complete:
            self._loaded(self._loading)
        if self._next is None:
            return
        now = time.time()
        if self.step is Step.WAITING and self._has_started and now >= self._next.ends - self._next.before:
            self.step = Step.SUBMITTING
            self._thread = threading.Thread(target=self._submit, args=[self._next], daemon=True)
            self._thread.start()
        elif self.step is Step.SUBMITTING and self._thread and not self._thread.is_alive():
            self._submitted(self._next, now)
        elif self.step is Step.SAVING and (self._tasks.complete or now > self._save_deadline):
            self._saved(self._next)

    @property
    def _has_started(self) -> bool:
        """Return whether all engines have come, and have loaded their namespaces."""
        known = len(self._registry.alive) + len(self._registry.lost)
        return known >= self._registry.size and self._loading is None and not self._lifecycle.busy

    # -- the end of this job ----------------------------------------------------------------------

    def _submit(self, next_job: NextJob) -> None:
        """In a thread: submit the next job, unless the walltime has been extended."""
        self._failure = ""
        try:
            next_job.ends = next_job.current_end(next_job.ends)
            if time.time() >= next_job.ends - next_job.before - 1.0:
                next_job.submit()
            else:
                self._failure = "extended"
        except Exception as e:
            self._failure = f"{e or type(e).__name__}"

    def _submitted(self, next_job: NextJob, now: float) -> None:
        if self._failure == "extended":
            self.step = Step.WAITING
        elif self._failure:
            log.error("the cluster can't continue in another job: %s", self._failure)
            self.step = Step.GIVEN_UP
        else:
            log.info("the next job waits: the namespaces are saved")
            self.step = Step.SAVING
            self._save_deadline = now + SAVE_SHARE * max(0.0, next_job.ends - now)
            self._end_calls()
            self._begin_to_save(next_job)

    def _end_calls(self) -> None:
        """End all calls with an error, and interrupt what runs. Later calls end with the engines."""
        self._lifecycle.admitted_session = self._tasks.session
        for engine in self._scheduler.engines.values():
            for request in engine.sent.values():
                if not isinstance(request, TaskBatch):
                    self._fail(request, engine.id, "EngineError", f"engine {engine.id} {END_REASON}")
            if engine.sent:
                running = next(iter(engine.sent))
                self._lifecycle.send_control(engine.id, messages.Signal(signal.SIGINT, running))
        for request, number in self._scheduler.abort(None, list(self._scheduler.engines)):
            self._fail(request, number, "EngineError", f"engine {number} {END_REASON}")
        self._balancer.retire(f"each engine {END_REASON}")
        for session in self._sessions.values():  # no engine is lost: clients wait for them
            session.notify(messages.EnginesChanged, [], self._registry.size, {})

    def _begin_to_save(self, next_job: NextJob) -> None:
        shutil.rmtree(next_job.directory, ignore_errors=True)  # what an earlier job has left
        engines = sorted(self._registry.alive)
        files = {engine: [f"{next_job.directory}/engine-{engine}.data"] for engine in engines}
        if files:
            self._tasks.submit("save_all", files, self._script_directory())

    def _script_directory(self) -> str:
        return next((session.directory for session in self._sessions.values() if session.directory), "")

    def _saved(self, next_job: NextJob) -> None:
        """Write the manifest, and end the engines."""
        found, failed = self._tasks.results()
        entries = [found.get(engine, b"") for engine in range(self._registry.size)]
        for engine, entry in enumerate(entries):
            if not entry:
                why = failed.get(engine, "it did not answer in time")
                log.error("the namespace of engine %d is not saved: %s", engine, why)
        try:
            write_manifest(next_job.directory, _version.__version__, time.time(), entries)
        except OSError as e:
            log.error("the namespaces are not saved: %s", e)
        self.step = Step.ENDING
        self._lifecycle.generations.end_for_next_job(END_REASON)

    # -- the beginning of the next one ------------------------------------------------------------

    def load(self, directory: Path) -> None:
        """Have each engine load its namespace, before any task of a client."""
        if not (directory / "manifest.json").exists():
            log.error("there are no saved namespaces at %s", directory)
            return
        arguments = {engine: [str(directory), str(engine)] for engine in sorted(self._registry.alive)}
        self._tasks.submit("load_all", arguments, self._script_directory())
        self._loading = directory

    def _loaded(self, directory: Path) -> None:
        """Remove the saved namespaces, unless an engine could not load its own."""
        self._loading = None
        _, failed = self._tasks.results()
        self._tasks.session.outbox.acknowledge(self._tasks.session.outbox.last)
        for engine, why in failed.items():
            log.error("engine %d can't load its namespace: %s", engine, why)
        if failed:
            log.error("the saved namespaces stay at %s", directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
            log.info("the namespaces are loaded")
