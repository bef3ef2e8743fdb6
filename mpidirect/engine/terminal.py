"""Calls of user code for a terminal: engines have none, so the calls fail at once."""

from __future__ import annotations

import builtins
import sys
from typing import Any, NoReturn


class NoTerminal(RuntimeError):
    """Code on an engine asks for input from a terminal."""


def refuse_input() -> None:
    """Make ``input()``, ``breakpoint()`` and debuggers raise an error that says what to do instead."""
    builtins.input = _input  # Debuggers read their commands by this, too.
    sys.breakpointhook = _breakpoint


def _input(prompt: object = "", /) -> NoReturn:
    raise NoTerminal(
        "nobody can type anything on an engine: ask at the prompt and send the answer, dv['answer'] = input()"
    )


def _breakpoint(*args: Any, **kwargs: Any) -> NoReturn:
    raise NoTerminal(
        "breakpoint() can't stop on an engine, which has no terminal: it raises this error. "
        "To look around at this place, type  rc[:].debug()  at the prompt"
    )
