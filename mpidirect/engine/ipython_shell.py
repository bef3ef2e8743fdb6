"""IPython on an engine: magics, shell escapes and rich results, without a prompt and without files."""

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
from ..serialize.failures import has_source, user_traceback
from .output import displays

# No history is written: engines have no prompt, and many of them share a home directory.
_CONFIG = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})

DEEP = 100  # frames that IPython is asked to format


class _Result(DisplayHook):
    """Keeps the value of a cell's last line, as its formats, instead of printing it."""

    formats: dict[str, Any] | None = None
    muted = False  # whether the cell ends with a semicolon

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
    """Keeps what is displayed while a task runs."""

    def publish(self, data: dict[str, Any], metadata: Any = None, *args: Any, **kwargs: Any) -> None:
        id = (kwargs.get("transient") or {}).get("display_id", "")
        displays.show(data, metadata or {}, id, bool(kwargs.get("update")))

    def clear_output(self, wait: bool = False) -> None:
        displays.clear()


class _Compiler(CachingCompiler):
    """Names code in tracebacks without the cell's number: engines count differently, and nobody sees it."""

    def format_code_name(self, name: str) -> tuple[str, str] | None:
        return ("Executed", "code") if super().format_code_name(name) else None


class _Shell(InteractiveShell):
    compiler_class = _Compiler
    displayhook_class = _Result
    display_pub_class = _Displays
    initial: dict[str, Any] = {}  # names that %reset leaves
    last_traceback: str | None = None
    _remembered: dict[str, Any] = {}

    @property
    def db(self) -> dict[str, Any]:
        """What IPython keeps in files between sessions: the directories of %cd, bookmarks."""
        return self._remembered

    @db.setter
    def db(self, files: Any) -> None:
        pass  # we keep it in memory

    def system(self, cmd: str) -> None:
        """Run a command line; what it prints is printed here."""
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
            except BaseException:  # an interrupt reaches this process alone
                process.kill()
                raise
        self.user_ns["_exit_code"] = process.returncode

    def ask_exit(self) -> None:
        raise SystemExit

    def init_user_ns(self) -> None:
        super().init_user_ns()
        self.user_ns.update(self.initial)
        self.user_ns_hidden.update(self.initial)  # %whos shows what is the user's alone

    def init_sys_modules(self) -> None:
        pass  # the engine's namespace is __main__ already

    def enable_gui(self, gui: Any = None) -> None:
        pass

    def showtraceback(self, *args: Any, **kwargs: Any) -> None:
        if args and args[0]:  # what was to be displayed has failed to be formatted; the task goes on
            traceback.print_exception(*args[0])
            return
        # Left to who shows it without IPython: an endless recursion, which takes IPython seconds; functions
        # whose source the client adds; interrupts, of which a line is enough.
        kind, error, trace = sys.exc_info()
        if kind is KeyboardInterrupt or _depth(trace) >= DEEP or not has_source(trace):
            return
        if trace is not None:
            args = ((kind, error, user_traceback(trace)),)
        super().showtraceback(*args, **kwargs)

    def _showtraceback(self, etype: Any, evalue: BaseException | None, stb: list[str]) -> None:
        self.last_traceback = "\n".join(stb)
        for name in ("last_type", "last_value", "last_traceback", "last_exc"):
            vars(sys).pop(name, None)  # they would keep alive what the failed line has used


class Shell:
    """An IPython shell whose namespace is the engine's.

    Parameters
    ----------
    namespace : dict
        ``__main__``, with what an engine begins with.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        _Shell.initial = {name: namespace[name] for name in INITIAL_NAMES if name in namespace}
        warnings.filterwarnings("ignore", "To exit: use")  # said after a SystemExit, to who has a prompt
        with tempfile.TemporaryDirectory(prefix="mpidirect-") as place:
            # The instance that get_ipython() and display() look for, wherever they are called.
            self.shell = _Shell.instance(
                config=_CONFIG,
                ipython_dir=place,
                profile_dir=ProfileDir(location=place),
                user_module=sys.modules["__main__"],
                user_ns=namespace,
                colors=_no_color(),
            )
        self.own_names = dict(self.shell.user_ns_hidden)  # what IPython has put into the namespace

    def execute(self, code: str, silent: bool) -> dict[str, Any]:
        """Run a cell; returns its result, or raises what it raised."""
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
                except Exception:  # an exception that takes no attributes
                    pass
            raise error
        return {
            "execution_count": result.execution_count,
            "result": shell.displayhook.formats,
        }

    def forget(self) -> None:
        """The namespace was cleared: let go of former results, and put IPython's own names back."""
        shell = self.shell
        shell.history_manager.output_hist.clear()
        for name in ("_", "__", "___"):  # the latest results, which IPython holds as well
            setattr(shell.displayhook, name, "")
        shell.push(dict.fromkeys(["_", "__", "___"], ""), interactive=False)
        hidden = shell.user_ns_hidden
        for name in hidden.keys() - shell.user_ns.keys():
            del hidden[name]
        shell.init_user_ns()
        self.own_names = {name: hidden[name] for name in self.own_names if name in hidden}  # made anew


def _ends_with_semicolon(code: str) -> bool:
    """Whether the value of the cell is not wanted."""
    try:
        return ";" in code and DisplayHook.semicolon_at_end_of_expression(code)
    except (SyntaxError, tokenize.TokenError):  # a cell of another language, or an incomplete one
        return False


def _depth(trace: TracebackType | None) -> int:
    depth = 0
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    return depth


def _no_color() -> str:
    """The colour scheme without colours, which IPython 9 renamed."""
    import IPython

    return "nocolor" if IPython.version_info[0] >= 9 else "NoColor"
