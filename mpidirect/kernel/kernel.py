"""The kernel: IPython's, whose cells run on engines."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipykernel.ipkernel import IPythonKernel
from IPython.core.error import UsageError
from IPython.display import DisplayHandle

from .._version import __version__
from ..client.magics.options import parse_targets
from ..client.magics.parallel_magics import ParallelMagics, register
from ..errors import MPIDirectError, TimeoutError
from .cells import parse
from .cluster import KernelCluster
from .completion import complete, inspect

PROFILE, ENGINES = "MPIDIRECT_KERNEL_PROFILE", "MPIDIRECT_KERNEL_ENGINES"  # environment of the kernel
_ENGINES_MAGIC = "mpidirect_engines"  # for an error of a magic, IPython shows no line of the cell
_COMPLETION = 2.0  # seconds that an engine has to complete a name


class EnginesKernel(IPythonKernel):  # type: ignore[misc]
    """A Jupyter kernel that runs each cell on all engines of a cluster.

    ``%%local`` in a cell's first line runs the cell in the kernel, where ``rc`` is the `Client`;
    ``%%targets 0-3`` runs it on some engines.
    """

    implementation = "mpidirect"
    implementation_version = __version__
    banner = "mpidirect: each cell runs on all engines; %%local runs here, %%targets 0-3 on some engines"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        n = os.environ.get(ENGINES, "")
        kernel = Path(getattr(self.parent, "connection_file", "") or "kernel").stem
        self._cluster = KernelCluster(os.environ.get(PROFILE, ""), int(n) if n else None, kernel)
        self._status: DisplayHandle | None = None
        self._told = ""  # the text of the status
        self._routes = False  # whether a cell has arrived, and does not run yet
        for magic, name in (
            (self._run_cell, _ENGINES_MAGIC),
            (self._run_on_targets, "targets"),
            (_refuse_options, "local"),
        ):
            self.shell.register_magic_function(magic, "cell", name)
        self.shell.events.register("pre_execute", self._stop_routing)
        self.shell.input_transformer_manager.cleanup_transforms.insert(0, self._route)
        self._magics = self._register(self._connect)

    def _register(self, view: Any) -> ParallelMagics:
        """Give the kernel the magics ``%px``, … of a view, or of the view that a call returns."""
        register(self.shell, view, "")
        self.shell.register_magic_function(_refuse_autopx, "line", "autopx")
        self.shell.register_magic_function(self._debug, "line", "debug")
        self.shell.register_magic_function(_refuse_pdb, "line", "pdb")
        magics: ParallelMagics = self.shell._mpidirect_magics[""]
        magics.verbose = False
        return magics

    # -- cells --------------------------------------------------------------------------------------

    async def do_execute(self, code: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Run a cell in the place that its first line names."""
        self._routes = True
        reply: dict[str, Any] = await super().do_execute(code, *args, **options)
        return reply

    def _stop_routing(self) -> None:
        """Let code that magics transform, as ``%timeit`` does, run in the place of its cell."""
        self._routes = False

    def _route(self, lines: list[str]) -> list[str]:
        """Return the code that runs a cell in the place that its first line names."""
        if not self._routes:
            return lines
        cell = parse("".join(lines))
        if cell.local:
            return cell.code.splitlines(keepends=True)
        magic = _ENGINES_MAGIC if cell.targets is None else "targets"
        return [f"get_ipython().run_cell_magic({magic!r}, {cell.targets or ''!r}, {cell.code!r})\n"]

    # IPython skips such a transformation when it only checks a cell.
    _route.has_side_effects = True  # type: ignore[attr-defined]

    def _run_cell(self, targets: str, code: str) -> None:
        """Run code on all engines, and show what they print and display."""
        with self._connect().temp_flags(block=True):
            self._magics.run_auto(code)

    def _run_on_targets(self, targets: str, code: str) -> None:
        """Run the cell on some engines: all, 0, 0-3,7 or a slice like ::2."""
        view = self._connect()
        with view.temp_flags(
            block=True, targets=parse_targets(targets, view.client._session.engines, "%%targets")
        ):
            self._magics.run_auto(code)

    def _debug(self, line: str) -> None:
        """Debug the last error, on the first engine that has failed."""
        self._connect().debug()

    def _connect(self) -> Any:
        """Return the view of the magics; start the cluster if none runs."""
        known = self._cluster.client
        try:
            client = self._cluster.connect(self._show_status)
        finally:
            self._clear_status()
        if client is not known:
            self.shell.user_ns["rc"] = client
            view = client.direct_view("all")
            view.block = True
            self._magics = self._register(view)
        return self._magics.view

    # -- the cluster's state ------------------------------------------------------------------------

    def _show_status(self, text: str) -> None:
        """Show the state of the cluster, instead of the former state."""
        shown = {"text/plain": f"mpidirect: {text}"}
        if self._status is None:
            self._status = DisplayHandle()
            self._status.display(shown, raw=True)
        elif text != self._told:
            self._status.update(shown, raw=True)
        self._told = text

    def _clear_status(self) -> None:
        if self._status is not None:
            client = self._cluster.client
            count = len(client.ids) if client is not None else 0
            self._show_status(f"{count} engines are ready" if count else "there is no cluster")
            self._status = None

    # -- requests of Jupyter ------------------------------------------------------------------------

    def do_complete(self, code: str, cursor_pos: int | None) -> dict[str, Any]:
        """Complete a name, of an engine unless the cell is local."""
        position = len(code) if cursor_pos is None else cursor_pos
        reply: dict[str, Any] = super().do_complete(code, cursor_pos)
        return {**reply, **(self._ask_engine(complete, code, position) or {})}

    def do_inspect(
        self, code: str, cursor_pos: int, detail_level: int = 0, omit_sections: Any = ()
    ) -> dict[str, Any]:
        """Describe a name, of an engine unless the cell is local."""
        data = self._ask_engine(inspect, code, cursor_pos, detail_level)
        if data:
            return {"status": "ok", "found": True, "data": data, "metadata": {}}
        reply: dict[str, Any] = super().do_inspect(code, cursor_pos, detail_level, omit_sections)
        return reply

    def _ask_engine(self, function: Callable[..., Any], code: str, *args: Any) -> Any:
        """Call a function on the first engine; None if the cell is local, or if no engine answers in time."""
        client = self._cluster.client
        if client is None or not client.ids or parse(code).local:
            return None
        with contextlib.suppress(MPIDirectError):
            pending = client[client.ids[0]].apply_async(function, code, *args)
            try:
                return pending.get(_COMPLETION)
            except TimeoutError:
                pending.abort()
        return None

    def do_shutdown(self, restart: bool) -> dict[str, Any]:
        """Stop the cluster if this kernel has started it; on a restart, start all engines anew instead."""
        with contextlib.suppress(MPIDirectError):
            if restart:
                self._cluster.restart()
            else:
                self._cluster.shut_down()
        reply: dict[str, Any] = super().do_shutdown(restart)
        return reply


def _refuse_options(line: str, code: str) -> None:
    """Run the cell here, in the kernel, where ``rc`` is the client."""
    raise UsageError(f"%%local takes nothing on its line, not {line!r}: write the code below it")


def _refuse_pdb(line: str) -> None:
    """Say how errors on engines are debugged."""
    raise UsageError(
        "%pdb debugs errors of the kernel, and your code runs on the engines: after an error, "
        "%debug debugs the first engine that has failed, and %%local with rc[3].debug() engine 3"
    )


def _refuse_autopx(line: str) -> None:
    """Print that each cell already runs on the engines."""
    raise UsageError("each cell of this kernel runs on the engines already: %%local runs a cell here")
