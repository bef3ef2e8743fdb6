"""Load modules again after an edit, here and on engines: `DirectView.reload`."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from . import functions, user_modules


def reload_at_prompt(module: str | ModuleType) -> tuple[ModuleType, bool]:
    """Execute a module again in this process.

    Returns
    -------
    module : ModuleType
        The module.
    is_sent : bool
        Whether a pickle that refers to the module brings this version to engines.
    """
    if isinstance(module, str):
        module = importlib.import_module(module)
    importlib.invalidate_caches()
    module = importlib.reload(module)
    _rebind(functions.namespace(), module)
    return module, bool(user_modules.gather([module.__name__]))


def reload(module: ModuleType, is_sent: bool) -> None:
    """Bring a module on this engine to its present version; the unpickling of `module` installs one sent."""
    if not is_sent:
        importlib.invalidate_caches()
        module = importlib.reload(module)
    _rebind(functions.namespace(), module)


def _rebind(namespace: dict[str, Any], module: ModuleType) -> None:
    """Bind names of the module's former functions and classes to the present ones."""
    for name, value in list(namespace.items()):
        if getattr(value, "__module__", None) != module.__name__:
            continue
        defined_as = getattr(value, "__qualname__", None)  # instances have no such attribute
        if isinstance(defined_as, str) and defined_as in vars(module):
            namespace[name] = vars(module)[defined_as]
