"""Changes a module of another package when it is imported."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def spec_with(hook: MetaPathFinder, name: str, change: Callable[[Any], None]) -> ModuleSpec | None:
    """Return a module's spec from the finders other than `hook`; its loader also calls `change`.

    Parameters
    ----------
    hook : MetaPathFinder
        The finder that calls this; it is in ``sys.meta_path``.
    name : str
        The name of the module.
    change : callable
        Called with the module after the module's code has run.
    """
    sys.meta_path.remove(hook)
    try:
        spec = find_spec(name)
    finally:
        sys.meta_path.insert(0, hook)
    if spec is not None and spec.loader is not None:
        execute = spec.loader.exec_module

        def execute_and_change(module: ModuleType) -> None:
            execute(module)
            change(module)

        spec.loader.exec_module = execute_and_change  # type: ignore[method-assign]
    return spec
