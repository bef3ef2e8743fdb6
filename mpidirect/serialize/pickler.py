"""The pickler for everything that is sent: cloudpickle's, with other rules for code."""

from __future__ import annotations

import builtins
import ctypes
import dataclasses
import functools
import io
import marshal
import types
import typing
from collections import ChainMap
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..arrays import kinds, pickling
from ..arrays.lazy_numpy import np
from ..protocol.messages import BULK
from . import functions, reconstruction
from .classes import reduce_class
from .functions import namespace
from .unpicklable import reduce_file

if TYPE_CHECKING:  # cloudpickle has no types
    from pickle import Pickler as CloudPickler
else:
    from cloudpickle import Pickler as CloudPickler

_LRU_CACHE: type = type(functools.lru_cache(len))
_TYPE_ALIAS = getattr(typing, "TypeAliasType", None)
_DATACLASS_SENTINELS = {
    type(getattr(dataclasses, name)): name
    for name in ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY")
    if hasattr(dataclasses, name)
}
_MODULE_ATTRIBUTES = ("__package__", "__name__", "__path__", "__file__")


class References(NamedTuple):
    """The names that code in a pickle refers to.

    Attributes
    ----------
    names : dict
        The global names that functions of the prompt refer to, and the globals that define them.
    modules : dict
        The modules that the pickle refers to by name, as keys.
    files : dict
        The names of the files, or of the cells of a prompt, that define its functions, as keys.
    """

    names: dict[str, dict[str, Any]]
    modules: dict[str, None]
    files: dict[str, None]


class Pickler(CloudPickler):
    """cloudpickle's pickler, with other rules for code.

    Parameters
    ----------
    file : io.BytesIO
        Receives the pickle.
    buffer_callback : callable, optional
        Called with each ``pickle.PickleBuffer``; true keeps the buffer inside the pickle.

    Attributes
    ----------
    references : References
        The names that the pickled objects refer to.
    """

    dispatch_table = ChainMap({io.TextIOWrapper: reduce_file}, CloudPickler.dispatch_table)  # type: ignore[arg-type]
    globals_ref: dict[int, dict[str, Any]]

    def __init__(self, file: io.BytesIO, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.references = References({}, {}, {})

    def reducer_override(self, obj: Any) -> Any:
        """Return the reduction of `obj`; NotImplemented for the default of the pickle module."""
        kind = type(obj)
        if kind is types.FunctionType:
            return self._reduce_function(obj)
        if issubclass(kind, type):
            return self._reduce_class(obj)
        if kind.__name__ in kinds.NAMES and (reduced := self._reduce_array(obj)) is not None:
            return reduced
        if kind is types.ModuleType:
            if functions.is_by_reference(obj):
                self.references.modules[obj.__name__] = None
        elif kind in functions.BOUND_METHODS or callable(obj):
            return self._reduce_callable(obj, kind)
        elif kind is types.CellType:
            return reconstruction.reduce_cell(obj)
        elif kind in _DATACLASS_SENTINELS:
            return getattr, (dataclasses, _DATACLASS_SENTINELS[kind])
        elif kind is functools.partialmethod:
            return reconstruction.make_partial_method, (obj.func, obj.args, obj.keywords)
        elif kind is _TYPE_ALIAS:
            return reconstruction.make_type_alias, (obj.__name__, obj.__value__, obj.__type_params__)
        elif kind is functools.cached_property:
            return reconstruction.make_cached_property, (obj.func, obj.attrname)
        elif kind is functools.singledispatchmethod:  # in Python 3.13 it has a cache that can't be pickled
            return reconstruction.reduce_dispatching_method(obj)
        return NotImplemented

    def _reduce_array(self, array: Any) -> Any:
        if _is_read_only_bulk(array):
            return _writable_alias(array).__reduce_ex__(5)  # each receiver gets its own copy
        reduced = pickling.reduce(array)
        if reduced is not None:
            self.references.modules[type(array).__module__.partition(".")[0]] = None
        return reduced

    def _reduce_class(self, cls: Any) -> Any:
        reduced = reduce_class(cls)
        if reduced is NotImplemented:
            self.references.modules[cls.__module__] = None
            return reduced
        name, main = cls.__name__, namespace()
        if main.get(name) is cls:  # engines pickle objects of the class by this name
            self.references.names.setdefault(name, main)
        return reduced

    def _reduce_callable(self, obj: Any, kind: type) -> Any:
        """Reduce a callable that is neither function nor class: by its name, if a module has the name."""
        ours = str(kind.__module__).startswith(
            "mpidirect."
        )  # the __module__ of extension types may be another object than a str
        found = None if ours else functions.importable_path(obj)
        if found is not None:
            self.references.modules[found[0].__name__] = None
            return functions.get_by_path, found
        if kind is _LRU_CACHE:
            attributes = {name: value for name, value in vars(obj).items() if name != "__wrapped__"}
            return reconstruction.make_cached, (obj.__wrapped__, obj.cache_parameters(), attributes)
        if kind is typing.NewType:
            return typing.NewType, (obj.__name__, obj.__supertype__)
        if kind.__name__ == "vectorize" and kind.__module__ == "numpy":  # its cache can't be pickled
            return object.__new__, (kind,), {**vars(obj), "_ufunc": {}}
        return NotImplemented

    def _reduce_function(self, f: types.FunctionType) -> Any:
        if functions.is_by_reference(f):
            self.references.modules[f.__module__] = None
            return NotImplemented
        return reconstruction.reduce_single_dispatch(f) or self._reduce_by_value(f)

    def _reduce_by_value(self, f: types.FunctionType) -> tuple[Any, ...]:
        code, scope = f.__code__, f.__globals__
        names = functions.global_names(code)
        self.references.modules.update(functions.names_in_code(code))  # some may be imports
        home: str | dict[str, Any]
        imports: tuple[str, ...] = ()
        used_globals: dict[str, Any] | None = None
        if functions.is_prompt_function(f):
            for name in names:
                self.references.names.setdefault(name, scope)
            self.references.files[code.co_filename] = None
            home, imports = "__main__", functions.reachable_submodules(f)
        elif (home := functions.installed_module_of(scope)) and all(
            n in scope or hasattr(builtins, n) for n in names
        ):
            self.references.modules[home] = None
        else:
            # Functions that share their globals here also share them on the engine.
            home = self.globals_ref.setdefault(
                id(scope), {n: scope[n] for n in _MODULE_ATTRIBUTES if n in scope}
            )
            imports = functions.reachable_submodules(f)
            used_globals = {name: scope[name] for name in names if name in scope}
        args = marshal.dumps(code), reconstruction.PYTHON_VERSION, f.__closure__, home, imports
        state = functions.function_state(f, home)
        if used_globals:
            state["__globals__"] = used_globals
        if not state:
            return reconstruction.make_function, args
        return reconstruction.make_function, args, state, None, None, reconstruction.set_function_state


def _is_read_only_bulk(obj: Any) -> bool:
    """Return whether `obj` is a large numpy array that is not writable."""
    return type(obj) is np.ndarray and not obj.flags.writeable and obj.nbytes >= BULK


def _writable_alias(array: np.ndarray) -> np.ndarray:
    """Return an array of the same memory that is marked writable; for the pickler only."""
    if array.dtype.hasobject or not (array.flags.c_contiguous or array.flags.f_contiguous):
        return array.copy()
    kind: Any = type("_Memory", (ctypes.c_char * array.nbytes,), {})  # a subclass can have attributes
    memory = kind.from_address(array.ctypes.data)
    memory.owner = array  # keeps the memory alive
    return np.ndarray(array.shape, array.dtype, memory, 0, array.strides)
