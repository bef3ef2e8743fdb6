"""Source lines of what was typed at a prompt: they are in no file that an engine could read."""

from __future__ import annotations

import linecache
from collections.abc import Iterable

LARGEST = 64 * 1024  # characters of a cell that are sent


def gather(files: Iterable[str]) -> dict[str, str]:
    """The sources of cells, by the names of their files; real files are passed over."""
    return {file: text for file in dict.fromkeys(files) if (text := _typed(file))}


def _typed(file: str) -> str:
    entry = linecache.cache.get(file)
    # IPython, and Python's own prompt, put what was typed there; it has no time of change.
    if entry is None or len(entry) != 4 or entry[1] is not None:
        return ""
    text = "".join(entry[2])
    return text if len(text) <= LARGEST else ""


installed: set[str] = set()  # the names of files whose sources came from prompts


def install(texts: dict[str, str]) -> None:
    """Let tracebacks and `inspect` find these sources."""
    for file, text in texts.items():
        if file not in linecache.cache:
            installed.add(file)
            linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
