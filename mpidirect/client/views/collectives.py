"""MPI's collectives between the engines of a view, on names in their namespaces."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from .reductions import Reductions


class Collectives(Reductions):
    """The collectives of a view.

    Each works on a name that the engines of the view have, and moves data from engine to engine: no byte
    of it comes through the client or the controller. The k-th target of the view has the k-th place, where
    order matters; `root` is an engine id. All take `targets` and `block` as the other methods of a view, and
    return ``[None, …]``, or an `AsyncResult`.

    An array whose bytes say all moves by buffer, anything else by pickle. When an engine can't take part, all
    of them raise, and the `CompositeError` names it.
    """

    def barrier(self, *, targets: Any = None, block: bool | None = None) -> Any:
        """Wait until all engines have come to this point.

        Examples
        --------
        >>> dview.barrier(block=True)
        [None, None, None, None]
        """
        return self._collective("barrier", targets=targets, block=block)

    def bcast(
        self,
        name: str,
        root: int | None = None,
        out: str | None = None,
        *,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Give every engine the root's value of `name`.

        Parameters
        ----------
        name : str
            Only the root needs to have it.
        root : int, optional
            The engine id of the root; by default the first engine of the view.
        out : str, optional
            The name that gets it; by default `name`.

        Examples
        --------
        >>> rc[0].push({"x": [1, 2]})
        >>> dview.bcast("x", root=0)
        >>> dview["x"]
        [[1, 2], [1, 2], [1, 2], [1, 2]]
        """
        return self._collective("bcast", name, out, root, targets=targets, block=block)

    def scatter_from(
        self,
        name: str,
        root: int | None = None,
        out: str | None = None,
        counts: Sequence[int] | None = None,
        *,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Cut a sequence of the root along its first axis and give each engine a part: MPI's Scatterv.

        `scatter` does this with a sequence of the client.

        Parameters
        ----------
        name : str
            An array, a list or whatever can be cut, on the root.
        root : int, optional
            The engine id of the root; by default the first engine of the view.
        out : str, optional
            The name of the parts; by default `name`, so that the root keeps its part only.
        counts : sequence of int, optional
            How many items each engine gets; by default even parts, a remainder to the first engines.

        Examples
        --------
        >>> rc[0].execute("x = np.arange(5)")
        >>> dview.scatter_from("x", root=0, out="part")
        >>> dview["part"]
        [array([0, 1]), array([2]), array([3]), array([4])]
        """
        return self._collective(
            "scatter_from", name, out, root, _counts(counts), targets=targets, block=block
        )

    def gather_to(
        self,
        name: str,
        root: int | None = None,
        out: str | None = None,
        *,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Put the engines' parts together on the root: MPI's Gatherv.

        `gather` does this at the client, and joins parts in the same way: arrays along their first axis
        (their lengths may differ), lists to a list, and other values become the items of a list.

        Parameters
        ----------
        name : str
            The parts.
        root : int, optional
            The engine id of the root; by default the first engine of the view.
        out : str, optional
            The name of the whole, on the root only; by default `name`, so that the others keep their parts.

        Examples
        --------
        >>> dview.gather_to("rank", root=2, out="ranks")
        >>> rc[2]["ranks"]
        [0, 1, 2, 3]
        """
        return self._collective("gather_to", name, out, root, targets=targets, block=block)

    def allgather(
        self, name: str, out: str | None = None, *, targets: Any = None, block: bool | None = None
    ) -> Any:
        """Put the engines' parts together on every engine: MPI's Allgatherv.

        Parameters
        ----------
        name : str
            The parts, joined as by `gather_to`; arrays may differ in their first length.
        out : str, optional
            The name of the whole; by default `name`.

        Examples
        --------
        >>> dview.execute("x = np.arange(rank)")
        >>> dview.allgather("x", out="y")
        >>> rc[1]["y"]
        array([0, 0, 1, 0, 1, 2])
        """
        return self._collective("allgather", name, out, targets=targets, block=block)

    def alltoall(
        self, name: str, out: str | None = None, *, targets: Any = None, block: bool | None = None
    ) -> Any:
        """Give the k-th engine the k-th part of every engine's sequence: MPI's Alltoallv.

        Parameters
        ----------
        name : str
            A sequence on each engine. It is cut into as many parts as there are engines, as `scatter` does;
            one of that many items has an item for each.
        out : str, optional
            The name of the joined parts; by default `name`.

        Examples
        --------
        >>> dview.execute("x = [(rank, k) for k in range(size)]")
        >>> dview.alltoall("x", out="y")
        >>> rc[1]["y"]
        [(0, 1), (1, 1), (2, 1), (3, 1)]
        """
        return self._collective("alltoall", name, out, targets=targets, block=block)

    def redistribute(
        self,
        name: str,
        counts: Sequence[int] | str = "even",
        out: str | None = None,
        *,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Change how many items of a spread sequence each engine has; the whole and its order stay.

        Parameters
        ----------
        name : str
            The parts: arrays, along their first axis, or lists.
        counts : 'even' or sequence of int
            How many items each engine is to have.
        out : str, optional
            The name of the new parts; by default `name`.

        Examples
        --------
        >>> dview.execute("a = np.arange(rank)")
        >>> dview.redistribute("a", "even")
        >>> dview["a"]
        [array([0, 0]), array([1, 0]), array([1]), array([2])]
        """
        if isinstance(counts, str):
            if counts != "even":
                raise ValueError(f"counts must be 'even' or a sequence of int, not {counts!r}")
            option = None
        else:
            option = _counts(counts)
        return self._collective("redistribute", name, out, option=option, targets=targets, block=block)


def _counts(counts: Sequence[int] | None) -> list[int] | None:
    if counts is None:
        return None
    try:
        numbers = [operator.index(count) for count in counts]
    except TypeError:
        raise TypeError(f"counts must be a sequence of int, not {counts!r}") from None
    if any(number < 0 for number in numbers):
        raise ValueError(f"counts can't be negative: {numbers}")
    return numbers
