"""Handlers that user code has for signals: what they raise reaches user code, and nothing else.

A timer, or a signal from elsewhere, may come when its task has ended. A handler that raises would then end
the engine, or leave half a message in a connection.
"""

from __future__ import annotations

import functools
import logging
import signal
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

log = logging.getLogger(__name__)

interrupt_replaced = False  # whether user code has set a handler of its own for SIGINT

_set, _get = signal.signal, signal.getsignal


class _Guarded:
    """A handler of user code's, which raises only where a task can fail by it."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any], task: CodeType) -> None:
        self.handler = handler
        self._task = task
        self._again = 0.0  # when the next error is logged

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        try:
            self.handler(signum, frame)
        except BaseException:
            if self._in_task(frame):
                raise
            self._tell(signum)

    def _tell(self, signum: int) -> None:
        """Log it, once a second at most: the next signal may come before that is done."""
        now = time.monotonic()
        if now < self._again:
            return
        self._again = now + 1.0
        name = signal.Signals(signum).name
        log.exception("a handler of %s raised this when its task had ended: it is ignored", name)

    def _in_task(self, frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code is not self._task:
            frame = frame.f_back
        return frame is not None


def begin(task: Callable[..., Any], own: tuple[Callable[..., Any], ...]) -> None:
    """Guard what is given to ``signal.signal`` from now on.

    Parameters
    ----------
    task : function
        That which runs user code: only there may handlers raise.
    own : tuple of callables
        The engine's own handlers, which user code may put back.
    """

    @functools.wraps(_set)
    def set_handler(signalnum: int, handler: Any) -> Any:
        global interrupt_replaced
        guarded = _Guarded(handler, task.__code__) if callable(handler) and handler not in own else handler
        before = _set(signalnum, guarded)
        if signalnum == signal.SIGINT:
            interrupt_replaced = handler not in own
        return _users(before)

    @functools.wraps(_get)
    def get_handler(signalnum: int) -> Any:
        return _users(_get(signalnum))

    signal.signal, signal.getsignal = set_handler, get_handler


def _users(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _Guarded) else handler
