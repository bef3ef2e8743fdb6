"""The engines' namespaces as a dict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...errors import MPIDirectError
from ..results import waiting
from ..results.asyncresult import AsyncResult
from ..session.engines import is_single_target
from ..type_variables import Targets
from .transfers import TransferView, check_name

COMPLETION_TIMEOUT = 0.5  # seconds that IPython's completion of names waits for busy engines


class NamespaceView(TransferView[Targets]):
    """The methods by which a `DirectView` is a dict of the names on its engines."""

    def update(self, ns: dict[str, Any]) -> Any:
        """Set names on the engines, as a dict's ``update``; see `push`.

        Examples
        --------
        >>> dview.update({"a": 5})
        """
        return self.push(ns)

    def __setitem__(self, name: str, value: Any) -> None:
        self.push({name: value})

    def get(self, key_s: Any) -> Any:
        """Wait for the values of names, as a dict's ``get``; see `pull`.

        Examples
        --------
        >>> dview.get("rank")
        [0, 1, 2, 3]
        """
        return self.pull(key_s, block=True)

    def __getitem__(self, name: str) -> Any:
        return self.pull(name, block=True)

    def keys(self) -> list[str]:
        """Return the names that the user has set and that all of the view's engines have.

        The names that an engine starts with (``comm``, ``rank``, ``node``, …), those of IPython and those
        that begin with an underscore are excluded.

        Examples
        --------
        >>> dview["a"] = 5
        >>> dview.keys()
        ['a']
        """
        return _common_names(self._ask_and_wait("names", "keys", None))

    def values(self) -> list[Any]:
        """Return the values of the names in `keys`, each as ``view[name]`` returns it.

        Examples
        --------
        >>> dview.values()
        [[5, 5, 5, 5]]
        """
        return [value for _, value in self.items()]

    def items(self) -> list[tuple[str, Any]]:
        """Return the names in `keys` with their values, each as ``view[name]`` returns it.

        Examples
        --------
        >>> dview.items()
        [('a', [5, 5, 5, 5])]
        """
        names = self.keys()
        values = self.pull(names, block=True)
        by_name = values if is_single_target(self.targets) else map(list, zip(*values, strict=True))
        return list(zip(names, by_name, strict=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        """Return whether all of the view's engines have a name, or an attribute like ``a.b``."""
        if not isinstance(name, str):
            raise TypeError(f"names must be strings, not {name!r}")
        parts = name.split(".")
        return all(map(str.isidentifier, parts)) and all(self._ask_and_wait("has", "in", name))

    def __delitem__(self, name: str) -> None:
        check_name(name, dotted=True)
        self._request("delete", "del", [name], block=True).get()

    def _ipython_key_completions_(self) -> list[str]:
        """Return the names that IPython offers to complete ``view["…``."""
        try:
            result = self._ask("names", "keys", None)
            if result.wait(COMPLETION_TIMEOUT):
                return _common_names(result.get())
            result.abort()  # the engines are busy, and a user who types must not wait
        except MPIDirectError:  # the next command raises the error
            pass
        return []

    def _ask_and_wait(self, operation: str, method: str, shared: Any) -> list[Any]:
        """Return a list of the engines' replies, also for a view of a single engine."""
        result = self._ask(operation, method, shared)
        waiting.wait(result)
        answers: list[Any] = result.get()
        return answers

    def _ask(self, operation: str, method: str, shared: Any) -> AsyncResult:
        """Send a request that is not part of the history: the user's latest result stays the latest."""
        result = self._request(operation, method, shared, block=False, single=False)
        for history in (self.history, self._session.calls.history):
            history.remove(result._calls[0].id)
        return result


def _common_names(names: list[list[str]]) -> list[str]:
    """Return the names that all engines have, in the order of the first engine."""
    common = set(names[0]).intersection(*names[1:])
    return [name for name in names[0] if name in common]
