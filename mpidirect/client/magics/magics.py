"""The magics ``%px``, ``%%px``, ``%autopx``, ``%result`` for a view; IPython is imported only here."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..views.directview import DirectView


def are_available() -> bool:
    """Return whether this is IPython, and ``%px`` works for no other client."""
    shell = _shell_here()
    if shell is None:
        return False
    from .parallel_magics import is_free

    return is_free(shell)


def load(shell: Any) -> None:
    """What ``%load_ext mpidirect`` does: ``%px`` works, and connects when it is used without a client."""
    from .parallel_magics import is_free, register

    if is_free(shell):
        register(shell, None, "")


def _shell_here() -> Any:
    """The IPython in which this runs; it is not imported for that."""
    module = sys.modules.get("IPython.core.getipython")
    return None if module is None else module.get_ipython()


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
    from .parallel_magics import register

    register(shell, view, suffix)
