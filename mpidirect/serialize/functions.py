"""Functions before they are pickled: their home module, and the names that their code uses.

A function of the prompt is pickled without globals.  The ``__main__`` of the process that unpickles the
function becomes its globals (`reconstruction`).
"""

from __future__ import annotations

import contextlib
import functools
import operator
import sys
import sysconfig
import types
from collections.abc import Callable, Iterator
from typing import Any

from cloudpickle import cloudpickle as _cloudpickle

BOUND_METHODS = (types.MethodType, types.BuiltinMethodType, types.MethodWrapperType)
ANNOTATIONS = "__annotate__" if sys.version_info >= (3, 14) else "__annotations__"
# the beginning of the qualified name of a function that `interactive` returned
INTERACTIVE_PREFIX = "<interactive>."
_STANDARD_LIBRARY = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})

# Whether a function, class or module is pickled as a name to import.
is_by_reference: Callable[[Any], bool] = _cloudpickle._should_pickle_by_reference


def namespace() -> dict[str, Any]:
    """Return the globals of functions of the prompt in this process: the names of ``__main__``."""
    return sys.modules["__main__"].__dict__


def global_names(code: types.CodeType) -> dict[str, None]:
    """Return the global names that `code` and its inner functions refer to, in order, as keys."""
    names: dict[str, None] = _cloudpickle._extract_code_globals(code)
    return names


def is_prompt_function(f: types.FunctionType) -> bool:
    """Return whether a function was defined at the prompt: an engine's ``__main__`` becomes its globals."""
    scope = f.__globals__
    # IPython's %run gives a program globals of its own, with the name of __main__.
    return (
        scope is namespace()
        or scope.get("__name__") == "__main__"
        or f.__qualname__.startswith(INTERACTIVE_PREFIX)
    )


def function_state(f: types.FunctionType, home: str | dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a function that differ from those of a new function of the same code."""
    module = home if isinstance(home, str) else home.get("__name__")
    plain: Any = types.FunctionType(f.__code__, {"__name__": module}, None, None, f.__closure__)
    state: dict[str, Any] = {}
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        value = getattr(f, name)
        if value != getattr(plain, name):
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
    """Return the annotations of a function; an empty dict if their evaluation fails."""
    if not getattr(f, ANNOTATIONS):
        return {}
    try:
        return f.__annotations__
    except Exception:  # Python 3.14 evaluates annotations late; a name in them may be undefined
        return {}


def reachable_submodules(f: types.FunctionType) -> tuple[str, ...]:
    """Return the loaded submodules that a function may reach as attributes of the packages that it names.

    ``import xml.etree.ElementTree`` binds only the name ``xml``. An engine that imports only ``xml`` lacks
    the submodule.
    """
    values = [f.__globals__.get(name) for name in global_names(f.__code__)]
    for cell in f.__closure__ or ():
        with contextlib.suppress(ValueError):  # the variable has no value yet
            values.append(cell.cell_contents)
    packages = [
        f"{value.__name__}."
        for value in values
        if type(value) is types.ModuleType and hasattr(value, "__path__")
    ]
    if not packages:
        return ()
    mentioned = names_in_code(f.__code__)
    return tuple(
        name
        for name in list(sys.modules)
        for package in packages
        if name.startswith(package) and mentioned.keys() >= set(name[len(package) :].split("."))
    )


@functools.lru_cache(256)
def names_in_code(code: types.CodeType) -> dict[str, None]:
    """Return all names in a function's code as keys: globals, attributes and imports."""
    return dict.fromkeys(name for part in _nested_codes(code) for name in part.co_names)


def _nested_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and the code objects of its inner functions."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested_codes(constant)


def importable_path(obj: Any) -> tuple[types.ModuleType, str] | None:
    """Return a module, and the attribute path of `obj` in that module; None if there is none.

    The path of the bound method ``numpy.random.rand`` is ``rand``; the path of ``sys.path.append`` is
    ``path.append``.
    """
    owner = getattr(obj, "__self__", None)
    bound = type(obj) in BOUND_METHODS
    if bound and (owner is None or isinstance(owner, (types.ModuleType, type))):
        return None  # every pickler pickles this method by its name
    name = getattr(obj, "__name__", None)
    if not isinstance(name, str):
        return None
    candidates = [getattr(obj, "__module__", None)]
    if bound:
        candidates += ["sys"] if type(owner) in (list, dict) else _with_parents(type(owner).__module__)
    for candidate in candidates:
        if not isinstance(candidate, str) or candidate == "__main__":
            continue
        module = sys.modules.get(candidate)
        if type(module) is not types.ModuleType or not is_by_reference(module):
            continue
        found = vars(module).get(name)
        if found is obj or (bound and type(found) is type(obj) and found == obj):
            return module, name
        if bound:
            for attribute, value in list(vars(module).items()):
                if value is owner:
                    return module, f"{attribute}.{name}"
    return None


def get_by_path(module: types.ModuleType, path: str) -> Any:
    """Return the object at an attribute path of a module: the inverse of `importable_path`."""
    return operator.attrgetter(path)(module)


def _with_parents(module: str) -> list[str]:
    """Return the name of a module, and the names of the packages that contain it."""
    parts = module.split(".")
    return [".".join(parts[:k]) for k in range(len(parts), 0, -1)]


def installed_module_of(scope: dict[str, Any]) -> str:
    """Return the name of the installed module whose globals are `scope`; empty if there is none."""
    name = scope.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    if module is None or module.__dict__ is not scope or not is_by_reference(module):
        return ""
    return str(name) if is_installed(module) else ""


def is_installed(module: types.ModuleType | None) -> bool:
    """Return whether a module belongs to Python or to an installed package, not to the user's files."""
    spec = getattr(module, "__spec__", None)
    if spec is None:
        return False
    if spec.origin in ("built-in", "frozen"):
        return True
    file = str(spec.origin or next(iter(spec.submodule_search_locations or ()), ""))
    return "site-packages" in file or "dist-packages" in file or file.startswith(_STANDARD_LIBRARY)
