"""Where a cell runs: on all engines, on some engines, or in the kernel itself."""

from __future__ import annotations

import re
from typing import NamedTuple

_LOCAL = re.compile(r"%%local[ \t]*(?:\n|$)")
_TARGETS = re.compile(r"%%targets(?![\w?])[ \t]*([^\n]*?)[ \t]*(?:\n|$)")
_OF_THE_KERNEL = re.compile(r"%{1,2}(px|autopx|pxresult|pxconfig|result|local|targets|debug|pdb)\b")


class Cell(NamedTuple):
    """A cell without the line that says where it runs.

    Attributes
    ----------
    code : str
        The rest of the cell.
    local : bool
        Whether the cell runs in the kernel.
    targets : str, optional
        The engines, as typed; None if the cell names none.
    """

    code: str
    local: bool = False
    targets: str | None = None


def parse(cell: str) -> Cell:
    r"""Read where a cell runs from its first line.

    Examples
    --------
    >>> parse("%%targets 0,2\nx = rank")
    Cell(code='x = rank', local=False, targets='0,2')
    >>> parse("x = rank").local, parse("%%local\nrc.ids").local, parse("%px x").local
    (False, True, True)
    """
    text = cell.lstrip()
    if found := _LOCAL.match(text):
        return Cell(text[found.end() :], local=True)
    if found := _TARGETS.match(text):
        return Cell(text[found.end() :], targets=found[1])
    return Cell(cell, local=not text or bool(_OF_THE_KERNEL.match(text)))
