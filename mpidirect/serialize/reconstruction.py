"""Functions, and objects made of functions, in the process that loads a pickle.

The pickler names the functions of this module in its pickles.  `unpickling` is the state of the pickle that
the current thread loads.
"""

from __future__ import annotations

import builtins
import functools
import logging
import marshal
import sys
import threading
import types
import typing
from collections.abc import Callable
from typing import Any

from cloudpickle import cloudpickle as _cloudpickle

from ..errors import SerializationError
from .functions import global_names, namespace

PYTHON_VERSION = sys.version_info[:2]  # bytecode runs in the same minor version only

_dispatching: Any = functools.singledispatch(len)
_SINGLE_DISPATCH_CODE = _dispatching.__code__


class MainFallbackBuiltins(dict[str, Any]):
    """Builtins of a function whose module is missing here: a missing name is looked up in ``__main__``."""

    def __missing__(self, name: str) -> Any:
        return namespace()[name]


class PromptBuiltins(dict[str, Any]):
    """Builtins of a function that an engine sent to a prompt.

    A name is looked up in ``__main__``, then in the names that were sent with the pickle, then in the
    builtins.
    """

    def __init__(self, attached: Callable[[str], Any]) -> None:
        super().__init__(vars(builtins))
        self._attached = attached

    def __getitem__(self, name: str) -> Any:
        main = namespace()
        if name in main:
            return main[name]
        try:
            return self._attached(name)
        except KeyError:
            return super().__getitem__(name)


class _Unpickling(threading.local):
    """The names that were sent with the pickle that this thread loads."""

    attached: Callable[[str], Any] | None = None  # returns the value of such a name
    absent: frozenset[str] = frozenset()  # the sent names that ``__main__`` lacks


unpickling = _Unpickling()

# cached, because the interpreter specializes code that has run
_load_code = functools.lru_cache(256)(marshal.loads)


def make_function(
    code_bytes: bytes,
    python: tuple[int, int],
    closure: tuple[Any, ...] | None,
    home: str | dict[str, Any],
    imports: tuple[str, ...],
) -> types.FunctionType:
    """Return a function without its state.

    Parameters
    ----------
    code_bytes : bytes
        Its code, by ``marshal``.
    python : tuple of int
        The version of Python that compiled the code.
    closure : tuple of cell, optional
        The variables of enclosing functions.
    home : str or dict
        The name of the module whose names the function sees, or its globals.
    imports : tuple of str
        Submodules that the function may reach; they are imported first.
    """
    if python != PYTHON_VERSION:
        sender, receiver = (".".join(map(str, version)) for version in (python, PYTHON_VERSION))
        raise SerializationError(
            f"this function comes from Python {sender} and can't be made in Python {receiver}: "
            "use the same minor version for the client and the cluster"
        )
    code = _load_code(code_bytes)
    for name in imports:
        if name not in sys.modules:
            _import_if_possible(name)
    scope: dict[str, Any]
    if home == "__main__":
        scope = namespace()
        scope.setdefault("__builtins__", builtins)  # C code that imports looks for this name
        attached = unpickling.attached
        if attached is not None and not unpickling.absent.isdisjoint(global_names(code)):
            scope = {"__name__": "__main__", "__builtins__": PromptBuiltins(attached)}
    elif isinstance(home, str):
        refuse_mpi(home)
        scope = vars(_cloudpickle.subimport(home))
    else:
        scope = home
        scope.setdefault("__builtins__", MainFallbackBuiltins(vars(builtins)))
    return types.FunctionType(code, scope, None, None, closure)


def refuse_mpi(module: str) -> None:
    """Refuse to load MPI in a process without MPI: on some login nodes its import ends the process.

    Raises
    ------
    SerializationError
        When `module` belongs to MPI, and this process has not imported ``mpi4py.MPI``.
    """
    loaded = "mpi4py.MPI" in sys.modules
    if not loaded and (module.partition(".")[0] == "mpi4py" or module.startswith("mpidirect.engine")):
        raise SerializationError("it belongs to MPI, and stays on the engines")


def _import_if_possible(name: str) -> None:
    """Import a submodule that a function may use; if the import fails, the use will raise the error."""
    try:
        refuse_mpi(name)
        _cloudpickle.subimport(name)
    except Exception:
        logging.getLogger(__name__).debug("%s can't be imported", name, exc_info=True)


def set_function_state(f: Any, state: dict[str, Any]) -> None:
    """Give a new function its attributes."""
    f.__dict__.update(state.pop("__dict__", {}))
    f.__globals__.update(state.pop("__globals__", {}))
    for name, value in state.items():
        setattr(f, name, value)


def reduce_cell(cell: types.CellType) -> tuple[Any, ...]:
    """Reduce a variable of a closure to an empty cell and its content.

    The content may be the function that refers to the cell, so the cell is made first.
    """
    try:
        content = cell.cell_contents
    except ValueError:  # the variable has no value yet
        return types.CellType, ()
    return types.CellType, (), (content,), None, None, _set_cell


def _set_cell(cell: types.CellType, state: tuple[Any]) -> None:
    cell.cell_contents = state[0]


def reduce_single_dispatch(f: Any) -> tuple[Any, ...] | None:
    """Reduce a function of ``functools.singledispatch``, whose caches can't be pickled; None for others."""
    if f.__code__ is not _SINGLE_DISPATCH_CODE:
        return None
    implementations = {kind: each for kind, each in f.registry.items() if kind is not object}
    return _make_single_dispatch, (f.registry[object], implementations)


def _make_single_dispatch(default: Any, implementations: dict[type, Any]) -> Any:
    f = functools.singledispatch(default)
    for kind, implementation in implementations.items():
        f.register(kind, implementation)
    return f


def reduce_dispatching_method(method: Any) -> tuple[Any, ...]:
    """Reduce a ``functools.singledispatchmethod``."""
    registry = method.dispatcher.registry
    implementations = {kind: each for kind, each in registry.items() if kind is not object}
    return _make_dispatching_method, (method.func, implementations)


def _make_dispatching_method(default: Any, implementations: dict[type, Any]) -> Any:
    method: Any = functools.singledispatchmethod(default)
    for kind, implementation in implementations.items():
        method.register(kind, implementation)
    return method


def make_cached(f: Any, parameters: dict[str, Any], attributes: dict[str, Any]) -> Any:
    """Return a function with a cache, as ``functools.lru_cache`` makes."""
    cached = functools.lru_cache(**parameters)(f)
    vars(cached).update(attributes)
    return cached


def make_partial_method(f: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """Return a ``functools.partialmethod``."""
    return functools.partialmethod(f, *args, **keywords)


def make_type_alias(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    """Return the type alias of the statement ``type name = value``."""
    return typing.TypeAliasType(name, value, type_params=parameters)


def make_cached_property(f: Any, name: str | None) -> Any:
    """Return a ``functools.cached_property``."""
    made: Any = functools.cached_property(f)
    made.attrname = name
    return made
