"""Requirements of functions: modules, names, the engine's namespace, or a condition."""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from ..errors import UnmetDependency
from .functions import INTERACTIVE_PREFIX, namespace

_F = TypeVar("_F", bound=Callable[..., Any])
Params = ParamSpec("Params")
Result = TypeVar("Result")


def interactive(f: _F) -> _F:
    """Make a function of a module behave as if the function had been defined at the prompt.

    The function is sent by value, and the engine's namespace is its globals.

    Parameters
    ----------
    f : function
        The function; it is changed in place.

    Returns
    -------
    function
        The same function.

    Examples
    --------
    >>> @interactive
    ... def total():
    ...     return a + b  # of the engine
    """
    if isinstance(f, types.FunctionType):
        # No module has this name, so the function can't be pickled by reference.
        f.__module__ = "__main__"
        f.__qualname__ = INTERACTIVE_PREFIX + f.__qualname__
    return f


def require(*needs: Any, **renamed: Any) -> Callable[[Callable[Params, Result]], Requiring[Params, Result]]:
    """Import modules on the engine before the decorated function is called.

    Parameters
    ----------
    *needs : str or module or function
        Modules, or their names.  Functions and classes are put into the engine's namespace.
    **renamed : str, module or object
        The same under another name, as in ``import numpy as np``: a string is a module's name. Objects of
        any other kind are put into the namespace, too.

    Returns
    -------
    callable
        The decorator.

    Raises
    ------
    TypeError
        When an object without a name is given by position.
    UnmetDependency
        On the engine, when an import fails; the function does not run.

    Examples
    --------
    >>> @require("re")
    ... def findall(pattern, text):
    ...     return re.findall(pattern, text)
    >>> @require(np="numpy", scale=celsius)
    ... def total(x):
    ...     return np.sum(scale(x))
    """
    modules: dict[str, str] = {}
    objects: dict[str, Any] = {}
    for need in needs:
        if isinstance(need, str):
            modules[need.partition(".")[0]] = need
        elif isinstance(need, types.ModuleType):
            modules[need.__name__.partition(".")[0]] = need.__name__
        elif callable(need) and hasattr(need, "__name__"):
            objects[need.__name__] = need
        else:
            raise TypeError(
                f"@require takes modules, their names and functions, not {need!r}; "
                "other objects need a name:  @require(name=…)"
            )
    for name, need in renamed.items():
        if isinstance(need, (str, types.ModuleType)):
            modules[name] = need if isinstance(need, str) else need.__name__
        else:
            objects[name] = need

    def decorate(f: Callable[Params, Result]) -> Requiring[Params, Result]:
        return Requiring(f, modules, objects, renamed=frozenset(renamed))

    return decorate


class Requiring(Generic[Params, Result]):
    """A function that needs modules and objects, as `require` returns.

    Parameters
    ----------
    f : callable
        The function.
    modules : dict of str
        Names in the engine's namespace, and the modules to import for them.
    objects : dict
        Names in the engine's namespace, and their values.
    renamed : frozenset of str
        The names that the user has chosen; any other name is that of a top-level module.
    """

    def __init__(
        self,
        f: Callable[Params, Result],
        modules: dict[str, str],
        objects: dict[str, Any],
        renamed: frozenset[str] = frozenset(),
    ) -> None:
        functools.update_wrapper(self, f)
        self.f = f
        self.modules = modules
        self.objects = objects
        self.renamed = renamed

    def __call__(self, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        scope: dict[str, Any] = {**self.objects}
        for name, module in self.modules.items():
            try:
                found = importlib.import_module(module)
                if name not in self.renamed:
                    found = importlib.import_module(name)
            except Exception as e:
                raise UnmetDependency(f"{module} can't be imported: {type(e).__name__}: {e}") from None
            scope[name] = found
        namespace().update(scope)
        function_globals = getattr(self.f, "__globals__", {})
        for name in (
            scope.keys() - function_globals.keys()
        ):  # the globals of a module are not the engine's namespace
            function_globals[name] = scope[name]
        return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Requiring, (self.f, self.modules, self.objects, self.renamed)

    def __repr__(self) -> str:
        needs = ", ".join([*self.modules.values(), *self.objects])
        return f"<{getattr(self.f, '__name__', self.f)} requiring {needs}>"


class depend:
    """Decorator: the function runs only on an engine that meets a condition.

    Parameters
    ----------
    condition : callable
        Called on the engine.  If the condition returns a false value, the function does not run: a
        `LoadBalancedView` tries another engine, and a `DirectView` raises `UnmetDependency`.
    *args, **kwargs
        The arguments of the condition.

    Raises
    ------
    TypeError
        When `condition` can't be called.

    Examples
    --------
    >>> @depend(lambda n: local_rank == n, 0)
    ... def first_of_its_node(): ...
    """

    def __init__(self, condition: Callable[..., Any], /, *args: Any, **kwargs: Any) -> None:
        if not callable(condition):
            raise TypeError(f"@depend takes a function that is called on the engine, not {condition!r}")
        self.condition = condition
        self.args = args
        self.kwargs = kwargs

    def __call__(self, f: Callable[Params, Result]) -> dependent[Params, Result]:
        return dependent(f, self.condition, *self.args, **self.kwargs)


class dependent(Generic[Params, Result]):
    """A function that runs only if a condition holds, as `depend` returns.

    Parameters
    ----------
    f : callable
        The function.
    condition : callable
        The condition, called on the engine.
    *args, **kwargs
        The arguments of the condition.

    Raises
    ------
    UnmetDependency
        On the engine, by a call, when the condition does not hold.

    Examples
    --------
    >>> lview.apply_sync(dependent(os.getpid, lambda: rank == 0))
    """

    def __init__(
        self, f: Callable[Params, Result], condition: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> None:
        functools.update_wrapper(self, f)
        self.f = f
        self.condition = condition
        self.args = args
        self.kwargs = kwargs

    def __call__(self, *args: Params.args, **kwargs: Params.kwargs) -> Result:
        if not self.condition(*self.args, **self.kwargs):
            name = getattr(self.condition, "__name__", "the condition")
            raise UnmetDependency(f"{name}() of @depend does not hold here")
        return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_dependent, (self.f, self.condition, self.args, self.kwargs)

    def __repr__(self) -> str:
        return f"<dependent {getattr(self.f, '__name__', self.f)}>"


def _make_dependent(
    f: Callable[..., Any], condition: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dependent[..., Any]:
    return dependent(f, condition, *args, **kwargs)
