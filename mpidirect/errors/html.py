"""Errors of engines as HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .._prompt import without_colors


def as_html(title: str, entries: Iterable[tuple[str, str]]) -> str:
    """Return a title, and each error as a line that opens to its traceback.

    Parameters
    ----------
    title : str
        What has failed.
    entries : iterable of (str, str)
        The line and the traceback of each error.
    """
    parts = [f"<p>{escape(title)}</p>"]
    for line, traceback in entries:
        body = f"<pre>{escape(without_colors(traceback))}</pre>" if traceback else ""
        parts.append(f"<details><summary><code>{escape(line)}</code></summary>{body}</details>")
    return "".join(parts)
