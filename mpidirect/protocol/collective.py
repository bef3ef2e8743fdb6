"""What a view asks its engines to do together."""

from __future__ import annotations

from typing import Any, NamedTuple


class Collective(NamedTuple):
    """One collective call, the same on all of its engines.

    Attributes
    ----------
    kind : str
        ``bcast``, ``allreduce``, …
    client : str
        Who calls: a name that no other client has.
    number : int
        Counts this client's calls, in the order in which the engines get them.
    group : list of int
        The engines, in the order of the view.
    name, out : str
        What is read and what is written, in the namespaces.
    root : int
        The engine id of the root, where there is one.
    option : object
        The operation of a reduction (a name, or the frames of a pickled callable); the counts of a
        distribution, or None for even parts.
    """

    kind: str
    client: str
    number: int
    group: list[int]
    name: str = ""
    out: str = ""
    root: int = 0
    option: Any = None
