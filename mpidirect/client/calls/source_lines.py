"""Source lines in tracebacks of functions that were sent: their files are often on this host only."""

from __future__ import annotations

import linecache
import re

from ..._prompt import cell_name

_FRAME = re.compile(r'  File "(?P<file>.+)", line (?P<line>\d+)(?P<rest>, in .+)?')
_PLACE = re.compile(r"\(([^()]+)\)")
# the file name of code that IPython on an engine runs
_EXECUTED = re.compile(r"<ipython-input-\d+-[0-9a-f]+>")


def placed(where: str) -> str:
    """Return the place of an engine, with cells named as in IPython."""
    return _PLACE.sub(lambda found: f"({named(found[1]) or found[1]})", where)


def place_in_words(place: str) -> str:
    """Return the file and the line of ``file:line``, with a cell named as in IPython."""
    file, _, line = place.rpartition(":")
    cell = named(file)
    return f"{cell}, line {line}" if cell else place


def completed(traceback: str) -> str:
    """Return the traceback with the source lines that the engine lacked, and cells named as in IPython."""
    lines = traceback.split("\n")
    whole: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        frame = _FRAME.fullmatch(line)
        if frame is None:
            whole.append(line)
            continue
        file, number, rest = frame["file"], int(frame["line"]), frame["rest"] or ""
        source = "" if following.startswith("    ") else linecache.getline(file, number).strip()
        if name := named(file):
            line = f"  {name}, line {number}{rest}"
        whole.append(line)
        if source:
            whole.append(f"    {source}")
    return "\n".join(whole)


def named(file: str) -> str:
    """Return the title of a cell, for the file name of the cell's code; an empty text for other files."""
    return cell_name(file) or ("Executed code" if _EXECUTED.fullmatch(file) else "")
