"""Options that several magics have, and engines as a user types them."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any, TypeVar

from IPython.core.error import UsageError

from ...errors import EngineError, format_ids
from ..session.engines import EngineDirectory
from .typed_ipython import argument

_M = TypeVar("_M", bound=Callable[..., Any])
_SLICE = re.compile(r"-?\d*:-?\d*(:-?\d*)?")


def execution_options(magic: _M) -> _M:
    """Add the options of ``%%px`` and ``%pxconfig``: where and how code runs."""
    for option in (
        argument("-b", "--block", action="store_const", const=True, help="wait for the engines"),
        argument("-a", "--noblock", action="store_const", const=False, dest="block", help="don't wait"),
        argument("--stream", action="store_const", const=True, help="show what is printed as it comes"),
        argument("--no-stream", action="store_const", const=False, dest="stream", help="show it at the end"),
        argument("-t", "--targets", help="on these engines: all, 0, 0-3,7 or a slice like ::2"),
        argument("--verbose", action="store_const", const=True, help="say where it runs"),
        argument("--no-verbose", action="store_const", const=False, dest="verbose", help="say nothing"),
        argument(
            "--progress-after",
            type=float,
            metavar="SECONDS",
            help="from when on to show where the engines are; -1: never",
        ),
        argument(
            "--signal-on-interrupt",
            metavar="SIGNAL",
            help="what Ctrl-C sends to the engines, SIGINT by default; 0: nothing",
        ),
    ):
        magic = option(magic)
    return magic


def output_options(magic: _M) -> _M:
    """Add the options of ``%%px``, ``%pxresult`` and ``%result``: how outputs are shown."""
    for option in (
        argument("-e", action="store_const", const="engine", dest="groupby", help="--group-outputs engine"),
        argument("-r", action="store_const", const="order", dest="groupby", help="--group-outputs order"),
        argument(
            "--group-outputs",
            choices=["engine", "order", "type"],
            dest="groupby",
            help="at the end, show outputs engine by engine, or (type, order) first all that was printed",
        ),
        argument("-o", "--out", metavar="NAME", dest="name", help="store the AsyncResult under this name"),
    ):
        magic = option(magic)
    return magic


def parse_targets(text: str, engines: EngineDirectory, option: str = "--targets") -> Any:
    """Return the targets that a user has typed: ``all``, ``0``, ``0-3,7``, ``[0, 2]``, ``1:3`` or ``::2``.

    Parameters
    ----------
    text : str
        The typed text.
    engines : EngineDirectory
        The engines of the cluster.
    option : str
        The option or magic before the text.

    Raises
    ------
    UsageError
        When the text names no targets, or engines that do not live.
    """
    text = text.strip("'\" ")
    if text == "all":
        return text
    try:
        if _SLICE.fullmatch(text):
            targets = engines.ids[slice(*(int(edge) if edge else None for edge in text.split(":")))]
        else:
            targets = ast.literal_eval(ranges_to_list(text))
    except (SyntaxError, ValueError):
        unlike = f", not {text!r}" if text else ""
        raise UsageError(f"{option} takes all, 0, 0-3,7 or a slice like ::2{unlike}") from None
    try:
        chosen = engines.resolve(targets)  # raises an error if an engine does not live
    except (ValueError, TypeError, IndexError, EngineError) as e:
        raise UsageError(f"{option} {text}: {getattr(e, 'evalue', e)}") from None
    if not chosen:
        raise UsageError(f"{option} {text}: no engine; the engines are {format_ids(engines.ids)}")
    return list(targets) if isinstance(targets, tuple) else targets


def ranges_to_list(targets: str) -> str:
    """Write ranges of engines as lists: ``0-3,7`` becomes ``0,1,2,3,7``; other texts stay as they are.

    Examples
    --------
    >>> ranges_to_list("0-3,7"), ranges_to_list("::2"), ranges_to_list("-1")
    ('0,1,2,3,7', '::2', '-1')
    """
    words = targets.replace(" ", "").split(",")
    if not all(re.fullmatch(r"\d+(-\d+)?", word) for word in words):
        return targets
    edges = [[int(edge) for edge in word.split("-")] for word in words]
    return ",".join(str(engine) for edge in edges for engine in range(edge[0], edge[-1] + 1))
