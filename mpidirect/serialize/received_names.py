"""Names that came with a pickle: an engine takes those that it lacks, a prompt looks at them only."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from . import functions

Table = dict[str, "bytes | None"]  # the pickle of each name; None for what is not sent

_MISSING = object()

# -- on an engine -----------------------------------------------------------------------------------------


class _Borrowed(NamedTuple):
    blob: bytes
    value: Any


class ReceivedNames:
    """The names that an engine has from prompts; they lie in its namespace until it has its own.

    Parameters
    ----------
    namespace : dict
        The engine's ``__main__``.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._borrowed: dict[str, _Borrowed] = {}
        self.missing: dict[str, str] = {}  # why a name could not be had

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._borrowed if self._has(name)])

    def values(self) -> dict[str, Any]:
        """The names that are borrowed now, with their values."""
        return {name: self._borrowed[name].value for name in self}

    def __contains__(self, name: str) -> bool:
        return name in self._borrowed and self._has(name)

    def _has(self, name: str) -> bool:
        return self._namespace.get(name, _MISSING) is self._borrowed[name].value

    def take(self, table: Table) -> None:
        """Take what the engine lacks; give back what the prompt has no more, or has as data now."""
        namespace = self._namespace
        for name, blob in table.items():
            before = self._borrowed.get(name)
            present = namespace.get(name, _MISSING)
            if present is not _MISSING and (before is None or present is not before.value):
                continue  # the engine has its own
            if blob is None:
                if present is not _MISSING:
                    del namespace[name]
                self._borrowed.pop(name, None)
            elif before is None or before.blob != blob:
                self._open(name, blob)
            elif present is _MISSING:
                namespace[name] = before.value

    def _open(self, name: str, blob: bytes) -> None:
        try:
            value = pickle.loads(blob)
        except Exception as e:  # it may not be needed; if it is, the NameError tells why
            self.missing[name] = f"{type(e).__name__}: {e}"
            self._namespace.pop(name, None)
            self._borrowed.pop(name, None)
            return
        self.missing.pop(name, None)
        self._borrowed[name] = _Borrowed(blob, value)
        self._namespace[name] = value

    def own(self, names: Iterable[str]) -> None:
        """These names were set on the engine: they are its own from now on, whatever they refer to."""
        if self._borrowed:
            for name in names:
                self._borrowed.pop(name, None)

    def own_imports(self, source: str) -> None:
        """The engine has run `source`: what it imports by name is its own, although it may be the same."""
        if not self._borrowed:
            return
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):  # lines that are IPython's
            return
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.own(alias.asname or alias.name.partition(".")[0] for alias in node.names)


borrower: ReceivedNames | None = None  # of an engine


def begin(namespace: dict[str, Any]) -> None:
    """This process is an engine: it borrows names from now on."""
    global borrower
    borrower = ReceivedNames(namespace)


class SentNames:
    """The names that came with a pickle to a prompt: opened when they are used, and not put anywhere."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._values: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:
        if name not in self._values:
            blob = self._table.get(name)
            if blob is None:
                raise KeyError(name)
            with opening(self._table, self):
                self._values[name] = pickle.loads(blob)
        return self._values[name]


class opening:
    """Context manager: a pickle is opened with which the names of `table` came."""

    def __init__(self, table: Table, sent: SentNames | None = None) -> None:
        self._table = table
        self._sent = sent

    def __enter__(self) -> None:
        arrival = functions.arrival
        self._before = arrival.sent, arrival.lacks
        if borrower is not None:
            borrower.take(self._table)
            return
        main = functions.namespace()
        arrival.lacks = frozenset(name for name, blob in self._table.items() if blob and name not in main)
        arrival.sent = (self._sent or SentNames(self._table)) if arrival.lacks else None

    def __exit__(self, *_: object) -> None:
        functions.arrival.sent, functions.arrival.lacks = self._before
