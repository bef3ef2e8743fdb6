"""Names that were sent with a pickle: an engine defines missing ones; a prompt only looks them up."""

from __future__ import annotations

import ast
import pickle
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from . import functions
from .reconstruction import unpickling

NameTable = dict[str, "bytes | None"]  # names and the pickles of their values; None if no pickle is sent

_MISSING = object()

# -- on an engine -----------------------------------------------------------------------------------------


class _Received(NamedTuple):
    """A value from a prompt, and its pickle."""

    blob: bytes
    value: Any


class ReceivedNames:
    """The names in an engine's namespace that prompts have sent, and that the engine has not set itself.

    Parameters
    ----------
    namespace : dict
        The engine's ``__main__``.

    Attributes
    ----------
    failures : dict of str
        Names whose values could not be unpickled, and the reasons.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._received: dict[str, _Received] = {}
        self.failures: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._received if self._is_unchanged(name)])

    def values(self) -> dict[str, Any]:
        """Return the received names with their values."""
        return {name: self._received[name].value for name in self}

    def __contains__(self, name: str) -> bool:
        return name in self._received and self._is_unchanged(name)

    def _is_unchanged(self, name: str) -> bool:
        return self._namespace.get(name, _MISSING) is self._received[name].value

    def update(self, table: NameTable) -> None:
        """Define the names that the engine lacks; remove received names that the prompt no longer has."""
        namespace = self._namespace
        for name, blob in table.items():
            former = self._received.get(name)
            present = namespace.get(name, _MISSING)
            if present is not _MISSING and (former is None or present is not former.value):
                continue  # the engine has set the name itself
            if blob is None:
                if present is not _MISSING:
                    del namespace[name]
                self._received.pop(name, None)
            elif former is None or former.blob != blob:
                self._define(name, blob)
            elif present is _MISSING:
                namespace[name] = former.value

    def _define(self, name: str, blob: bytes) -> None:
        try:
            value = pickle.loads(blob)
        except Exception as e:  # user code may not use the name; a NameError tells the reason
            self.failures[name] = f"{type(e).__name__}: {e}"
            self._namespace.pop(name, None)
            self._received.pop(name, None)
            return
        self.failures.pop(name, None)
        self._received[name] = _Received(blob, value)
        self._namespace[name] = value

    def mark_as_own(self, names: Iterable[str]) -> None:
        """Note that the engine has set these names itself, with any values."""
        if self._received:
            for name in names:
                self._received.pop(name, None)

    def mark_imports_as_own(self, source: str) -> None:
        """Note that the engine has run `source`: the imported names are the engine's own."""
        if not self._received:
            return
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):  # IPython's own syntax
            return
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.mark_as_own(alias.asname or alias.name.partition(".")[0] for alias in node.names)


engine_names: ReceivedNames | None = None  # None in a process that is no engine


def enable(namespace: dict[str, Any]) -> None:
    """Define received names in `namespace` from now on: this process is an engine."""
    global engine_names
    engine_names = ReceivedNames(namespace)


# -- at a prompt ------------------------------------------------------------------------------------------


class AttachedNames:
    """The names that were sent with a pickle to a prompt: unpickled at first use, and not defined."""

    def __init__(self, table: NameTable) -> None:
        self._table = table
        self._values: dict[str, Any] = {}

    def __call__(self, name: str) -> Any:
        if name not in self._values:
            blob = self._table.get(name)
            if blob is None:
                raise KeyError(name)
            with unpickling_with(self._table, self):
                self._values[name] = pickle.loads(blob)
        return self._values[name]


class unpickling_with:
    """Context manager: load a pickle that was sent with the names of `table`."""

    def __init__(self, table: NameTable, attached: AttachedNames | None = None) -> None:
        self._table = table
        self._attached = attached

    def __enter__(self) -> None:
        self._former = unpickling.attached, unpickling.absent
        if engine_names is not None:
            engine_names.update(self._table)
            return
        main = functions.namespace()
        absent = frozenset(name for name, blob in self._table.items() if blob and name not in main)
        unpickling.absent = absent
        unpickling.attached = (self._attached or AttachedNames(self._table)) if absent else None

    def __exit__(self, *_: object) -> None:
        unpickling.attached, unpickling.absent = self._former
