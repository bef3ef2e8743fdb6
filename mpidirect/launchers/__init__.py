"""The launchers: one class for each way to start a job.

Another package adds its own launcher by an entry point of the group ``mpidirect.launchers``.
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from .base import Launcher

BUILT_IN = {
    "mpiexec": "mpidirect.launchers.mpiexec:MpiexecLauncher",
    "command": "mpidirect.launchers.command:CommandLauncher",
    "pbs": "mpidirect.launchers.pbs:PBSLauncher",
    "sge": "mpidirect.launchers.sge:SGELauncher",
    "slurm": "mpidirect.launchers.slurm:SlurmLauncher",
}


def launcher_class(name: str) -> type[Launcher]:
    """Return the class of the launcher called `name`.

    Raises
    ------
    ConfigError
        When there is none; the message suggests the nearest name.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found: type[Launcher] = getattr(importlib.import_module(module), attribute)
        return found
    for entry in _entry_points():
        if entry.name == name:
            loaded: type[Launcher] = entry.load()
            return loaded
    names = launcher_names()
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names)}"
    raise ConfigError(f"unknown launcher '{name}'; {hint}")


def launcher_names() -> list[str]:
    """Return the names of all launchers."""
    return sorted({*BUILT_IN, *(entry.name for entry in _entry_points())})


def _entry_points() -> list[EntryPoint]:
    from importlib.metadata import entry_points  # slow: reads the metadata of all installed packages

    return list(entry_points(group="mpidirect.launchers"))
