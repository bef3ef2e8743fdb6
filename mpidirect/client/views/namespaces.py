"""The engines' namespaces as a dict: push, pull, scatter, gather."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...arrays import partition
from ...errors import MPIDirectError
from ...protocol.names import INITIAL_NAMES
from ..interface import ClientInterface
from ..results import waiting
from ..results.asyncmapresult import AsyncMapResult
from ..results.asyncresult import AsyncResult
from ..session.engines import is_single_target
from ..session.session import Session

PATIENCE = 0.5  # seconds that a completion may take


class Namespaces:
    """What a `DirectView` does with names on its engines."""

    client: ClientInterface
    _session: Session
    targets: Any
    block: bool
    history: list[str]

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
            Names and values. A name like ``a.b`` sets an attribute of what is there.
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
            _check_name(name, dotted=not shared)
        if shared:
            from .shared_push import push_shared

            return self._result(push_shared(self, ns, targets, block), block)
        result = self._call("push", "push", ns, targets=targets, block=block, track=track)
        if block is None and not self.block:
            return waiting.wait_if_idle(result)
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
        for name in [wanted] if isinstance(wanted, str) else wanted:
            if not name.isidentifier() or keyword.iskeyword(name):
                compile(name, "<name>", "eval")  # a SyntaxError is told here, before anything is sent
        return self._result(self._call("pull", "pull", wanted, targets=targets, block=block), block)

    def get(self, key_s: Any) -> Any:
        """`pull` that waits, spelled as a dict's method."""
        return self.pull(key_s, block=True)

    def __getitem__(self, name: str) -> Any:
        return self.pull(name, block=True)

    # -- as a dict --------------------------------------------------------------------------------------

    def keys(self) -> list[str]:
        """The names that the user has set and that all of the view's engines have.

        Those that an engine begins with (``comm``, ``rank``, ``node``, …), those of IPython and those
        that begin with an underscore are not among them.

        Examples
        --------
        >>> dview["a"] = 5
        >>> dview.keys()
        ['a']
        """
        return _common(self._each("names", "keys", None))

    def values(self) -> list[Any]:
        """The values of the names in `keys`, each as ``view[name]`` gives it."""
        return [value for _, value in self.items()]

    def items(self) -> list[tuple[str, Any]]:
        """The names in `keys` with their values, each as ``view[name]`` gives it."""
        names = self.keys()
        values = self.pull(names, block=True)
        return list(
            zip(
                names,
                values if is_single_target(self.targets) else map(list, zip(*values, strict=True)),
                strict=True,
            )
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        """Whether all of the view's engines have a name, or an attribute like ``a.b``."""
        if not isinstance(name, str):
            raise TypeError(f"names must be strings, not {name!r}")
        parts = name.split(".")
        return all(map(str.isidentifier, parts)) and all(self._each("has", "in", name))

    def __delitem__(self, name: str) -> None:
        _check_name(name, dotted=True)
        self._call("delete", "del", [name], block=True).get()

    def _ipython_key_completions_(self) -> list[str]:
        """What IPython completes in ``view["…``."""
        try:
            asked = self._ask("names", "keys", None)
            if asked.wait(PATIENCE):
                return _common(asked.get())
            asked.abort()  # engines are busy, and who types must not wait for them
        except MPIDirectError:  # it is told by what is typed next
            pass
        return []

    def _each(self, op: str, method: str, shared: Any) -> list[Any]:
        """What each engine answers, also of a view of a single one."""
        asked = self._ask(op, method, shared)
        waiting.wait(asked)
        return asked.get()

    def _ask(self, op: str, method: str, shared: Any) -> AsyncResult:
        """A question that leaves no trace in the history, so that the latest result stays that."""
        asked = self._call(op, method, shared, block=False, single=False)
        for history in (self.history, self.client.history):
            history.remove(asked._calls[0].id)
        return asked

    # -- scatter and gather -----------------------------------------------------------------------------

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
        _check_name(key, dotted=True)

        def own(n: int) -> list[Any]:
            parts = partition.split(seq, n, dist)
            return [part[0] if flatten and len(part) == 1 else part for part in parts]

        result = self._call(
            "scatter",
            "scatter",
            (key, dist),
            own=own,
            targets=targets,
            block=block,
            track=track,
            single=False,
        )
        return self._result(result, block)

    def gather(self, key: str, dist: str = "b", targets: Any = None, block: bool | None = None) -> Any:
        """The parts of `key` on the engines, put together to one sequence."""
        _check_name(key, dotted=True)
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
        """Forget the names in the engines' namespaces; those that an engine begins with stay."""
        return self._result(
            self._call("clear", "clear", list(INITIAL_NAMES), targets=targets, block=block), block
        )


def _common(found: list[list[str]]) -> list[str]:
    """The names that all engines have, in the order of the first one."""
    everywhere = set(found[0]).intersection(*found[1:])
    return [name for name in found[0] if name in everywhere]


def _check_name(name: Any, dotted: bool = False) -> None:
    if not isinstance(name, str):
        raise TypeError(f"names must be strings, not {name!r}")
    for part in name.split(".") if dotted else [name]:
        if keyword.iskeyword(part):
            raise ValueError(f"{name!r} can't be a name on the engines: {part!r} is a keyword of Python")
        if not part.isidentifier():
            raise ValueError(f"{name!r} can't be a name on the engines: it is no Python identifier")
