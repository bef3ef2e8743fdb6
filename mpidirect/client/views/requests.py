"""Requests of a view to its engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from ...protocol import messages
from ...serialize import pickles
from ..display.bars import can_update
from ..results import waiting
from ..results.asyncresult import AsyncResult
from ..results.outputs import at_prompt
from ..results.transfer_progress import TransferProgress
from ..session.engines import is_single_target
from ..type_variables import EngineSelection, Targets
from .base import View


class RequestView(View[Targets]):
    """A view that sends each request to all of its engines."""

    def _request(
        self,
        operation: str,
        method: str,
        shared: Any = None,
        *,
        frames: Sequence[Any] | None = None,
        parts_for: Callable[[int], list[Any]] | None = None,
        targets: EngineSelection = None,
        block: bool | None = None,
        kind: type[AsyncResult] = AsyncResult,
        convert: Callable[[messages.Reply, Any], Any] | None = None,
        single: bool | None = None,
        gathers: bool = False,
        label: str | None = None,
        progress: bool = False,
        **options: Any,
    ) -> AsyncResult:
        """Send a request; wait for the result if calls block.

        Parameters
        ----------
        operation : str
            The operation of the engines, a name in `engine/tasks.py`.
        method : str
            The name of the called method or function, for errors.
        shared : object
            The data that all engines get.
        frames : sequence of frames, optional
            The pickle of `shared`, if the caller has made it.
        parts_for : callable, optional
            Returns the part of each engine, for a number of engines.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.
        kind : type
            The class of the result.
        convert : callable, optional
            Called with a reply and the returned object; returns the user's value.
        single : bool, optional
            Whether the result is the value of one engine, not a list; by default as the targets are.
        gathers : bool
            Whether the bulk data of all engines is read into one buffer.
        label : str, optional
            A name for the call, kept in its metadata; by default the view's ``label``.
        progress : bool
            Show a progress bar while the call waits.
        **options
            Arguments of `kind`.
        """
        targets = self.targets if targets is None else targets
        engines = self._session.engines.resolve(targets)
        frames = pickles.dumps(shared) if frames is None else frames
        parts = [] if parts_for is None else [pickles.dumps(part) for part in parts_for(len(engines))]
        call = self._session.submit(operation, method, engines, frames, parts, convert, gathers)
        call.source = shared[0] if operation == "execute" else None
        self.history.append(call.id)
        if single is None:
            single = is_single_target(targets)
        label = self.label if label is None else label
        result = kind(self._session, [call], method=method, single=single, label=label, **options)
        call.holders -= 1
        if self.block if block is None else block:
            with result.stream_output() if at_prompt() else nullcontext() as live:
                report = None if live is None or progress else live.status
                transfer = None
                if report is not None and can_update():
                    transfer = TransferProgress(self._session.connection, call, method, report)
                waiting.wait(result, progress, report, transfer)
        return result
