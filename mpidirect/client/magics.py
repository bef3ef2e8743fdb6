"""The magics ``%px``, ``%%px``, ``%autopx``, ``%result`` for a view; IPython is imported only here."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .view import DirectView


def activate(view: DirectView, suffix: str = "") -> None:
    """Make the magics work on `view`: see `DirectView.activate`.

    Outside of IPython this warns and does nothing else.

    Parameters
    ----------
    view : DirectView
        Its ``block`` and ``targets`` say how and where the magics run what is typed.
    suffix : str
        For the magics of a second view beside the first: with ``"2"`` they are ``%px2``, ``%autopx2``, …
    """
    if suffix and not suffix.isidentifier() and not suffix.isalnum():
        raise ValueError(f"{suffix!r} can't be the end of a magic's name: use letters and digits")
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        warnings.warn(
            "The magics %px, %autopx, … need IPython, which is not installed here: pip install ipython",
            RuntimeWarning,
            stacklevel=3,
        )
        return
    shell = get_ipython()
    if shell is None:
        warnings.warn(
            "The magics %px, %autopx, … work only in IPython, and this is not its prompt: "
            "use view.execute() here",
            RuntimeWarning,
            stacklevel=3,
        )
        return
    from ._parallelmagics import register

    register(shell, view, suffix)
