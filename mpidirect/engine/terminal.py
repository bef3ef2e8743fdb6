"""Engines have no terminal: what asks for one is told so at once."""

from __future__ import annotations

import builtins
import sys
from typing import Any


class NoTerminal(RuntimeError):
    """Code on an engine wants to read what somebody types."""


def refuse() -> None:
    """Have ``input()``, ``breakpoint()`` and debuggers say what to do instead."""
    builtins.input = _input  # a debugger asks by it as well
    sys.breakpointhook = _breakpoint


def _input(prompt: object = "", /) -> str:
    raise NoTerminal(
        "nobody can type anything on an engine: ask at the prompt and send the answer, dv['answer'] = input()"
    )


def _breakpoint(*args: Any, **kwargs: Any) -> None:
    raise NoTerminal(
        "breakpoint() can't stop on an engine, which has no terminal: print or return what is of interest, "
        "look at the engine's names from the prompt (rc[0]['x']), or call the function at the prompt"
    )
