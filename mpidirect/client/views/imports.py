"""Imports that are made here and on engines: `DirectView.sync_imports`."""

from __future__ import annotations

import builtins
import dis
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from ...serialize.reference import Reference
from ..results import waiting
from .requests import RequestView


class SynchronizedImports:
    """Context manager: the import statements of its block also run on the engines of a view.

    Parameters
    ----------
    view : RequestView
        The engines.
    local : bool
        Import here as well; False is not implemented.
    quiet : bool
        Print nothing.

    Raises
    ------
    NotImplementedError
        When `local` is False.
    CompositeError
        At the end of the block, when an import has succeeded here and failed on engines.

    Examples
    --------
    >>> with SynchronizedImports(dview):
    ...     import numpy
    importing numpy on engine(s)
    """

    def __init__(self, view: RequestView, local: bool = True, quiet: bool = False) -> None:
        if not local:
            raise NotImplementedError(
                "imports on the engines alone are not implemented for sync_imports: "
                "use view.execute('import …')"
            )
        self._view = view
        self._quiet = quiet
        self._results: list[Any] = []
        self.frame: FrameType | None = None  # the frame of the with statement

    def __enter__(self) -> None:
        self.frame = sys._getframe(1)
        _hook.enter(self)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        _hook.leave(self)
        self.frame = None
        if error is None:
            for result in self._results:
                waiting.wait(result)
                result.get()

    def on_import(self, statement: _ImportStatement) -> None:
        """Run an import statement, which has succeeded here, on the engines."""
        if not self._quiet:
            print(f"importing {statement.description} on engine(s)")
        call: tuple[Any, ...] = (exec, (statement.code, Reference("globals()")), {})
        self._results.append(self._view._request("apply", "import", call, block=False))


class _ImportStatement:
    """The source of an import statement, from the call of ``__import__`` and from the bytecode.

    Attributes
    ----------
    code : str
        The statement.
    description : str
        What the statement imports, for the user.
    """

    def __init__(self, frame: FrameType, module: str, fromlist: tuple[str, ...]) -> None:
        stored = list(_stored_names(frame))
        if fromlist:
            names = [_renamed(a, b) for a, b in zip(fromlist, stored or fromlist, strict=False)]
            if fromlist == ("*",):
                names = ["*"]
            self.description = f"{', '.join(names)} from {module}"
            self.code = f"from {module} import {', '.join(names)}"
            return
        name = stored[0] if stored else module
        self.description = module if name == module.partition(".")[0] else _renamed(module, name)
        self.code = f"import {self.description}"


def _renamed(name: str, new: str) -> str:
    return name if name == new else f"{name} as {new}"


def _stored_names(frame: FrameType) -> Iterator[str]:
    """Yield the names that the present import statement of a frame binds, in order."""
    instructions = iter(dis.get_instructions(frame.f_code))
    for instruction in instructions:
        if instruction.offset == frame.f_lasti:
            break
    for instruction in instructions:
        name = instruction.opname
        if name.startswith("STORE_"):
            value = instruction.argval  # a pair, if the compiler has merged two instructions
            yield value[0] if isinstance(value, tuple) else value
            following = next(instructions, None)
            if following is None or following.opname != "IMPORT_FROM":
                return
        elif not name.startswith(("IMPORT_FROM", "SWAP", "ROT_", "POP_TOP", "EXTENDED_ARG", "CACHE")):
            return


class _ImportHook:
    """The replacement of ``builtins.__import__`` while any block is open, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: tuple[SynchronizedImports, ...] = ()
        self._original: Callable[..., Any] = builtins.__import__
        self._replacement = self._import  # stored, because each access to a method makes another object
        self._is_wrapped = False  # whether another hook has replaced this one, and calls this one

    def enter(self, context: SynchronizedImports) -> None:
        """Install the hook for a block."""
        with self._lock:
            current = builtins.__import__
            if self._is_wrapped and current is self._original:
                self._is_wrapped = False
            if current is not self._replacement and not self._is_wrapped:
                self._original = current
                builtins.__import__ = self._replacement
            self._open += (context,)

    def leave(self, context: SynchronizedImports) -> None:
        """End a block; remove the hook after the last one."""
        with self._lock:
            self._open = tuple(other for other in self._open if other is not context)
            if not self._open:
                self._is_wrapped = builtins.__import__ is not self._replacement
                if not self._is_wrapped:
                    builtins.__import__ = self._original

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        module = self._original(name, globals, locals, fromlist, level)
        frame = sys._getframe(1)
        for context in self._open:
            if context.frame is frame and _is_import_statement(frame):
                if level:
                    name = importlib.util.resolve_name("." * level + name, (globals or {}).get("__package__"))
                context.on_import(_ImportStatement(frame, name, tuple(fromlist or ())))
        return module


def _is_import_statement(frame: FrameType) -> bool:
    """Return whether a frame runs an import statement, not a call of ``__import__``."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_NAME"


_hook = _ImportHook()
