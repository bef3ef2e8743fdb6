"""``breakpoint()`` in user code: a debugger whose commands a client gives.

Every debugger that reads its commands by ``input()``, as pdb and IPython's debugger do, is served.
"""

from __future__ import annotations

import builtins
import importlib
import io
import os
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, NoReturn

from ..job.code_files import CALLER, IPYTHON, PACKAGE
from . import debugger_channel
from .debugger_channel import DebuggerChannel
from .import_hook import spec_with

_CHOICE, _PDB = "PYTHONBREAKPOINT", ("", "pdb.set_trace")  # The variable, and its values for pdb.
_CELL = "<ipython-input-"  # Begins the file name of a cell.
_FROM_DEBUGGERS = ("cmdloop", "raw_input")  # Functions of `cmd` and `code` that read commands.
_NO_INPUT = (
    "nobody can type anything on an engine: ask at the prompt and send the answer, dv['answer'] = input()"
)


class NoTerminal(RuntimeError):
    """Code on an engine asks for input from a terminal, and there is none."""


class PromptInterrupted(BaseException):
    """An interrupt at the prompt of a debugger, which would ignore a `KeyboardInterrupt`."""


class Breakpoints:
    """Serves the debuggers of an engine.

    Parameters
    ----------
    channel : DebuggerChannel
        Brings the commands.
    task_runs : callable
        Returns whether the user code of a task runs.
    """

    def __init__(self, channel: DebuggerChannel, task_runs: Callable[[], bool]) -> None:
        self._channel = channel
        self._task_runs = task_runs
        self._transcript = io.StringIO()  # What the debugger has printed since its last command.
        self._debugger: Any = None  # The debugger of the task that runs, if there is one.
        self._breakpoint: tuple[str, Any] | None = None  # Its place, and the place of the next line.

    def enable(self) -> None:
        """Replace ``input()``, ``pdb.set_trace()`` and, unless the user has a hook, ``breakpoint()``."""
        builtins.input = self._input
        sys.meta_path.insert(0, _PdbImportHook(self._set_trace))
        if os.environ.get(_CHOICE, "") in _PDB:
            sys.breakpointhook = self._on_breakpoint

    def end_task(self) -> None:
        """End the tracing of the task's code, so that other code does not stop."""
        if self._debugger is not None:
            self._debugger = self._breakpoint = None
            sys.settrace(None)
            self._take_transcript()

    def _on_breakpoint(self, *args: Any, **kwargs: Any) -> Any:
        if os.environ.get(_CHOICE, "") not in _PDB:
            return sys.__breakpointhook__(*args, **kwargs)
        self._stop(sys._getframe(1))
        return None

    def _set_trace(self, *args: Any, **kwargs: Any) -> None:
        """Replace ``pdb.set_trace()``."""
        self._stop(sys._getframe(1))

    def _stop(self, frame: FrameType) -> None:
        """Stop at the next line of a frame."""
        if threading.current_thread() is not threading.main_thread() or not self._task_runs():
            raise NoTerminal("breakpoint() stops only in an engine's main thread, while a task runs there")
        if self._debugger is None:
            self._debugger = new_debugger(self._transcript)
            self._debugger.use_rawinput = True  # Commands come by `input`, the text goes to `output`.
        self._breakpoint = f"{frame.f_code.co_filename}:{frame.f_lineno}", None
        self._debugger.set_trace(frame)

    def _input(self, prompt: object = "", /) -> str:
        """Read a command for a debugger; raise an error if other code asks for input."""
        caller = sys._getframe(1)
        debugger = _debugger_of(caller)
        if debugger is None or threading.current_thread() is not threading.main_thread():
            raise NoTerminal(_NO_INPUT)
        if debugger.stdout is not self._transcript:
            self._adopt(debugger)
        place = self._place_of(debugger)
        try:
            return self._channel.read(self._take_transcript(), str(prompt), place)
        except KeyboardInterrupt:
            raise PromptInterrupted from None
        except debugger_channel.Refused as e:
            raise NoTerminal(f"no debugger at {place}: {e}") from None

    def _place_of(self, debugger: Any) -> str:
        """Return the file and the line of ``breakpoint()``, and after a step those of the next statement."""
        stack = getattr(debugger, "stack", None)
        if not stack:
            return "<unknown>:0"
        frame, line = stack[-1]
        if self._breakpoint is not None and debugger is self._debugger:
            place, following = self._breakpoint
            if following in (None, (frame, line)):
                self._breakpoint = place, (frame, line)
                return place
            self._breakpoint = None
        return f"{frame.f_code.co_filename}:{line}"

    def _adopt(self, debugger: Any) -> None:
        """Take over a debugger that user code has made."""
        debugger.stdout, debugger.nosigint = self._transcript, True
        self._debugger = debugger
        if getattr(debugger, "stack", None):
            debugger.print_stack_entry(debugger.stack[debugger.curindex])

    def _take_transcript(self) -> str:
        text = self._transcript.getvalue()
        self._transcript.seek(0)
        self._transcript.truncate()
        return text


class _PdbImportHook(MetaPathFinder):
    """Replaces ``pdb.set_trace`` when pdb is imported."""

    def __init__(self, set_trace: Callable[..., None]) -> None:
        self._set_trace = set_trace

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "pdb":
            return None
        return spec_with(self, fullname, self._replace)

    def _replace(self, module: Any) -> None:
        module.set_trace = self._set_trace


def refuse_embed(*args: Any, **kwargs: Any) -> NoReturn:
    """Replace ``IPython.embed()`` by an error that names ``breakpoint()``."""
    raise NoTerminal("IPython.embed() needs a terminal, and an engine has none: use breakpoint()")


def _debugger_of(frame: FrameType | None) -> Any:
    """Return the debugger that reads a command in this frame; None if no debugger does."""
    if frame is None or frame.f_code.co_name not in _FROM_DEBUGGERS:
        return None
    # If bdb is not loaded, there is no debugger: do not import it for this test.
    bdb = getattr(sys.modules.get("bdb"), "Bdb", ())
    while frame is not None:
        candidate = frame.f_locals.get("self")
        if isinstance(candidate, bdb):
            return candidate if getattr(candidate, "use_rawinput", False) else None
        frame = frame.f_back
    return None


def new_debugger(output: io.StringIO) -> Any:
    """Return a debugger that writes to `output`: IPython's if it is installed, else pdb."""
    try:
        debugger_class: Any = importlib.import_module("IPython.core.debugger").Pdb
    except ImportError:
        debugger_class = importlib.import_module("pdb").Pdb
    quit_error = importlib.import_module("bdb").BdbQuit

    class EngineDebugger(debugger_class):  # type: ignore[misc]
        """Hides the frames of this package, and ends with errors that say why."""

        cell = ""  # The file name of the cell in whose next statement the debugger stops.

        def set_trace(self, frame: FrameType, **options: Any) -> None:
            self.outermost, self.is_next_statement = _outermost_user_frame(frame), False
            super().set_trace(frame, **options)

        def trace_dispatch(self, frame: FrameType, event: str, arg: Any) -> Any:
            try:
                following = super().trace_dispatch(frame, event, arg)
                if event == "return" and frame is self.outermost:
                    self.leave_outermost(frame)
                return following
            except quit_error:
                where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                raise quit_error(f"the debugger was left by q at {where}; c lets the code go on") from None
            except PromptInterrupted:
                raise KeyboardInterrupt from None

        def leave_outermost(self, frame: FrameType) -> None:
            """Continue to the next statement of a cell, which is other code for Python; else stop nowhere."""
            file = frame.f_code.co_filename
            if frame.f_locals is frame.f_globals:
                frame.f_globals.pop("__return__", None)  # The debugger sets this name.
            if not file.startswith(_CELL):
                self.set_continue()
            elif self.stoplineno != -1:  # The user has not said "c".
                self.cell = file
                self.set_step()

        def stop_here(self, frame: FrameType) -> bool:
            if _is_machinery(frame.f_code.co_filename):
                return False
            if self.cell:
                if frame.f_code.co_filename != self.cell or frame.f_code.co_name != "<module>":
                    return False
                self.cell, self.outermost, self.is_next_statement = "", frame, True
            return bool(super().stop_here(frame))

        def user_call(self, frame: FrameType, arguments: Any) -> None:
            if frame is not self.outermost:
                super().user_call(frame, arguments)

        def user_return(self, frame: FrameType, value: Any) -> None:
            if not (frame is self.outermost and self.is_next_statement):
                super().user_return(frame, value)

        def get_stack(self, *args: Any, **kwargs: Any) -> Any:
            stack, index = super().get_stack(*args, **kwargs)
            first = _first_user_frame([frame for frame, _ in stack])
            return stack[first:], max(0, index - first)

    debugger = EngineDebugger(
        completekey=None, stdin=io.StringIO(), stdout=output, nosigint=True, readrc=False
    )
    debugger.prompt = "(Pdb) "
    _set_colors(debugger)
    return debugger


def _first_user_frame(frames: list[FrameType]) -> int:
    """Return the index of the first frame of user code, after the frames that have called user code."""
    files = [frame.f_code.co_filename for frame in frames]
    first = max((k + 1 for k, file in enumerate(files) if file == CALLER), default=0)
    while first < len(files) - 1 and _is_machinery(files[first]):
        first += 1
    return first


def _is_machinery(file: str) -> bool:
    """Return whether a file belongs to this package, or to the part of IPython that runs cells."""
    return file.startswith(PACKAGE) or IPYTHON in file


def _outermost_user_frame(frame: FrameType) -> FrameType:
    """Return the frame of user code that this package, or IPython, has called."""
    outermost, above = frame, frame.f_back
    while above is not None and above.f_code.co_filename != CALLER:
        file = above.f_code.co_filename
        if not _is_machinery(file):
            outermost = above
        above = above.f_back
    return outermost


def _set_colors(debugger: Any) -> None:
    """Set the colours of IPython's debugger; a client without colours removes them."""
    if hasattr(debugger, "set_theme_name"):
        debugger.set_theme_name("neutral")
    elif hasattr(debugger, "set_colors"):
        debugger.set_colors("Neutral")
