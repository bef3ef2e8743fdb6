"""The engines' namespaces as a dict: push, pull, scatter, gather."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import partition
from ..wire.names import INITIAL_NAMES
from . import _waiting
from .asyncresult import AsyncMapResult, AsyncResult

if TYPE_CHECKING:
    from .client import Client


class Namespaces:
    """What a `DirectView` does with names on its engines."""

    client: Client
    targets: Any
    block: bool

    if TYPE_CHECKING:

        def _call(self, op: str, method: str, shared: Any, **options: Any) -> AsyncResult: ...

        def _result(self, result: AsyncResult, block: bool | None) -> Any: ...

    def push(
        self,
        ns: dict[str, Any],
        targets: Any = None,
        block: bool | None = None,
        track: bool | None = None,
        shared: bool = False,
    ) -> Any:
        """Set names on the engines.

        Parameters
        ----------
        ns : dict
            Names and values.
        shared : bool
            Keep arrays once per node, read-only: all engines of a node map the same memory, which is given
            back when none of them uses it any more.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.

        Examples
        --------
        >>> dview.push({"table": table}, shared=True)  # 10 GB for the node, not for each engine
        """
        if not isinstance(ns, dict):
            raise TypeError(f"Must be a dict, not {type(ns)}")
        for name in ns:
            _check_name(name)
        if shared:
            from .sharing import push_shared

            return self._result(push_shared(self, ns, targets, block), block)
        result = self._call("push", "push", ns, targets=targets, block=block, track=track)
        if block is None and not self.block:
            return _waiting.at_once(result)
        return self._result(result, block)

    def update(self, ns: dict[str, Any]) -> Any:
        """`push`, spelled as a dict's method."""
        return self.push(ns)

    def __setitem__(self, name: str, value: Any) -> None:
        self.push({name: value})

    def pull(self, names: Any, targets: Any = None, block: bool | None = None) -> Any:
        """The values of names: of one name its value on each engine, of several a list of values each."""
        if isinstance(names, (list, tuple, set)):
            wanted: Any = list(names)
            bad = [name for name in wanted if not isinstance(name, str)]
            if bad:
                raise TypeError(f"keys must be str, not type {type(bad[0])!r}")
        elif isinstance(names, str):
            wanted = names
        else:
            raise TypeError(f"names must be strs, not {names!r}")
        return self._result(self._call("pull", "pull", wanted, targets=targets, block=block), block)

    def get(self, key_s: Any) -> Any:
        """`pull` that waits, spelled as a dict's method."""
        return self.pull(key_s, block=True)

    def __getitem__(self, name: str) -> Any:
        return self.pull(name, block=True)

    def scatter(
        self,
        key: str,
        seq: Any,
        dist: str = "b",
        flatten: bool = False,
        targets: Any = None,
        block: bool | None = None,
        track: bool | None = None,
    ) -> Any:
        """Cut a sequence along its first axis and push a part to each engine.

        Parameters
        ----------
        key : str
            The name there.
        seq : sequence, array or iterable
            A remainder goes to the first engines.
        dist : {'b', 'r'}
            In contiguous blocks, or round robin.
        flatten : bool
            Push parts of length 1 as their only item.

        Returns
        -------
        ``[None, …]``, or an `AsyncResult`.
        """
        _check_name(key)

        def own(n: int) -> list[Any]:
            parts = partition.split(seq, n, dist)
            return [part[0] if flatten and len(part) == 1 else part for part in parts]

        result = self._call(
            "push", "scatter", key, own=own, targets=targets, block=block, track=track, single=False
        )
        return self._result(result, block)

    def gather(self, key: str, dist: str = "b", targets: Any = None, block: bool | None = None) -> Any:
        """The parts of `key` on the engines, put together to one sequence."""
        _check_name(key)
        result = self._call(
            "pull",
            "gather",
            key,
            targets=targets,
            block=block,
            kind=AsyncMapResult,
            single=False,
            gathers=True,
            dist=dist,
        )
        return self._result(result, block)

    def clear(self, targets: Any = None, block: bool | None = None) -> Any:
        """Forget the names in the engines' namespaces; ``comm``, ``rank``, ``size`` and ``MPI`` stay."""
        return self._result(
            self._call("clear", "clear", list(INITIAL_NAMES), targets=targets, block=block), block
        )


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"names must be strings, not {name!r}")
    if not name.isidentifier():
        raise ValueError(f"{name!r} can't be a name on the engines: it is no Python identifier")
