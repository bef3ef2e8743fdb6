"""The namespaces of all engines in files: the engines save and load them on the controller's order."""

from __future__ import annotations

import logging
import secrets
import time
from pathlib import Path

from .. import _version
from ..files.saved_namespaces import remove_other_saves, write_manifest
from .engine_registry import EngineRegistry
from .lifecycle import EngineLifecycle
from .own_tasks import OwnTasks
from .scheduling.scheduler import Scheduler
from .sessions.sessions import Sessions

log = logging.getLogger(__name__)


class Namespaces:
    """Has the engines save their namespaces, and load them."""

    def __init__(
        self,
        sessions: Sessions,
        scheduler: Scheduler,
        registry: EngineRegistry,
        lifecycle: EngineLifecycle,
        tasks: OwnTasks,
    ) -> None:
        self._sessions = sessions
        self._scheduler = scheduler
        self._registry = registry
        self._lifecycle = lifecycle
        self._tasks = tasks
        self._directory = Path()
        self._generation = ""  # the beginning of the file names of this save

    @property
    def complete(self) -> bool:
        """Return whether all engines have answered."""
        return self._tasks.complete

    def hold_clients(self) -> None:
        """Let no task of a client begin until `release_clients`."""
        self._lifecycle.admitted_session = self._tasks.session

    def release_clients(self) -> None:
        """Let tasks of clients begin again."""
        self._lifecycle.admitted_session = None
        self._scheduler.resume()

    def begin_to_save(self, directory: Path) -> None:
        """Have each living engine write its namespace to a file in `directory`."""
        self._directory = directory
        self._generation = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        engines = sorted(self._registry.alive)
        files = {engine: [f"{directory}/{self._generation}-engine-{engine}.data"] for engine in engines}
        if files:
            self._tasks.submit("save_all", files, self._script_directory())

    def finish_save(self) -> dict[int, str]:
        """Write the manifest; return why a namespace is not saved, for each living engine without a file.

        Raises
        ------
        OSError
            When the manifest can't be written.
        """
        found, failed = self._tasks.results()
        entries = [found.get(engine, b"") for engine in range(self._registry.size)]
        lacking = {
            engine: failed.get(engine, "it did not answer in time")
            for engine in sorted(self._registry.alive)
            if engine not in found
        }
        for engine, why in lacking.items():
            log.error("the namespace of engine %d is not saved: %s", engine, why)
        write_manifest(self._directory, _version.__version__, time.time(), entries)
        remove_other_saves(self._directory, self._generation)
        return lacking

    def begin_to_load(self, directory: Path) -> None:
        """Have each engine load the namespace that the engine with the same id has saved."""
        arguments = {engine: [str(directory), str(engine)] for engine in sorted(self._registry.alive)}
        self._tasks.submit("load_all", arguments, self._script_directory())

    def finish_load(self) -> bool:
        """Return whether all engines have loaded their namespaces; log the errors."""
        _, failed = self._tasks.results()
        for engine, why in failed.items():
            log.error("engine %d can't load its namespace: %s", engine, why)
        return not failed

    def _script_directory(self) -> str:
        """Return the directory of a client's script, in which engines look for modules."""
        return next((session.directory for session in self._sessions.values() if session.directory), "")
