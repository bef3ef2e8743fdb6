"""Source lines of code that was typed at a prompt: engines can't read them from a file."""

from __future__ import annotations

import linecache
from collections.abc import Iterable

_MAX_CELL = 64 * 1024  # characters; longer cells are not sent

installed: set[str] = set()  # the names of files whose sources came from prompts


def gather(files: Iterable[str]) -> dict[str, str]:
    """Return the sources of cells, by the names of their files; skip files on disk."""
    return {file: text for file in dict.fromkeys(files) if (text := _typed_source(file))}


def _typed_source(file: str) -> str:
    entry = linecache.cache.get(file)
    # IPython, and Python's prompt, make these entries; their time of change is None.
    if entry is None or len(entry) != 4 or entry[1] is not None:
        return ""
    text = "".join(entry[2])
    return text if len(text) <= _MAX_CELL else ""


def install(cells: dict[str, str]) -> None:
    """Let tracebacks and `inspect` find the sources of these cells."""
    for file, text in cells.items():
        if file not in linecache.cache:
            installed.add(file)
            linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
