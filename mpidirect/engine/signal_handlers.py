"""Signal handlers of user code: their exceptions reach only user code.

A timer, or a signal of another process, may come after the end of the handler's task. An exception of the
handler would then end the engine, or leave half a message in a connection.
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

interrupt_replaced = False  # Whether user code has installed a handler for SIGINT.

LOG_INTERVAL = 1.0  # Seconds between two logged errors: signals may come faster than the log can be written.

_set, _get = signal.signal, signal.getsignal


class _UserHandler:
    """A handler of user code, which may raise exceptions only below the function that calls user code."""

    def __init__(self, handler: Callable[[int, FrameType | None], Any], user_code: CodeType) -> None:
        self.handler = handler
        self._user_code = user_code
        self._next_log = 0.0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        try:
            self.handler(signum, frame)
        except BaseException:
            if self._is_in_user_code(frame):
                raise
            self._log(signum)

    def _log(self, signum: int) -> None:
        now = time.monotonic()
        if now < self._next_log:
            return
        self._next_log = now + LOG_INTERVAL
        name = signal.Signals(signum).name
        log.exception("a handler of %s raised this when its task had ended: it is ignored", name)

    def _is_in_user_code(self, frame: FrameType | None) -> bool:
        while frame is not None and frame.f_code is not self._user_code:
            frame = frame.f_back
        return frame is not None


def enable(user_code: Callable[..., Any], own: tuple[Callable[..., Any], ...]) -> None:
    """Wrap the handlers that user code gives to ``signal.signal`` from now on.

    Parameters
    ----------
    user_code : function
        The function that calls user code: handlers may raise exceptions only below it.
    own : tuple of callables
        The engine's own handlers, which user code may set again.
    """

    @functools.wraps(_set)
    def set_handler(signalnum: int, handler: Any) -> Any:
        global interrupt_replaced
        is_users = callable(handler) and handler not in own
        before = _set(signalnum, _UserHandler(handler, user_code.__code__) if is_users else handler)
        if signalnum == signal.SIGINT:
            interrupt_replaced = handler not in own
        return _unwrapped(before)

    @functools.wraps(_get)
    def get_handler(signalnum: int) -> Any:
        return _unwrapped(_get(signalnum))

    signal.signal, signal.getsignal = set_handler, get_handler


def _unwrapped(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _UserHandler) else handler
