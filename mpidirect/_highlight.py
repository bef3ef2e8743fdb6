"""Colours of engines' tracebacks at IPython's prompt, like those of IPython's tracebacks."""

from __future__ import annotations

import re
from collections.abc import Sequence

_GREEN, _CYAN, _RED, _END = "\x1b[32m", "\x1b[36m", "\x1b[31m", "\x1b[0m"
_PARTS = (
    (re.compile(r"^-{20,}$"), _RED),
    (re.compile(r"^\w[\w.]*(?= +Traceback \(most recent call last\)$)"), _RED),
    (re.compile(r"^-+> *\d+"), _GREEN),  # the line that failed
    (re.compile(r"^\[[\d,-]+:\w+\]:"), _CYAN),  # the engines
    (re.compile(r"(?:(?<=\]: )|^)[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Iteration)\b(?=:|$| in )"), _RED),
)


def highlight(lines: Sequence[str]) -> list[str]:
    r"""Return the lines of a traceback with colours; lines that have colours stay as they are.

    Examples
    --------
    >>> highlight(["[3:apply]: ZeroDivisionError: division by zero"])
    ['\x1b[36m[3:apply]:\x1b[0m \x1b[31mZeroDivisionError\x1b[0m: division by zero']
    """
    return [_highlighted(line) for text in lines for line in text.split("\n")]


def _highlighted(line: str) -> str:
    if "\x1b" in line:
        return line
    places = [(found.span(), colour) for pattern, colour in _PARTS if (found := pattern.search(line))]
    for (begin, end), colour in sorted(places, reverse=True):
        line = f"{line[:begin]}{colour}{line[begin:end]}{_END}{line[end:]}"
    return line
