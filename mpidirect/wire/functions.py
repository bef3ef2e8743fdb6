"""Functions, classes and other code as pickles: by their name where a module has it, else by value.

A function of the prompt arrives without names of its own: its globals are the ``__main__`` of the process
in which it arrives.  The pickler notes which global names the code refers to; `lending` sends what is
needed of them.
"""

from __future__ import annotations

import builtins
import ctypes
import dataclasses
import functools
import io
import logging
import marshal
import sys
import sysconfig
import threading
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as _cloudpickle

from ..errors import SerializationError
from ..lazy import np

BULK_ARRAY = 64 * 1024  # bytes from which an array's buffer is a frame of its own

PYTHON = sys.version_info[:2]  # what the code of functions is bound to

_BOUND = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)
_CACHED: type = type(functools.lru_cache(len))
_SENTINELS = {
    type(getattr(dataclasses, name)): name
    for name in ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY")
    if hasattr(dataclasses, name)
}
_dispatching: Any = functools.singledispatch(len)
_SINGLE_DISPATCH = _dispatching.__code__
_ANNOTATED = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"


def namespace() -> dict[str, Any]:
    """What functions of the prompt see as their globals in this process: ``__main__``."""
    return sys.modules["__main__"].__dict__


def global_names(code: types.CodeType) -> dict[str, None]:
    """The global names that a function's code refers to, those of its inner functions included, in order."""
    names: dict[str, None] = _cloudpickle._extract_code_globals(code)
    return names


class Pickler(cloudpickle.Pickler):
    """cloudpickle's pickler, with other rules for code.

    Attributes
    ----------
    names : dict
        The global names that functions of the prompt refer to, in order, and the globals in which they are.
    modules : dict
        The names of the modules that the pickle refers to; the values are None.
    """

    def __init__(self, file: io.BytesIO, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.names: dict[str, dict[str, Any]] = {}
        self.modules: dict[str, None] = {}

    def reducer_override(self, obj: Any) -> Any:
        """How `obj` is pickled; NotImplemented where the usual way is right."""
        kind = type(obj)
        if kind is types.FunctionType:
            if _cloudpickle._should_pickle_by_reference(obj):
                self.modules[obj.__module__] = None
                return NotImplemented
            return self._function(obj)
        if issubclass(kind, type):
            return self._class(obj)
        if kind.__name__ == "ndarray" and _is_locked(obj):
            return _as_writable(obj).__reduce_ex__(5)  # whoever gets it has a copy of his own
        if kind is types.ModuleType:
            if _cloudpickle._should_pickle_by_reference(obj):
                self.modules[obj.__name__] = None
        elif kind in _BOUND or callable(obj):
            return self._callable(obj, kind)
        elif kind in _SENTINELS:
            return getattr, (dataclasses, _SENTINELS[kind])
        elif kind is functools.cached_property:
            return _make_cached_property, (obj.func, obj.attrname)
        return NotImplemented

    def _callable(self, obj: Any, kind: type) -> Any:
        """Neither function nor class: by its name where a module has it under that name."""
        found = None if kind.__module__.startswith("mpidirect.") else _by_name(obj)
        if found is not None:
            self.modules[found[0].__name__] = None
            return getattr, found
        if kind is _CACHED:
            attributes = {name: value for name, value in vars(obj).items() if name != "__wrapped__"}
            return _make_cached, (obj.__wrapped__, obj.cache_parameters(), attributes)
        if kind is typing.NewType:
            new: Any = obj
            return typing.NewType, (new.__name__, new.__supertype__)
        return NotImplemented

    # -- classes ------------------------------------------------------------------------------------------

    def _class(self, cls: Any) -> Any:
        reduced = _cloudpickle._class_reduce(cls)
        if reduced is NotImplemented:
            self.modules[cls.__module__] = None
            return reduced
        if len(reduced) < 6:  # a builtin type
            return reduced
        make, args, state, _, _, _ = reduced
        return _make_class, (make, args), (state, _version(cls)), None, None, _set_class_state

    # -- functions ----------------------------------------------------------------------------------------

    def _function(self, f: types.FunctionType) -> tuple[Any, ...]:
        if f.__code__ is _SINGLE_DISPATCH:
            return _reduce_single_dispatch(f)
        code, scope = f.__code__, f.__globals__
        closure = f.__closure__ and tuple(_cloudpickle._make_empty_cell() for _ in f.__closure__)
        self.modules.update(dict.fromkeys(name for part in _codes(code) for name in part.co_names))  # imports
        names = global_names(code)
        if scope is namespace() or scope.get("__name__") == "__main__":  # each %run of IPython has its own
            for name in names:
                self.names.setdefault(name, scope)
            imports = submodules(code, scope)
            made: tuple[Any, ...] = (marshal.dumps(code), PYTHON, closure, "__main__", imports)
            theirs: dict[str, Any] | None = None
        elif (home := _installed(scope)) and all(name in scope or hasattr(builtins, name) for name in names):
            self.modules[home] = None
            made, theirs = (marshal.dumps(code), PYTHON, closure, home, ()), None
        else:
            shared = self.globals_ref.setdefault(id(scope), {})
            if not shared:
                shared.update(
                    {k: scope[k] for k in ("__package__", "__name__", "__path__", "__file__") if k in scope}
                )
            theirs = {name: scope[name] for name in names if name in scope}
            made = (marshal.dumps(code), PYTHON, closure, shared, submodules(code, scope))
        state = _function_state(f, made[3])
        if theirs:
            state["__globals__"] = theirs
        if not state:
            return _make_function, made
        return _make_function, made, state, None, None, _set_function_state


def _function_state(f: types.FunctionType, home: Any) -> dict[str, Any]:
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
    if f.__closure__:
        state["__closure__"] = f.__closure__
    if f.__dict__:
        state["__dict__"] = f.__dict__
    if getattr(f, "__type_params__", ()):
        state["__type_params__"] = f.__type_params__
    annotations = _annotations(f)
    if annotations:
        state["__annotations__"] = annotations
    return state


def _annotations(f: types.FunctionType) -> dict[str, Any]:
    if not getattr(f, _ANNOTATED):
        return {}
    try:
        return f.__annotations__
    except Exception:  # since Python 3.14 they are evaluated late, and may name what is not there
        return {}


def submodules(code: types.CodeType, scope: dict[str, Any]) -> tuple[str, ...]:
    """The loaded submodules that the code may reach by attributes of the packages that it names.

    ``import xml.etree.ElementTree`` binds ``xml`` alone; who imports only that has no submodule.
    """
    packages = [
        value.__name__ + "."
        for name in global_names(code)
        if type(value := scope.get(name)) is types.ModuleType and hasattr(value, "__path__")
    ]
    if not packages:
        return ()
    words = {word for part in _codes(code) for word in part.co_names}
    return tuple(
        name
        for name in list(sys.modules)
        for package in packages
        if name.startswith(package) and words.issuperset(name[len(package) :].split("."))
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _by_name(obj: Any) -> tuple[types.ModuleType, str] | None:
    """The module that has `obj`, and under which name, as ``numpy.random`` has ``rand``, a bound method."""
    owner = getattr(obj, "__self__", None)
    if type(obj) in _BOUND and (owner is None or isinstance(owner, (types.ModuleType, type))):
        return None  # every pickler has these by their name
    try:
        name = obj.__name__
        homes = [obj.__module__, *_parents(type(owner).__module__ if owner is not None else "")]
    except AttributeError:
        return None
    if not isinstance(name, str):
        return None
    for home in homes:
        module = sys.modules.get(home) if isinstance(home, str) and home != "__main__" else None
        if type(module) is not types.ModuleType or not _cloudpickle._should_pickle_by_reference(module):
            continue
        found = vars(module).get(name)
        if found is obj or (type(found) is type(obj) and type(obj) in _BOUND and found == obj):
            return module, name
    return None


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:k]) for k in range(len(parts), 0, -1)]


def _installed(scope: dict[str, Any]) -> str:
    """The name of the module whose names `scope` is, if each process here can import the same; else empty."""
    name = scope.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or module.__dict__ is not scope or not _cloudpickle._should_pickle_by_reference(module):
        return ""
    return str(name) if is_installed(module) else ""


def is_installed(module: types.ModuleType) -> bool:
    """Whether a module belongs to Python or to what is installed in it, and not to the user's own files."""
    spec = getattr(module, "__spec__", None)
    if spec is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    file = str(spec.origin or next(iter(spec.submodule_search_locations or ()), ""))
    return "site-packages" in file or "dist-packages" in file or file.startswith(_STANDARD)


_STANDARD = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})


# -- locked arrays ----------------------------------------------------------------------------------------


def _is_locked(obj: Any) -> bool:
    return type(obj) is np.ndarray and not obj.flags.writeable and obj.nbytes >= BULK_ARRAY


def _as_writable(array: np.ndarray) -> np.ndarray:
    """The same memory as an array that does not say that it is read-only: it is only to be pickled."""
    if array.dtype.hasobject or not (array.flags.c_contiguous or array.flags.f_contiguous):
        return array.copy()
    kind: Any = type("_Memory", (ctypes.c_char * array.nbytes,), {})  # has room for an attribute
    memory = kind.from_address(array.ctypes.data)
    memory.owner = array  # keeps it alive
    return np.ndarray(array.shape, array.dtype, memory, 0, array.strides)


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


def _make_function(
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


def _set_function_state(f: Any, state: dict[str, Any]) -> None:
    f.__dict__.update(state.pop("__dict__", {}))
    f.__globals__.update(state.pop("__globals__", {}))
    for cell, theirs in zip(f.__closure__ or (), state.pop("__closure__", None) or (), strict=True):
        try:
            cell.cell_contents = theirs.cell_contents
        except ValueError:  # a name that has no value yet
            continue
    for name, value in state.items():
        setattr(f, name, value)


def _reduce_single_dispatch(f: Any) -> tuple[Any, ...]:
    """A function made by ``functools.singledispatch``, whose caches can't be pickled."""
    others = {kind: each for kind, each in f.registry.items() if kind is not object}
    return _make_single_dispatch, (f.registry[object], others)


def _make_single_dispatch(default: Any, others: dict[type, Any]) -> Any:
    f = functools.singledispatch(default)
    for kind, each in others.items():
        f.register(kind, each)
    return f


def _make_cached(f: Any, parameters: dict[str, Any], attributes: dict[str, Any]) -> Any:
    cached = functools.lru_cache(**parameters)(f)
    vars(cached).update(attributes)
    return cached


def _make_cached_property(f: Any, name: str | None) -> Any:
    made: Any = functools.cached_property(f)
    made.attrname = name
    return made


_arrived: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()  # and their version


def _make_class(make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """A class that was made elsewhere; if it comes from here, the one that is here."""
    before = _cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(args[-2])
    cls = before if before is not None else make(*args)
    if before is None:
        _arrived[cls] = -1
    return cls


def _set_class_state(cls: Any, state: tuple[Any, int]) -> None:
    """Give a class what it has where it comes from, unless it is from here, or has that already."""
    content, version = state
    if _arrived.get(cls, version) != version:
        _cloudpickle._class_setstate(cls, content)
        _arrived[cls] = version


# -- how classes change -----------------------------------------------------------------------------------

_versions: weakref.WeakKeyDictionary[Any, tuple[list[Any], int]] = weakref.WeakKeyDictionary()


def _version(cls: Any) -> int:
    """A number that changes when the class does: methods or attributes that are set or replaced."""
    if cls in _arrived:
        return _arrived[cls]
    parts = [part for name, value in vars(cls).items() for part in (name, _part(value))]
    known = _versions.get(cls)
    if known is not None and len(known[0]) == len(parts) and all(map(_same, known[0], parts)):
        return known[1]
    version = 0 if known is None else known[1] + 1
    _versions[cls] = parts, version
    return version


def _part(value: Any) -> Any:
    """What tells whether an attribute of a class is still the same, without a reference to the class."""
    value = getattr(value, "__func__", value)
    if isinstance(value, types.FunctionType):
        return value.__code__
    if isinstance(value, property):
        return tuple(getattr(f, "__code__", None) for f in (value.fget, value.fset, value.fdel))
    if type(value) in (list, dict, set, tuple):
        return repr(value) if len(value) <= _FEW else (id(value), len(value))
    return value if type(value) in _IMMUTABLE else id(value)


_FEW = 100  # items that are compared
_IMMUTABLE = (type(None), bool, int, float, complex, str, bytes)


def _same(one: Any, other: Any) -> bool:
    return one is other or (type(one) is type(other) and type(one) is not types.CodeType and one == other)
