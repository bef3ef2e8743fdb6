"""Imports that happen here and on engines: `DirectView.sync_imports`."""

from __future__ import annotations

import builtins
import dis
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from ...serialize.reference import Reference
from ..results import waiting

if TYPE_CHECKING:
    from .directview import DirectView


class everywhere:
    """Context manager: the imports that are written in its block happen on the engines of `view` too.

    Parameters
    ----------
    view : DirectView
        Where.
    local : bool
        Import here as well; nothing else is possible.
    quiet : bool
        Print nothing.

    Raises
    ------
    CompositeError
        At the end of the block, when engines could not import what could be imported here.
    """

    def __init__(self, view: DirectView, local: bool = True, quiet: bool = False) -> None:
        if not local:
            raise NotImplementedError(
                "imports on the engines alone are not implemented for sync_imports: "
                "use view.execute('import …')"
            )
        self._view = view
        self._quiet = quiet
        self._results: list[Any] = []
        self.block: FrameType | None = None  # where the with statement stands

    def __enter__(self) -> None:
        self.block = sys._getframe(1)
        _hook.enter(self)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        _hook.leave(self)
        self.block = None
        if error is None:
            for result in self._results:
                waiting.wait(result)
                result.get()

    def imported(self, statement: _Statement) -> None:
        """An import of our block has succeeded here: repeat it there."""
        if not self._quiet:
            print(f"importing {statement.description} on engine(s)")
        call: tuple[Any, ...] = (exec, (statement.code, Reference("globals()")), {})
        self._results.append(self._view._call("apply", "import", call, block=False))


class _Statement:
    """An import statement, found again from what it calls and from the bytecode that it became."""

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
    """The names that the import statement which `frame` is in binds, in order."""
    instructions = iter(dis.get_instructions(frame.f_code))
    for instruction in instructions:
        if instruction.offset == frame.f_lasti:
            break
    for instruction in instructions:
        name = instruction.opname
        if name.startswith("STORE_"):
            value = instruction.argval  # a pair, where two instructions were made one
            yield value[0] if isinstance(value, tuple) else value
            following = next(instructions, None)
            if following is None or following.opname != "IMPORT_FROM":
                return
        elif not name.startswith(("IMPORT_FROM", "SWAP", "ROT_", "POP_TOP", "EXTENDED_ARG", "CACHE")):
            return


class _Hook:
    """The place of ``builtins.__import__`` while any block is open, in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: tuple[everywhere, ...] = ()
        self._original: Callable[..., Any] = builtins.__import__
        self._ours = self._import  # one object, to recognise it by
        self._buried = False  # somebody else's hook was put on top of ours, and calls it

    def enter(self, context: everywhere) -> None:
        """A block begins."""
        with self._lock:
            current = builtins.__import__
            if self._buried and current is self._original:
                self._buried = False
            if current is not self._ours and not self._buried:
                self._original = current
                builtins.__import__ = self._ours
            self._open += (context,)

    def leave(self, context: everywhere) -> None:
        """A block ends; with the last one the hook goes."""
        with self._lock:
            self._open = tuple(other for other in self._open if other is not context)
            if not self._open:
                self._buried = builtins.__import__ is not self._ours
                if not self._buried:
                    builtins.__import__ = self._original

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        module = self._original(name, globals, locals, fromlist, level)
        frame = sys._getframe(1)
        for context in self._open:
            if context.block is frame and _is_statement(frame):
                if level:
                    name = importlib.util.resolve_name("." * level + name, (globals or {}).get("__package__"))
                context.imported(_Statement(frame, name, tuple(fromlist or ())))
        return module


def _is_statement(frame: FrameType) -> bool:
    """Whether `frame` is in an import statement, and not in a call of ``__import__``."""
    return dis.opname[frame.f_code.co_code[frame.f_lasti]] == "IMPORT_NAME"


_hook = _Hook()
