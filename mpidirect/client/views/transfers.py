"""Values between the client and the engines' namespaces: push, pull, scatter and gather."""

from __future__ import annotations

import keyword
from typing import Any

from ...arrays import joining, partition
from ...protocol.names import INITIAL_NAMES
from ...serialize import pickles
from ..results import waiting
from ..results.asyncmapresult import AsyncGatherResult, AsyncMapResult
from ..type_variables import EngineSelection, Targets
from .collective_call import CollectiveView
from .shared_push import push_shared


class TransferView(CollectiveView[Targets]):
    """The methods of a `DirectView` that set and return the values of names on its engines."""

    # -- push and pull ----------------------------------------------------------------------------------

    def push(
        self,
        ns: dict[str, Any],
        targets: EngineSelection = None,
        block: bool | None = None,
        track: bool | None = None,
        shared: bool = False,
    ) -> Any:
        """Set names on the engines.

        Parameters
        ----------
        ns : dict
            Names and values. A name like ``a.b`` sets an attribute of an object on the engines.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.
        track : bool, optional
            Ignored: `AsyncResult.sent` always works.
        shared : bool
            Keep arrays once per node, read-only. All engines of a node map the same memory. The memory is
            freed when no engine uses it any more.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Raises
        ------
        TypeError
            When `ns` is no dict, or a name is no string.
        ValueError
            When a name is no Python identifier.

        Examples
        --------
        >>> dview.push({"a": 5, "b": "text"})
        >>> dview.push({"table": table}, shared=True)  # 10 GB for the node, not for each engine
        """
        if not isinstance(ns, dict):
            raise TypeError(f"Must be a dict, not {type(ns)}")
        for name in ns:
            check_name(name, dotted=not shared)
        if shared:
            return self._values_if_blocking(push_shared(self, ns, targets, block), block)
        result = self._request("push", "push", ns, targets=targets, block=block)
        if block is None and not self.block:
            return waiting.wait_if_idle(result)
        return self._values_if_blocking(result, block)

    def pull(self, names: Any, targets: EngineSelection = None, block: bool | None = None) -> Any:
        """Return the values of names.

        Parameters
        ----------
        names : str or list of str
            A name or an expression, or several.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Returns
        -------
        list, or an AsyncResult
            The value on each engine; of several names a list of values on each engine.

        Raises
        ------
        TypeError
            When a name is no string.
        SyntaxError
            When a name is no expression.

        Examples
        --------
        >>> dview.pull("rank", block=True)
        [0, 1, 2, 3]
        >>> dview.pull(["rank", "size"], block=True)
        [[0, 4], [1, 4], [2, 4], [3, 4]]
        """
        wanted: Any
        if isinstance(names, (list, tuple, set)):
            wanted = list(names)
            bad = [name for name in wanted if not isinstance(name, str)]
            if bad:
                raise TypeError(f"keys must be str, not type {type(bad[0])!r}")
        elif isinstance(names, str):
            wanted = names
        else:
            raise TypeError(f"names must be strs, not {names!r}")
        for name in [wanted] if isinstance(wanted, str) else wanted:
            if not name.isidentifier() or keyword.iskeyword(name):
                compile(name, "<name>", "eval")  # raises a SyntaxError before anything is sent
        result = self._request("pull", "pull", wanted, targets=targets, block=block)
        return self._values_if_blocking(result, block)

    # -- scatter and gather -----------------------------------------------------------------------------

    def scatter(
        self,
        key: str,
        seq: Any,
        dist: str = "b",
        flatten: bool = False,
        targets: EngineSelection = None,
        block: bool | None = None,
        track: bool | None = None,
    ) -> Any:
        """Cut a sequence along its first axis and push a part to each engine.

        Parameters
        ----------
        key : str
            The name of the parts on the engines.
        seq : sequence, array or iterable
            The sequence to cut; if the parts differ in length, the first engines get one item more.
        dist : {'b', 'r'}
            Cut into contiguous blocks, or deal the items out round robin.
        flatten : bool
            Push a part of length 1 as its only item.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.
        track : bool, optional
            Ignored: `AsyncResult.sent` always works.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.scatter("x", range(6), block=True)
        >>> dview["x"]
        [[0, 1], [2, 3], [4], [5]]
        """
        check_name(key, dotted=True)

        def parts_for(n: int) -> list[Any]:
            parts = partition.split(seq, n, dist)
            return [part[0] if flatten and len(part) == 1 else part for part in parts]

        result = self._request(
            "scatter",
            "scatter",
            (key, dist),
            parts_for=parts_for,
            targets=targets,
            block=block,
            single=False,
        )
        return self._values_if_blocking(result, block)

    def gather(
        self,
        key: str,
        dist: str = "b",
        targets: EngineSelection = None,
        block: bool | None = None,
        axis: int | str = 0,
    ) -> Any:
        """Return the engines' parts of a whole as one object.

        Arrays, lists and tuples are joined, and the objects of pandas, xarray and PyVista as their libraries
        do. `mpidirect.register_join` adds other types. Parts of all other types are returned as a list.

        Parameters
        ----------
        key : str
            The name of the parts.
        dist : {'b', 'r'}
            How the sequence was cut: see `scatter`.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.
        axis : int or str
            The axis along which the parts are joined; for xarray also the name of a dimension.

        Returns
        -------
        list, array or other object, or an AsyncMapResult

        Raises
        ------
        ValueError
            When the parts can't be joined along `axis`.

        Examples
        --------
        >>> dview.gather("x", block=True)
        [0, 1, 2, 3, 4, 5]
        >>> dview.gather("columns", axis=1, block=True).shape
        (100, 32)
        """
        check_name(key, dotted=True)
        joins = joining.joins_of_engines()
        if joins and (dist, axis) == ("b", 0) and key.isidentifier():
            return self._gather_on_engines(key, joins, targets, block)
        result = self._request(
            "pull",
            "gather",
            key,
            targets=targets,
            block=block,
            kind=AsyncMapResult,
            single=False,
            gathers=True,
            dist=dist,
            axis=axis,
        )
        return self._values_if_blocking(result, block)

    def _gather_on_engines(
        self, key: str, joins: dict[type, joining.Join | None], targets: EngineSelection, block: bool | None
    ) -> Any:
        """Have the engines join large parts, if one of the functions joins the parts of all engines."""
        option = [bytes(frame) for frame in pickles.dumps(joins)]
        return self._collective(
            "gather",
            key,
            option=option,
            targets=targets,
            block=block,
            result_type=AsyncGatherResult,
            single=False,
            gathers=True,
        )

    def clear(self, targets: EngineSelection = None, block: bool | None = None) -> Any:
        """Delete the names in the engines' namespaces, except those that an engine starts with.

        Parameters
        ----------
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.

        Examples
        --------
        >>> dview.clear(block=True)
        >>> dview.keys()
        []
        """
        result = self._request("clear", "clear", list(INITIAL_NAMES), targets=targets, block=block)
        return self._values_if_blocking(result, block)


def check_name(name: Any, dotted: bool = False) -> None:
    """Raise an error if a name can't be set on the engines. A dotted name is the name of an attribute."""
    if not isinstance(name, str):
        raise TypeError(f"names must be strings, not {name!r}")
    for part in name.split(".") if dotted else [name]:
        if keyword.iskeyword(part):
            raise ValueError(f"{name!r} can't be a name on the engines: {part!r} is a keyword of Python")
        if not part.isidentifier():
            raise ValueError(f"{name!r} can't be a name on the engines: it is no Python identifier")
