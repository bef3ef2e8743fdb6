"""The magics themselves; imported where IPython is at hand."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

from ...errors import ClusterNotFound
from ..display.live import LiveDisplay
from ..results.asyncresult import AsyncResult
from ..results.outputs import ExecuteReply
from ..results.waiting import end, given_up, pending, wait_and_look, wait_and_tell
from ..session.queries import engines_in_words

if TYPE_CHECKING:
    from ..views.directview import DirectView

Magic = Callable[..., Any]

PROGRESS_AFTER = 2.0  # seconds after which an execution is looked into
MOST_SHOWN = 10  # engines, in what is said about an execution


def is_free(shell: Any) -> bool:
    """Whether ``%px`` is nobody's, or that of a client whose cluster or connection is gone."""
    ours = shell.__dict__.get("_mpidirect_magics", {}).get("")
    if ours is None:
        return "px" not in shell.magics_manager.magics["line"]
    return ours.is_over


def register(shell: Any, view: DirectView | None, suffix: str) -> None:
    """Give `shell` the magics of `view`; those of the same suffix before them end."""
    known = shell.__dict__.setdefault("_mpidirect_magics", {})
    if suffix in known:
        known[suffix].stop_auto()
    known[suffix] = ParallelMagics(shell, view, suffix)
    shell.magics_manager.register(known[suffix])


def _how_to_run(f: Magic) -> Magic:
    """The options of ``%%px`` and ``%pxconfig``."""
    for option in (
        argument("-b", "--block", action="store_const", const=True, help="wait for the engines"),
        argument("-a", "--noblock", action="store_const", const=False, dest="block", help="don't wait"),
        argument("--stream", action="store_const", const=True, help="show what is printed as it comes"),
        argument("--no-stream", action="store_const", const=False, dest="stream", help="show it at the end"),
        argument("-t", "--targets", help="on these engines: all, 0, 0,2 or a slice like ::2"),
        argument("--verbose", action="store_const", const=True, help="say where it runs"),
        argument("--no-verbose", action="store_const", const=False, dest="verbose", help="say nothing"),
        argument(
            "--progress-after",
            type=float,
            metavar="SECONDS",
            help="from when on to show where the engines are; -1: never",
        ),
        argument(
            "--signal-on-interrupt",
            metavar="SIGNAL",
            help="what Ctrl-C sends to the engines, SIGINT by default; 0: nothing",
        ),
    ):
        f = option(f)
    return f


def _how_to_show(f: Magic) -> Magic:
    """The options of ``%%px`` and ``%pxresult``."""
    for option in (
        argument("-e", action="store_const", const="engine", dest="groupby", help="--group-outputs engine"),
        argument("-r", action="store_const", const="order", dest="groupby", help="--group-outputs order"),
        argument(
            "--group-outputs",
            choices=["engine", "order", "type"],
            dest="groupby",
            help="at the end, show outputs engine by engine, or (type, order) first all that was printed",
        ),
        argument("-o", "--out", metavar="NAME", dest="name", help="store the AsyncResult under this name"),
    ):
        f = option(f)
    return f


class ParallelMagics(Magics):
    """Magics that run what is typed on the engines of a view.

    Parameters
    ----------
    shell : InteractiveShell
        Where it is typed.
    view : DirectView, optional
        Where it runs; its ``block`` says whether to wait. Without one, all engines of the cluster that
        `Client` finds.
    suffix : str
        The end of the magics' names.
    """

    registered = True  # what IPython asks of a class whose magics are named per instance

    def __init__(self, shell: Any, view: DirectView | None, suffix: str = "") -> None:
        self._view = view
        self.suffix = suffix
        self.verbose = True
        self.stream = True
        self.progress_after = PROGRESS_AFTER
        self.signal_on_interrupt = "SIGINT"
        self.latest: AsyncResult | None = None  # of what the magics ran
        lines: dict[str, Magic] = {
            "px" + suffix: self.px,
            "autopx" + suffix: self.autopx,
            "pxresult" + suffix: self.pxresult,
            "pxconfig" + suffix: self.pxconfig,
            "result" + suffix: self.result,
        }
        self.magics = {"line": lines, "cell": {"px" + suffix: self.cell_px}}
        super().__init__(shell=shell)

    @property
    def view(self) -> DirectView:
        """Where it runs."""
        if self._view is None:
            from ..client import Client  # not before: it imports this

            try:
                self._view = Client().direct_view(block=True)
            except ClusterNotFound as e:
                raise UsageError(str(e)) from None
        return self._view

    @property
    def is_over(self) -> bool:
        """Whether there is no view, or nothing can be run on it any more."""
        if self._view is None:
            return True
        return self._view._session.is_over

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
        """
        return self._run(line)

    @magic_arguments("%px")
    @_how_to_run
    @_how_to_show
    @argument(
        "--timeout", type=float, metavar="SECONDS", help="after so long, interrupt it and say where it was"
    )
    @argument("--local", action="store_true", help="run the cell here as well")
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
            flags["targets"] = self._targets(options.targets)
        if options.block is not None:
            flags["block"] = options.block
        with view.temp_flags(**flags):
            result = self._submit(cell, options.name, options.verbose)
            block = view.block
        if options.local:
            self.shell.run_cell(cell)
        if not block:
            return result
        stream = options.groupby is None and self.stream if options.stream is None else options.stream
        after = self.progress_after if options.progress_after is None else options.progress_after
        signal = options.signal_on_interrupt or self.signal_on_interrupt
        self._finish(result, options.groupby, stream, after, signal, options.timeout)
        return None

    def autopx(self, line: str = "") -> None:
        """Run all that is typed on the engines, until the next ``%autopx``."""
        if self._redirect in self._transforms:
            self.stop_auto()
        else:
            self.start_auto()

    @magic_arguments()
    @_how_to_show
    def pxresult(self, line: str = "") -> None:
        """Wait for what ``%px`` ran last, and show its outputs."""
        options = parse_argstring(self.pxresult, line)
        if self.latest is None:
            raise UsageError(f"%pxresult shows what %px{self.suffix} ran last, and it has run nothing yet")
        if options.name:
            self.shell.user_ns[options.name] = self.latest
            return
        self._finish(self.latest, options.groupby, stream=False)

    @magic_arguments()
    @_how_to_show
    @argument(
        "index", nargs="?", type=int, default=-1, help="which one of the view's history; the last if none"
    )
    def result(self, line: str = "") -> Any:
        """Wait for the view's most recent result, or that with an index in its history, and return it."""
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
    @_how_to_run
    def pxconfig(self, line: str = "") -> None:
        """Set what ``%px`` and ``%%px`` do without options."""
        options = parse_argstring(self.pxconfig, line)
        if options.targets is not None:
            self.view.targets = self._targets(options.targets)
        if options.block is not None:
            self.view.block = options.block
        if options.verbose is not None:
            self.verbose = options.verbose
        if options.stream is not None:
            self.stream = options.stream
        if options.progress_after is not None:
            self.progress_after = options.progress_after
        if options.signal_on_interrupt is not None:
            self.signal_on_interrupt = options.signal_on_interrupt

    # -- running ------------------------------------------------------------------------------------

    def _run(self, code: str) -> AsyncResult | None:
        """Run `code` as the view says; None where it was waited for, as its outputs are shown."""
        result = self._submit(code)
        if not self.view.block:
            return result
        self._finish(result, None, self.stream, self.progress_after, self.signal_on_interrupt)
        return None

    def _submit(self, code: str, name: str | None = None, verbose: bool | None = None) -> AsyncResult:
        result = self.view.execute(code, silent=False, block=False)  # first: it may be refused
        if self.verbose if verbose is None else verbose:
            how = "Parallel" if self.view.block else "Async parallel"
            print(f"{how} execution on engines: {self._where()}")
        self.latest = result
        if name:
            self.shell.user_ns[name] = result
        return result

    def _finish(
        self,
        result: AsyncResult,
        groupby: str | None = None,
        stream: bool = True,
        after: float = -1.0,
        signal: str = "SIGINT",
        timeout: float | None = None,
    ) -> None:
        """Wait, show the outputs, and raise what the engines raised."""
        with LiveDisplay(result._slots if stream else ()) as live:
            self._wait(result, after, signal, timeout, live.status)
        result.display_outputs(groupby or "type", result_only=stream)
        result.get()

    def _wait(
        self,
        result: AsyncResult,
        after: float = -1.0,
        signal: str = "SIGINT",
        timeout: float | None = None,
        tell: Callable[[str], None] = print,
    ) -> None:
        """Wait; a Ctrl-C interrupts the engines too, whose KeyboardInterrupt is then the result."""
        try:
            if timeout is not None or after >= 0:
                in_time = wait_and_look(result, timeout, after, tell)
                if not in_time:
                    raise given_up(result, timeout)
            wait_and_tell(result)
        except KeyboardInterrupt:
            self._interrupted(result, signal)

    def _interrupted(self, result: AsyncResult, signal: str) -> None:
        if signal in ("SIGINT", "INT", "2"):
            end(result)
        elif signal == "0":
            raise KeyboardInterrupt
        else:
            running = pending(result)
            print(f"Sending {signal} to {engines_in_words(running)} …", file=sys.stderr)
            self.view.client.send_signal(int(signal) if signal.isdigit() else signal, running)
            wait_and_tell(result)

    def _where(self) -> str:
        engines = self.view._session.engines.resolve(self.view.targets)
        if len(engines) <= MOST_SHOWN:
            return str(engines)
        first, last = (", ".join(map(str, part)) for part in (engines[:4], engines[-4:]))
        return f"[{first}, ..., {last}]"

    def _targets(self, text: str) -> Any:
        """Engines as they are typed: ``all``, ``0``, ``0,2``, ``[0, 2]``, ``1:3``, ``::2``."""
        text = text.strip("'\" ")
        if text == "all":
            return text
        if re.fullmatch(r"-?\d*:-?\d*(:-?\d*)?", text):
            return self.view.client.ids[slice(*(int(edge) if edge else None for edge in text.split(":")))]
        try:
            targets = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            raise UsageError(f"--targets takes all, 0, 0,2 or a slice like ::2, not {text!r}") from None
        try:
            self.view._session.engines.resolve(targets)  # complains of engines that are not there
        except (ValueError, TypeError, IndexError) as e:
            raise UsageError(f"--targets {text}: {e}") from None
        return list(targets) if isinstance(targets, tuple) else targets

    # -- autopx -------------------------------------------------------------------------------------

    @property
    def _transforms(self) -> list[Any]:
        return self.shell.input_transformer_manager.cleanup_transforms

    def start_auto(self) -> None:
        """From now on, cells run on the engines."""
        # Before IPython's own magics are recognised: the engines' IPython is to see them.
        names = [getattr(transform, "__name__", "") for transform in self._transforms]
        place = names.index("cell_magic") if "cell_magic" in names else len(names)
        self._transforms.insert(place, self._redirect)
        print(f"Auto Parallel Enabled\nType %autopx{self.suffix} to disable")

    def stop_auto(self) -> None:
        """From now on, cells run here again."""
        if self._redirect in self._transforms:
            self._transforms.remove(self._redirect)
            print("Auto Parallel Disabled")

    def _redirect(self, lines: list[str]) -> list[str]:
        """A cell as a call that runs it on the engines; our own magics stay what they are."""
        cell = "".join(lines)
        if not cell.strip() or self._is_ours(cell):
            return lines
        name = f"get_ipython()._mpidirect_magics[{self.suffix!r}]"
        return [f"{name}.run_auto({cell!r})\n"]

    # With this IPython leaves it out when it only looks whether a cell is complete.
    _redirect.has_side_effects = True  # type: ignore[attr-defined]

    def _is_ours(self, cell: str) -> bool:
        word = re.match(r"\s*(%{0,2})(\w+)\s*(\S?)", cell)
        if word is None:
            return False
        percent, name, following = word.groups()
        if name not in self.magics["line"]:
            return False
        return bool(percent) or (name.startswith(("px", "autopx")) and following not in ("=", ".", "(", ","))

    def run_auto(self, cell: str) -> None:
        """Run a cell of auto-parallel mode."""
        if self.view.block:
            self._run(cell)
        else:
            self.latest = self.view.execute(cell, silent=False, block=False)
            print(repr(self.latest))
