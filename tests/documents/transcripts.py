"""Sessions of IPython in the pages: the input in the blocks ``ipython``, and the output."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(r"^```ipython\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CELL = re.compile(r"^In \[\d+\]: ", re.MULTILINE)
_CONTINUED = re.compile(r"^ +\.\.\.: ?")
_LABEL = re.compile(r"^\[(\w+):([\d,-]+)\] (.*)$")
_COMMAND = re.compile(r"^\(Pdb \d+\) (.*)$", re.MULTILINE)


class Cell(NamedTuple):
    """A cell of a session.

    Attributes
    ----------
    source : str
        The code.
    shown : str
        The output, with the commands at the prompts of a debugger.
    """

    source: str
    shown: str

    @property
    def commands(self) -> list[str]:
        """Return the input at the prompts of a debugger."""
        return _COMMAND.findall(self.shown)


def cells(page: Path) -> Iterator[Cell]:
    """Yield the cells of the sessions of a page."""
    for block in _BLOCK.findall(page.read_text()):
        for text in _CELL.split(block)[1:]:
            first, *lines = text.splitlines()
            count = next((k for k, line in enumerate(lines) if not _CONTINUED.match(line)), len(lines))
            source = [first, *(_CONTINUED.sub("", line) for line in lines[:count])]
            yield Cell("\n".join(source), "\n".join(lines[count:]).strip() + "\n")


def agrees(shown: str, expected: str) -> bool:
    """Whether an output equals that of a page, in which … stands for any text."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected.replace("…", "..."), shown, flags)


def lines_by_engine(text: str) -> list[str]:
    r"""Return the lines of an output in a sorted order; a line of several engines counts once for each.

    Examples
    --------
    >>> lines_by_engine("[stdout:1] b\n[stdout:0-1] a\n")
    ['[stdout:0] a', '[stdout:1] a', '[stdout:1] b']
    """
    lines = []
    for line in text.splitlines():
        if found := _LABEL.match(line):
            stream, ranges, content = found.groups()
            lines += [f"[{stream}:{engine}] {content}" for engine in _engines(ranges)]
        elif line:
            lines.append(line)
    return sorted(lines)


def _engines(ranges: str) -> Iterator[int]:
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
