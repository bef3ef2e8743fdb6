"""Functions as pickles: how they are taken apart, and made again where they arrive.

A function of the prompt arrives without names of its own: its globals are the ``__main__`` of the process
in which it arrives.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import logging
import marshal
import operator
import sys
import sysconfig
import threading
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from cloudpickle import cloudpickle as _cloudpickle

from ..errors import SerializationError

PYTHON = sys.version_info[:2]  # what the code of functions is bound to

BOUND = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)
_dispatching: Any = functools.singledispatch(len)
_SINGLE_DISPATCH = _dispatching.__code__
ANNOTATED = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"


def namespace() -> dict[str, Any]:
    """What functions of the prompt see as their globals in this process: ``__main__``."""
    return sys.modules["__main__"].__dict__


def global_names(code: types.CodeType) -> dict[str, None]:
    """The global names that a function's code refers to, those of its inner functions included, in order."""
    names: dict[str, None] = _cloudpickle._extract_code_globals(code)
    return names


INTERACTIVE = "<interactive>."  # begins the qualified name of a function that is to be as one of the prompt


def is_prompt(f: types.FunctionType) -> bool:
    """Whether a function belongs to the prompt, so that the ``__main__`` of an engine has its names."""
    scope = f.__globals__
    # The name is compared for functions of a program that IPython's %run has run: it has its own globals.
    return (
        scope is namespace() or scope.get("__name__") == "__main__" or f.__qualname__.startswith(INTERACTIVE)
    )


def function_state(f: types.FunctionType, home: Any) -> dict[str, Any]:
    """What makes a function more than its code."""
    module = home if isinstance(home, str) else home.get("__name__")
    like: Any = types.FunctionType(f.__code__, {"__name__": module}, None, None, f.__closure__)
    state: dict[str, Any] = {}
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        value = getattr(f, name)
        if value != getattr(like, name):
            state[name] = value
    if f.__defaults__:
        state["__defaults__"] = f.__defaults__
    if f.__kwdefaults__:
        state["__kwdefaults__"] = f.__kwdefaults__
    if f.__dict__:
        state["__dict__"] = f.__dict__
    if getattr(f, "__type_params__", ()):
        state["__type_params__"] = f.__type_params__
    annotations = annotations_of(f)
    if annotations:
        state["__annotations__"] = annotations
    return state


def annotations_of(f: types.FunctionType) -> dict[str, Any]:
    """The annotations of a function; empty where they can't be evaluated."""
    if not getattr(f, ANNOTATED):
        return {}
    try:
        return f.__annotations__
    except Exception:  # since Python 3.14 they are evaluated late, and may name what is not there
        return {}


def submodules(f: types.FunctionType) -> tuple[str, ...]:
    """The loaded submodules that a function may reach by attributes of the packages that it names.

    ``import xml.etree.ElementTree`` binds ``xml`` alone; who imports only that has no submodule.
    """
    values = [f.__globals__.get(name) for name in global_names(f.__code__)]
    for cell in f.__closure__ or ():
        with contextlib.suppress(ValueError):  # it has no value yet
            values.append(cell.cell_contents)
    modules = [value for value in values if type(value) is types.ModuleType and hasattr(value, "__path__")]
    if not modules:
        return ()
    packages = [module.__name__ + "." for module in modules]
    mentioned = words(f.__code__)
    return tuple(
        name
        for name in list(sys.modules)
        for package in packages
        if name.startswith(package) and mentioned.keys() >= set(name[len(package) :].split("."))
    )


@functools.lru_cache(256)
def words(code: types.CodeType) -> dict[str, None]:
    """All names in a function's code, also those of attributes and of what it imports, as keys."""
    return dict.fromkeys(word for part in _codes(code) for word in part.co_names)


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def by_name(obj: Any) -> tuple[types.ModuleType, str] | None:
    """The module that has `obj`, and under which name.

    ``numpy.random`` has ``rand``, a bound method; ``sys`` has ``path.append``, a method of what it has.
    """
    owner = getattr(obj, "__self__", None)
    bound = type(obj) in BOUND
    if bound and (owner is None or isinstance(owner, (types.ModuleType, type))):
        return None  # every pickler has these by their name
    name = getattr(obj, "__name__", None)
    if not isinstance(name, str):
        return None
    homes = [getattr(obj, "__module__", None)]
    if bound:
        homes += ["sys"] if type(owner) in (list, dict) else _parents(type(owner).__module__)
    for home in homes:
        module = sys.modules.get(home) if isinstance(home, str) and home != "__main__" else None
        if type(module) is not types.ModuleType or not _cloudpickle._should_pickle_by_reference(module):
            continue
        found = vars(module).get(name)
        if found is obj or (bound and type(found) is type(obj) and found == obj):
            return module, name
        if bound:
            for attribute, value in list(vars(module).items()):
                if value is owner:
                    return module, f"{attribute}.{name}"
    return None


def attribute_of(module: types.ModuleType, path: str) -> Any:
    """What `by_name` has found."""
    return operator.attrgetter(path)(module)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:k]) for k in range(len(parts), 0, -1)]


def home_of(scope: dict[str, Any]) -> str:
    """The name of the module whose names `scope` is, if each process here can import the same; else empty."""
    name = scope.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or module.__dict__ is not scope or not _cloudpickle._should_pickle_by_reference(module):
        return ""
    return str(name) if is_installed(module) else ""


def is_installed(module: types.ModuleType | None) -> bool:
    """Whether a module belongs to Python or to what is installed in it, and not to the user's own files."""
    spec = getattr(module, "__spec__", None)
    if spec is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    file = str(spec.origin or next(iter(spec.submodule_search_locations or ()), ""))
    return "site-packages" in file or "dist-packages" in file or file.startswith(_STANDARD)


_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


# -- what is called where a pickle arrives ----------------------------------------------------------------


class Layers(dict[str, Any]):
    """Builtins of functions whose module is not here: what they lack is looked for in ``__main__``."""

    def __missing__(self, name: str) -> Any:
        return namespace()[name]


class Prompted(dict[str, Any]):
    """Builtins of an engine's function at the prompt: names of the prompt first, then what came with it."""

    def __init__(self, sent: Callable[[str], Any]) -> None:
        super().__init__(vars(builtins))
        self._sent = sent

    def __getitem__(self, name: str) -> Any:
        main = namespace()
        if name in main:
            return main[name]
        try:
            return self._sent(name)
        except KeyError:
            return super().__getitem__(name)


class _Arrival(threading.local):
    """What is known of the pickle that this thread opens, for the functions in it."""

    sent: Callable[[str], Any] | None = None  # gives the value that came with a name
    lacks: frozenset[str] = frozenset()  # the names that came and that ``__main__`` lacks


arrival = _Arrival()

_code = functools.lru_cache(256)(marshal.loads)  # what has run before runs faster


def make_function(
    source: bytes,
    python: tuple[int, int],
    closure: tuple[Any, ...] | None,
    home: str | dict[str, Any],
    imports: tuple[str, ...],
) -> types.FunctionType:
    """A function without its state; `home` is the name of the module whose names it sees, or its globals."""
    if python != PYTHON:
        theirs, ours = (".".join(map(str, version)) for version in (python, PYTHON))
        raise SerializationError(
            f"this function comes from Python {theirs} and can't be made in Python {ours}: "
            "use the same minor version for the client and the cluster"
        )
    code = _code(source)
    for name in imports:
        if name not in sys.modules:
            _import_quietly(name)
    scope: dict[str, Any]
    if home == "__main__":
        scope = namespace()
        scope.setdefault("__builtins__", builtins)  # where C code that imports something looks for that
        if arrival.sent is not None and not arrival.lacks.isdisjoint(global_names(code)):
            scope = {"__name__": "__main__", "__builtins__": Prompted(arrival.sent)}
    elif isinstance(home, str):
        refuse_mpi(home)
        scope = vars(_cloudpickle.subimport(home))
    else:
        scope = home
        scope.setdefault("__builtins__", Layers(vars(builtins)))
    return types.FunctionType(code, scope, None, None, closure)


def refuse_mpi(module: str) -> None:
    """Keep MPI from being loaded where it is not: on some login nodes that ends a client's process.

    Raises
    ------
    SerializationError
        When `module` belongs to MPI, and nobody has imported that here.
    """
    loaded = "mpi4py.MPI" in sys.modules
    if not loaded and (module.partition(".")[0] == "mpi4py" or module.startswith("mpidirect.engine")):
        raise SerializationError("it belongs to MPI, and stays on the engines")


def _import_quietly(name: str) -> None:
    """Import a submodule that a function may use; if it can't be had, its use tells so."""
    try:
        refuse_mpi(name)
        _cloudpickle.subimport(name)
    except Exception:
        logging.getLogger(__name__).debug("%s can't be imported", name, exc_info=True)


def set_function_state(f: Any, state: dict[str, Any]) -> None:
    f.__dict__.update(state.pop("__dict__", {}))
    f.__globals__.update(state.pop("__globals__", {}))
    for name, value in state.items():
        setattr(f, name, value)


def reduce_cell(cell: Any) -> tuple[Any, ...]:
    """A variable of a closure: empty first, as its content may be the function that refers to it."""
    try:
        content = cell.cell_contents
    except ValueError:  # a name that has no value yet
        return types.CellType, ()
    return types.CellType, (), (content,), None, None, _set_cell


def _set_cell(cell: Any, state: tuple[Any]) -> None:
    cell.cell_contents = state[0]


def reduce_single_dispatch(f: Any) -> tuple[Any, ...] | None:
    """How a function made by ``functools.singledispatch`` is pickled: its caches can't be."""
    if f.__code__ is not _SINGLE_DISPATCH:
        return None
    others = {kind: each for kind, each in f.registry.items() if kind is not object}
    return _make_single_dispatch, (f.registry[object], others)


def _make_single_dispatch(default: Any, others: dict[type, Any]) -> Any:
    f = functools.singledispatch(default)
    for kind, each in others.items():
        f.register(kind, each)
    return f


def make_cached(f: Any, parameters: dict[str, Any], attributes: dict[str, Any]) -> Any:
    cached = functools.lru_cache(**parameters)(f)
    vars(cached).update(attributes)
    return cached


def make_partial_method(f: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return functools.partialmethod(f, *args, **keywords)


def make_alias(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    """What ``type name = value`` makes."""
    return typing.TypeAliasType(name, value, type_params=parameters)


def make_cached_property(f: Any, name: str | None) -> Any:
    made: Any = functools.cached_property(f)
    made.attrname = name
    return made
