"""Activation of the magics ``%px``, ``%%px``, ``%autopx``, … for a view; only this imports IPython."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Protocol

from ..._prompt import ipython_shell
from .view import MagicView


class _Activatable(Protocol):
    """A client: the magics can be activated on all its engines, also on engines that still start."""

    def activate(self) -> Any: ...


def offer(client: _Activatable) -> None:
    """In IPython, activate ``%px`` on all engines of a client, unless another client has the magics."""
    shell = ipython_shell()
    if shell is not None:
        from .parallel_magics import is_free

        if is_free(shell):
            client.activate()


def load(shell: Any, connect: Callable[[], MagicView]) -> None:
    """Register the magics for ``%load_ext mpidirect``, unless a client has them.

    Parameters
    ----------
    shell : InteractiveShell
        Gets the magics.
    connect : callable
        Returns the view to run on; called when a magic is first used.
    """
    from .parallel_magics import is_free, register

    if is_free(shell):
        register(shell, connect, "")


def activate(view: MagicView, suffix: str = "") -> None:
    """Register the magics for a view: see `DirectView.activate`.

    Outside of IPython this warns, and does nothing else.

    Parameters
    ----------
    view : DirectView
        Runs the code; its ``block`` and ``targets`` hold for the magics.
    suffix : str
        The end of the names of the magics, for a second view beside the first: with ``"2"`` these are
        ``%px2``, ``%autopx2``, …

    Raises
    ------
    ValueError
        When the suffix can't be part of a magic's name.
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
