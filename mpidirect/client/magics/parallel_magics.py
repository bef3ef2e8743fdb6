"""The magics ``%px``, ``%%px``, ``%autopx``, ``%pxresult``, ``%pxconfig`` and ``%result``."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.error import UsageError

from ...errors import ClusterNotFound, Interrupted, RemoteError
from ..display.live import LiveDisplay
from ..results.asyncresult import AsyncResult
from ..results.outputs import ExecuteReply
from ..results.state import outcome_in_words, unanswered_engines
from ..results.waiting import interrupt_after_ctrl_c, wait_and_report_failures, wait_and_report_state
from ..session.queries import engines_in_words
from .autopx import AUTO_MAGIC, AutoParallel, cells_run_here
from .options import execution_options, output_options, parse_targets
from .typed_ipython import Magics, argument, magic_arguments, no_var_expand, parse_argstring
from .view import MagicView

_PROGRESS_AFTER = 2.0  # seconds after which a running execution reports its state
_MAX_LISTED = 10  # engines that are listed before an execution


def is_free(shell: Any) -> bool:
    """Return whether ``%px`` is undefined, or belongs to a client whose connection is closed."""
    registered = shell.__dict__.get("_mpidirect_magics", {}).get("")
    if registered is None:
        return "px" not in shell.magics_manager.magics["line"]
    return bool(registered.is_closed)


def register(shell: Any, view: MagicView | Callable[[], MagicView], suffix: str) -> None:
    """Give `shell` the magics of `view`, or of the view that a call returns; replace those of the suffix."""
    registered = shell.__dict__.setdefault("_mpidirect_magics", {})
    if suffix in registered:
        registered[suffix].auto.stop()
    registered[suffix] = ParallelMagics(shell, view, suffix)
    shell.magics_manager.register(registered[suffix])


class InvalidCode(Exception):
    """Code for the engines has a syntax error, which IPython shows without frames of Python."""

    def __init__(self, error: SyntaxError) -> None:
        super().__init__(str(error))
        self._lines = traceback.format_exception_only(error)

    def _render_traceback_(self) -> list[str]:
        return "".join(self._lines).splitlines()


class ParallelMagics(Magics):
    """Magics that run code on the engines of a view.

    Parameters
    ----------
    shell : InteractiveShell
        The session in which the code is typed.
    view : DirectView or callable
        The view, whose ``block`` says whether to wait; or a function that returns one, called when a magic
        is first used.
    suffix : str
        The end of the magics' names.
    """

    registered = True  # IPython requires this of a class whose magics are named per instance

    def __init__(self, shell: Any, view: MagicView | Callable[[], MagicView], suffix: str = "") -> None:
        self._connect = view if callable(view) else None
        self._view = None if callable(view) else view
        self.suffix = suffix
        self.verbose = True
        self.stream = True
        self.progress_after = _PROGRESS_AFTER
        self.signal_on_interrupt = "SIGINT"
        self.latest: AsyncResult | None = None  # of the latest execution by a magic
        self._heading = ""  # of that execution
        lines: dict[str, Callable[..., Any]] = {
            "px" + suffix: self.px,
            "autopx" + suffix: self.autopx,
            "pxresult" + suffix: self.pxresult,
            "pxconfig" + suffix: self.pxconfig,
            "result" + suffix: self.result,
        }
        cells: dict[str, Callable[..., Any]] = {
            "px" + suffix: self.cell_px,
            AUTO_MAGIC + suffix: self.cell_autopx,
        }
        self.magics = {"line": lines, "cell": cells}
        self.auto = AutoParallel(shell, suffix, lines)
        super().__init__(shell=shell)

    @property
    def view(self) -> MagicView:
        """The view that runs the code."""
        if self._view is None:
            assert self._connect is not None
            try:
                self._view = self._connect()
            except ClusterNotFound as e:
                raise UsageError(str(e)) from None
        return self._view

    @property
    def is_closed(self) -> bool:
        """Whether there is no view, or its connection is closed."""
        return self._view is None or self._view.client._session.is_over

    # -- the magics ---------------------------------------------------------------------------------

    @no_var_expand
    def px(self, line: str = "") -> AsyncResult | None:
        """Run a line on the engines.

        Examples
        --------
        ::

            In [1]: %px a = rank**2
            Parallel execution on engines: [0, 1, 2, 3]

            In [2]: %px print(a)
            Parallel execution on engines: [0, 1, 2, 3]
            [stdout:0] 0
            [stdout:1] 1
            [stdout:2] 4
            [stdout:3] 9

            In [3]: %px --pdb 1 / rank
            …
            (Pdb 0) p rank
            0
        """
        code = line.removeprefix("--pdb ")
        return self._run(code, pdb=code != line)

    @magic_arguments("%px")
    @execution_options
    @output_options
    @argument(
        "--timeout", type=float, metavar="SECONDS", help="after so long, interrupt it and say where it was"
    )
    @argument("--local", action="store_true", help="run the cell here as well")
    @argument("--pdb", action="store_true", help="after an error, debug the first engine that failed")
    def cell_px(self, line: str = "", cell: str = "") -> AsyncResult | None:
        """Run a cell on the engines.

        Examples
        --------
        ::

            In [1]: %%px --noblock --targets 0,2
               ...: import time
               ...: time.sleep(10)
            Async parallel execution on engines: [0, 2]
            Out[1]: <AsyncResult(_execute): pending>
        """
        options = parse_argstring(self.cell_px, line)
        view = self.view
        flags: dict[str, Any] = {}
        if options.targets is not None:
            flags["targets"] = parse_targets(options.targets, view.client._session.engines)
        if options.block is not None:
            flags["block"] = options.block
        with view.temp_flags(**flags):
            result = self._submit(cell, options.name, options.verbose)
            block = view.block
        if options.local:
            with cells_run_here(self.shell):
                self.shell.run_cell(cell)
        if not block:
            return result
        stream = options.groupby is None and self.stream if options.stream is None else options.stream
        after = self.progress_after if options.progress_after is None else options.progress_after
        signal = options.signal_on_interrupt or self.signal_on_interrupt
        heading = None if options.local else self._heading
        with self._debugger(options.pdb):
            self._finish(result, options.groupby, stream, after, signal, options.timeout, heading)
        return None

    def autopx(self, line: str = "") -> None:
        """Run all typed code on the engines, until the next ``%autopx``."""
        self.auto.toggle()

    @magic_arguments()
    @output_options
    def pxresult(self, line: str = "") -> None:
        """Wait for the last execution by ``%px``, and show its outputs."""
        options = parse_argstring(self.pxresult, line)
        if self.latest is None:
            raise UsageError(f"%pxresult shows what %px{self.suffix} ran last, and it has run nothing yet")
        if options.name:
            self.shell.user_ns[options.name] = self.latest
            return
        self._finish(self.latest, options.groupby, stream=False)

    @magic_arguments()
    @output_options
    @argument(
        "index", nargs="?", type=int, default=-1, help="which one of the view's history; the last if none"
    )
    def result(self, line: str = "") -> Any:
        """Wait for the view's latest result, or for one by its index in the history, and return it."""
        options = parse_argstring(self.result, line)
        try:
            result = self.view.get_result(options.index, block=False)
        except IndexError:
            count = len(self.view.history)
            raise UsageError(
                f"there is no result {options.index}: this view has made {count} calls"
            ) from None
        if options.name:
            self.shell.user_ns[options.name] = result
            return None
        self._wait(result)
        value = result.get()
        replies = value if isinstance(value, list) else [value]
        if replies and all(isinstance(reply, ExecuteReply) for reply in replies):
            result.display_outputs(options.groupby or "type")
            return None
        return value

    @magic_arguments()
    @execution_options
    def pxconfig(self, line: str = "") -> None:
        """Set the default options of ``%px`` and ``%%px``."""
        options = parse_argstring(self.pxconfig, line)
        if options.targets is not None:
            self.view.targets = parse_targets(options.targets, self.view.client._session.engines)
        if options.block is not None:
            self.view.block = options.block
        for name in ("verbose", "stream", "progress_after", "signal_on_interrupt"):
            value = getattr(options, name)
            if value is not None:
                setattr(self, name, value)

    @no_var_expand
    def cell_autopx(self, line: str, cell: str) -> None:
        """Run a cell that was typed while ``%autopx`` is on."""
        self.run_auto(cell)

    def run_auto(self, cell: str) -> None:
        """Run a cell that was typed without a magic."""
        if self.view.block:
            self._run(cell, is_cell=True)
        else:
            self.latest = self.view.execute(cell, silent=False, block=False)
            print(repr(self.latest))

    # -- execution ----------------------------------------------------------------------------------

    @contextmanager
    def _debugger(self, wanted: bool) -> Iterator[None]:
        """If `wanted`, debug the first failed engine after an error of engines in the block."""
        try:
            yield
        except RemoteError:
            if not wanted:
                raise
            self.shell.showtraceback()
            self.view.debug()

    def _run(self, code: str, pdb: bool = False, is_cell: bool = False) -> AsyncResult | None:
        """Run code; show its outputs where the view blocks, else return the result."""
        result = self._submit(code)
        if not self.view.block:
            return result
        with self._debugger(pdb):
            heading = self._heading if is_cell else None
            self._finish(
                result, None, self.stream, self.progress_after, self.signal_on_interrupt, heading=heading
            )
        return None

    def _submit(self, code: str, name: str | None = None, verbose: bool | None = None) -> AsyncResult:
        """Send code to the engines; store the result under a name, if one is given."""
        try:
            result = self.view.execute(code, silent=False, block=False)  # may raise, so before the message
        except SyntaxError as error:
            raise InvalidCode(error) from None
        self._heading = ""
        if self.verbose if verbose is None else verbose:
            how = "Parallel" if self.view.block else "Async parallel"
            self._heading = f"{how} execution on engines: {self._listed_engines()}\n"
            print(self._heading, end="")
        self.latest = result
        if name:
            self.shell.user_ns[name] = result
        return result

    def _finish(
        self,
        result: AsyncResult,
        groupby: str | None = None,
        stream: bool = True,
        progress_after: float = -1.0,
        signal: str = "SIGINT",
        timeout: float | None = None,
        heading: str | None = None,
    ) -> None:
        """Wait, show the outputs, and raise the engines' errors."""
        with LiveDisplay(result._slots if stream else (), heading) as live:
            interrupted = self._wait(result, progress_after, signal, timeout, live)
        result.display_outputs(groupby or "type", result_only=stream)
        if interrupted:
            raise Interrupted(outcome_in_words(result._slots))
        result.get()

    def _wait(
        self,
        result: AsyncResult,
        progress_after: float = -1.0,
        signal: str = "SIGINT",
        timeout: float | None = None,
        live: LiveDisplay | None = None,
    ) -> bool:
        """Wait; Ctrl-C sends a signal to the engines; return whether it has interrupted them."""
        live = live or LiveDisplay(())
        try:
            if timeout is not None or progress_after >= 0:
                in_time = wait_and_report_state(result, timeout, progress_after, live.status)
                if not in_time:
                    raise result._interrupt_late(timeout)
            wait_and_report_failures(result, live.flush)
        except KeyboardInterrupt:
            live.flush()
            return self._interrupt(result, signal)
        return False

    def _interrupt(self, result: AsyncResult, signal: str) -> bool:
        """Send a signal to the engines and wait; return whether the signal interrupts them."""
        if signal in ("SIGINT", "INT", "2"):
            interrupt_after_ctrl_c(result)
            return True
        if signal == "0":
            raise KeyboardInterrupt
        running = unanswered_engines(result._slots)
        print(f"Sending {signal} to {engines_in_words(running)} …", file=sys.stderr)
        self.view.client.send_signal(int(signal) if signal.isdigit() else signal, running)
        wait_and_report_failures(result)
        return False

    def _listed_engines(self) -> str:
        engines = self.view.client._session.engines.resolve(self.view.targets)
        if len(engines) <= _MAX_LISTED:
            return str(engines)
        first, last = (", ".join(map(str, part)) for part in (engines[:4], engines[-4:]))
        return f"[{first}, ..., {last}]"
