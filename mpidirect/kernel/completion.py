"""Names of an engine, completed and described by the engine's IPython."""

from __future__ import annotations

from typing import Any


def complete(code: str, position: int) -> dict[str, Any] | None:
    """On an engine: complete the name at a position of a cell."""
    from IPython.core.completer import provisionalcompleter, rectify_completions
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:
        return None
    shell.Completer.use_jedi = False  # Jedi takes seconds, and guesses names that the namespace knows.
    with provisionalcompleter():
        found = list(rectify_completions(code, shell.Completer.completions(code, position)))
    if not found:
        return None
    return {
        "status": "ok",
        "matches": [completion.text for completion in found],
        "cursor_start": found[0].start,
        "cursor_end": found[0].end,
        "metadata": {},
    }


def inspect(code: str, position: int, detail_level: int) -> dict[str, str]:
    """On an engine: describe the name at a position of a cell; empty if there is none."""
    from IPython.core.getipython import get_ipython
    from IPython.utils.tokenutil import token_at_cursor

    shell = get_ipython()
    if shell is None:
        return {}
    name = token_at_cursor(code, position)
    try:
        bundle: dict[str, str] = shell.object_inspect_mime(name, detail_level=detail_level)
    except KeyError:
        return {}
    return bundle
