"""The pickler for all that travels: cloudpickle's, with other rules for code."""

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
from typing import Any, NamedTuple

import cloudpickle
from cloudpickle import cloudpickle as _cloudpickle

from ..arrays import kinds
from ..arrays.lazy_numpy import np
from ..protocol.messages import BULK
from . import functions
from .classes import reduce_class
from .functions import namespace
from .unpicklable import reduce_file

_CACHED: type = type(functools.lru_cache(len))
_ALIAS = getattr(typing, "TypeAliasType", None)
_SENTINELS = {
    type(getattr(dataclasses, name)): name
    for name in ("MISSING", "KW_ONLY", "_HAS_DEFAULT_FACTORY")
    if hasattr(dataclasses, name)
}


class References(NamedTuple):
    """What the code in a pickle refers to by names; the keys count.

    Attributes
    ----------
    names : dict
        The global names that functions of the prompt refer to, and the globals in which they are.
    modules : dict
        The modules that the pickle refers to by name.
    files : dict
        The names of the files, or of the cells of a prompt, in which its functions are defined.
    """

    names: dict[str, dict[str, Any]]
    modules: dict[str, None]
    files: dict[str, None]


class Pickler(cloudpickle.Pickler):
    """cloudpickle's pickler, with other rules for code.

    Attributes
    ----------
    references : References
        What the objects that were pickled refer to.
    """

    dispatch_table = ChainMap({io.TextIOWrapper: reduce_file}, cloudpickle.Pickler.dispatch_table)

    def __init__(self, file: io.BytesIO, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.references = References({}, {}, {})

    def reducer_override(self, obj: Any) -> Any:
        """How `obj` is pickled; NotImplemented where the usual way is right."""
        kind = type(obj)
        if kind is types.FunctionType:
            return self._function(obj)
        if issubclass(kind, type):
            return self._class(obj)
        if kind.__name__ in kinds.NAMES and (reduced := self._array(obj)) is not None:
            return reduced
        if kind is types.ModuleType:
            if _cloudpickle._should_pickle_by_reference(obj):
                self.references.modules[obj.__name__] = None
        elif kind in functions.BOUND or callable(obj):
            return self._callable(obj, kind)
        elif kind is types.CellType:
            return functions.reduce_cell(obj)
        elif kind in _SENTINELS:
            return getattr, (dataclasses, _SENTINELS[kind])
        elif kind is functools.partialmethod:
            return functions.make_partial_method, (obj.func, obj.args, obj.keywords)
        elif kind is _ALIAS:
            return functions.make_alias, (obj.__name__, obj.__value__, obj.__type_params__)
        elif kind is functools.cached_property:
            return functions.make_cached_property, (obj.func, obj.attrname)
        return NotImplemented

    def _array(self, array: Any) -> Any:
        if _is_locked(array):
            return _as_writable(array).__reduce_ex__(5)  # whoever gets it has a copy of his own
        reduced = kinds.reduce(array)
        if reduced is not None:
            self.references.modules[type(array).__module__.partition(".")[0]] = None
        return reduced

    def _class(self, cls: Any) -> Any:
        reduced = reduce_class(cls)
        if reduced is NotImplemented:
            self.references.modules[cls.__module__] = None
            return reduced
        name, main = cls.__name__, namespace()
        if main.get(name) is cls:  # engines pickle its objects by that name
            self.references.names.setdefault(name, main)
        return reduced

    def _callable(self, obj: Any, kind: type) -> Any:
        """Neither function nor class: by its name where a module has it under that name."""
        ours = str(kind.__module__).startswith("mpidirect.")  # of extension types it need not be a text
        found = None if ours else functions.by_name(obj)
        if found is not None:
            self.references.modules[found[0].__name__] = None
            return functions.attribute_of, found
        if kind is _CACHED:
            attributes = {name: value for name, value in vars(obj).items() if name != "__wrapped__"}
            return functions.make_cached, (obj.__wrapped__, obj.cache_parameters(), attributes)
        if kind is typing.NewType:
            return typing.NewType, (obj.__name__, obj.__supertype__)
        if kind.__name__ == "vectorize" and kind.__module__ == "numpy":  # its cache cannot be pickled
            return object.__new__, (kind,), {**vars(obj), "_ufunc": {}}
        return NotImplemented

    def _function(self, f: types.FunctionType) -> Any:
        if _cloudpickle._should_pickle_by_reference(f):
            self.references.modules[f.__module__] = None
            return NotImplemented
        return functions.reduce_single_dispatch(f) or self._by_value(f)

    def _by_value(self, f: types.FunctionType) -> tuple[Any, ...]:
        code, scope = f.__code__, f.__globals__
        names = functions.global_names(code)
        self.references.modules.update(functions.words(code))  # it may import some of these
        home: str | dict[str, Any]
        imports: tuple[str, ...] = ()
        theirs: dict[str, Any] | None = None
        if functions.is_prompt(f):
            for name in names:
                self.references.names.setdefault(name, scope)
            self.references.files[code.co_filename] = None
            home, imports = "__main__", functions.submodules(f)
        elif (home := functions.home_of(scope)) and all(n in scope or hasattr(builtins, n) for n in names):
            self.references.modules[home] = None
        else:
            # Functions that share their globals still do.
            home = self.globals_ref.setdefault(id(scope), {n: scope[n] for n in _OF_MODULES if n in scope})
            imports = functions.submodules(f)
            theirs = {name: scope[name] for name in names if name in scope}
        made = marshal.dumps(code), functions.PYTHON, f.__closure__, home, imports
        state = functions.function_state(f, home)
        if theirs:
            state["__globals__"] = theirs
        if not state:
            return functions.make_function, made
        return functions.make_function, made, state, None, None, functions.set_function_state


_OF_MODULES = ("__package__", "__name__", "__path__", "__file__")


def _is_locked(obj: Any) -> bool:
    return type(obj) is np.ndarray and not obj.flags.writeable and obj.nbytes >= BULK


def _as_writable(array: np.ndarray) -> np.ndarray:
    """The same memory as an array that does not say that it is read-only: it is only to be pickled."""
    if array.dtype.hasobject or not (array.flags.c_contiguous or array.flags.f_contiguous):
        return array.copy()
    kind: Any = type("_Memory", (ctypes.c_char * array.nbytes,), {})  # has room for an attribute
    memory = kind.from_address(array.ctypes.data)
    memory.owner = array  # keeps it alive
    return np.ndarray(array.shape, array.dtype, memory, 0, array.strides)
