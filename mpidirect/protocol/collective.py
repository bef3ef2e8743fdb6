"""The description of a collective that a view asks of its engines."""

from __future__ import annotations

from typing import Any, NamedTuple


class Collective(NamedTuple):
    """One collective call, the same on all of its engines.

    Attributes
    ----------
    kind : str
        ``bcast``, ``allreduce``, …
    client : str
        The unique name of the client.
    number : int
        The number of the call among this client's calls, in the order of the engines' queues.
    group : list of int
        The engines, in the order of the view.
    name, out : str
        The names that are read and written in the engines' namespaces.
    root : int
        The engine id of the root, for kinds that have a root.
    option : object
        The operation of a reduction: a name, or the frames of a pickled callable. The counts of a
        distribution, or None for even parts. The functions of a gather by type, as the frames of a pickle.
    """

    kind: str
    client: str
    number: int
    group: list[int]
    name: str = ""
    out: str = ""
    root: int = 0
    option: Any = None
