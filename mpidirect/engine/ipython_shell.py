"""IPython on an engine: magics, shell escapes and rich results, but no prompt and no files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tokenize
import traceback
import warnings
from types import TracebackType
from typing import Any

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.profiledir import ProfileDir
from traitlets.config import Config

from ..protocol.names import INITIAL_NAMES
from ..serialize import received_names
from ..serialize.cell_result import CellResult
from ..serialize.failures import has_source, user_traceback
from .breakpoints import refuse_embed
from .output import displays

# No history is written: engines have no prompt, and many engines share a home directory.
_CONFIG = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})

FORMATTED_FRAMES = 100  # IPython formats no traceback with more frames.


class _Result(DisplayHook):
    """Stores the formats of the value of a cell's last line, instead of printing the value."""

    formats: dict[str, Any] | None = None
    muted = False  # Whether the cell ends with a semicolon.

    def quiet(self) -> bool:
        return self.muted

    def start_displayhook(self) -> None:
        pass

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict[str, Any], md_dict: dict[str, Any] | None = None) -> None:
        self.formats = {"data": format_dict, "metadata": md_dict or {}}

    def finish_displayhook(self) -> None:
        pass


class _Displays(DisplayPublisher):
    """Stores the displays of a running task."""

    def publish(self, data: dict[str, Any], metadata: Any = None, *args: Any, **kwargs: Any) -> None:
        id = (kwargs.get("transient") or {}).get("display_id", "")
        displays.show(data, metadata or {}, id, bool(kwargs.get("update")))

    def clear_output(self, wait: bool = False) -> None:
        displays.clear_output(wait)


class _Compiler(CachingCompiler):
    """Names code in tracebacks without the number of the cell, which differs between engines."""

    def format_code_name(self, name: str) -> tuple[str, str] | None:
        return ("Executed", "code") if super().format_code_name(name) else None


class _Shell(InteractiveShell):
    compiler_class = _Compiler
    displayhook_class = _Result
    display_pub_class = _Displays
    initial: dict[str, Any] = {}  # Names that %reset keeps.
    last_traceback: str | None = None
    _remembered: dict[str, Any] = {}

    @property
    def db(self) -> dict[str, Any]:
        """What IPython usually stores in files between sessions: directories of %cd, bookmarks."""
        return self._remembered

    @db.setter
    def db(self, files: Any) -> None:
        pass  # An engine stores this in memory.

    def system(self, cmd: str) -> None:
        """Run a command line, and print its output."""
        command = self.var_expand(cmd, depth=1)
        with subprocess.Popen(
            command,
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            try:
                for line in process.stdout:
                    print(line, end="")
            except BaseException:  # An interrupt reaches the engine alone.
                process.kill()
                raise
        self.user_ns["_exit_code"] = process.returncode

    def ask_exit(self) -> None:
        raise SystemExit

    def init_user_ns(self) -> None:
        super().init_user_ns()
        self.user_ns.update(self.initial)
        self.user_ns_hidden.update(self.initial)  # %whos shows only the names of user code.

    def init_sys_modules(self) -> None:
        pass  # The engine's namespace is already __main__.

    def enable_gui(self, gui: Any = None) -> None:
        pass

    def showtraceback(self, *args: Any, **kwargs: Any) -> None:
        if args and args[0]:  # A display could not be formatted; the task goes on.
            traceback.print_exception(*args[0])
            return
        # Not formatted by IPython: endless recursions, which take it seconds; functions whose source the
        # client adds; interrupts, for which a line is enough.
        kind, error, trace = sys.exc_info()
        if kind is KeyboardInterrupt or _depth(trace) >= FORMATTED_FRAMES or not has_source(trace):
            return
        if trace is not None:
            args = ((kind, error, user_traceback(trace)),)
        super().showtraceback(*args, **kwargs)

    def _showtraceback(self, etype: Any, evalue: BaseException | None, stb: list[str]) -> None:
        self.last_traceback = "\n".join(stb)
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            vars(sys).pop(name, None)  # These names would keep alive what the failed line has used.


class Shell:
    """An IPython shell whose namespace is the engine's.

    Parameters
    ----------
    namespace : dict
        The namespace of ``__main__``, with an engine's initial names.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        _Shell.initial = {name: namespace[name] for name in INITIAL_NAMES if name in namespace}
        # IPython issues this warning for prompts, after a SystemExit.
        warnings.filterwarnings("ignore", "To exit: use")
        with tempfile.TemporaryDirectory(prefix="mpidirect-") as directory:
            # The instance that get_ipython() and display() use.
            self.shell = _Shell.instance(
                config=_CONFIG,
                ipython_dir=directory,
                profile_dir=ProfileDir(location=directory),
                user_module=sys.modules["__main__"],
                user_ns=namespace,
                colors=_no_color(),
            )
        self.own_names = dict(self.shell.user_ns_hidden)  # The names that IPython has set.
        for name in {"IPython", "IPython.terminal.embed"} & sys.modules.keys():  # The terminal is not loaded.
            vars(sys.modules[name])["embed"] = refuse_embed

    def execute(self, code: str, silent: bool) -> CellResult:
        """Run a cell; return its result, or raise its error.

        Parameters
        ----------
        code : str
            The source of the cell.
        silent : bool
            Whether the cell is not counted, and its result is not kept.
        """
        shell = self.shell
        shell.displayhook.formats = None
        shell.displayhook.muted = _ends_with_semicolon(code)
        shell.last_traceback = None
        if received_names.engine_names is not None:
            shell.user_ns_hidden.update(received_names.engine_names.values())
        result = shell.run_cell(code, store_history=not silent, silent=silent)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            if shell.last_traceback:
                try:
                    error._mpidirect_traceback = shell.last_traceback
                except Exception:  # The exception takes no attributes.
                    pass
            raise error
        return CellResult(execution_count=result.execution_count, result=shell.displayhook.formats)

    def clear(self) -> None:
        """Drop former results after the namespace was cleared, and set IPython's own names again."""
        shell = self.shell
        shell.history_manager.output_hist.clear()
        for name in ("_", "__", "___"):  # IPython keeps the latest results as well.
            setattr(shell.displayhook, name, "")
        shell.push(dict.fromkeys(["_", "__", "___"], ""), interactive=False)
        hidden = shell.user_ns_hidden
        for name in hidden.keys() - shell.user_ns.keys():
            del hidden[name]
        shell.init_user_ns()
        # Only those that exist again.
        self.own_names = {name: hidden[name] for name in self.own_names if name in hidden}


def _ends_with_semicolon(code: str) -> bool:
    """Return whether the value of the cell is not shown."""
    try:
        return ";" in code and DisplayHook.semicolon_at_end_of_expression(code)
    except (SyntaxError, tokenize.TokenError):  # The cell is in another language, or incomplete.
        return False


def _depth(trace: TracebackType | None) -> int:
    depth = 0
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    return depth


def _no_color() -> str:
    """Return the colour scheme without colours, which IPython 9 has renamed."""
    import IPython

    return "nocolor" if IPython.version_info[0] >= 9 else "NoColor"
