"""What functions need of an engine: names, modules, its namespace."""

from __future__ import annotations

import functools
import importlib
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import UnmetDependency
from ..protocol import messages
from .functions import INTERACTIVE, namespace
from .pickles import evaluate

if TYPE_CHECKING:
    from ..protocol.messages import Prerequisites

_F = TypeVar("_F", bound=Callable[..., Any])


class Reference:
    """A name or an expression that stands for its value on the engine.

    Parameters
    ----------
    name : str
        Evaluated in the engine's namespace where the reference arrives: as an argument, inside one, or as
        a value that is pushed.

    Examples
    --------
    >>> dv.scatter("x", range(8))
    >>> dv.apply_sync(sum, Reference("x"))
    [1, 5, 9, 13]
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"illegal name: {name!r}")
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return evaluate, (self.name,)

    def __repr__(self) -> str:
        return f"<Reference: {self.name!r}>"


class Dependency(set[str]):
    """Tasks that must have ended before another one begins: results of a `LoadBalancedView`, or their ids.

    Parameters
    ----------
    dependencies : AsyncResult, id, or a collection of them
        What is waited for.
    all : bool
        Wait for all of them, or for any one.
    success, failure : bool
        How they may have ended, so that the task can begin.

    Examples
    --------
    >>> first = lview.apply_async(prepare)
    >>> with lview.temp_flags(after=Dependency(first, failure=True)):
    ...     lview.apply_async(clean_up)  # whether or not the first has failed
    """

    def __init__(
        self, dependencies: Any = (), all: bool = True, success: bool = True, failure: bool = False
    ) -> None:
        if not (success or failure):
            raise ValueError("Must depend on at least one of successes or failures!")
        self.all = all
        self.success = success
        self.failure = failure
        single = isinstance(dependencies, str) or hasattr(dependencies, "msg_ids")
        ids: list[str] = []
        for item in [dependencies] if single else dependencies:
            if isinstance(item, str):
                ids.append(item)
            elif hasattr(item, "msg_ids"):
                ids += _ids(item)
            else:
                raise ValueError(f"Invalid dependency: {item!r} is no result and no id")
        super().__init__(ids)

    def check(self, completed: set[str], failed: set[str] | None = None) -> bool:
        """Whether it is met when these have ended well, and these badly."""
        against = (completed if self.success else set()) | ((failed or set()) if self.failure else set())
        return self <= against if self.all else bool(self & against) or not self

    def unreachable(self, completed: set[str], failed: set[str] | None = None) -> bool:
        """Whether it never will be met then."""
        against = (set() if self.success else completed) | (set() if self.failure else (failed or set()))
        return bool(self & against) if self.all else bool(self) and self <= against

    def as_dict(self) -> dict[str, Any]:
        """As ipyparallel represents it."""
        return {"dependencies": list(self), "all": self.all, "success": self.success, "failure": self.failure}

    @staticmethod
    def of(given: Any) -> Prerequisites | None:
        """What a user gives as a dependency, as the controller gets it; None if there is none."""
        if given is None:
            return None
        if isinstance(given, dict):
            given = Dependency(**given)
        elif not isinstance(given, Dependency):
            try:
                given = Dependency(given)
            except TypeError:
                raise ValueError(f"Invalid dependency: {given!r}") from None
        if not given:
            return None
        return messages.Prerequisites(sorted(given), given.all, given.success, given.failure)


def _ids(result: Any) -> list[str]:
    """The ids of all that a result has: of a whole request its own."""
    return [call.id for call in result._calls] if result._whole else result.msg_ids


def interactive(f: _F) -> _F:
    """Make a function of a module behave as if it had been defined at the prompt.

    It is sent by value, and the engine's namespace is its globals.

    Examples
    --------
    >>> @interactive
    ... def total():
    ...     return a + b  # of the engine
    """
    if isinstance(f, types.FunctionType):
        # a name that no module has, so that it can't be found by reference
        f.__module__ = "__main__"
        f.__qualname__ = INTERACTIVE + f.__qualname__
    return f


def require(*needs: Any, **renamed: Any) -> Callable[[Callable[..., Any]], Requiring]:
    """Decorator: modules are imported on the engine before the function is called.

    Parameters
    ----------
    *needs : str or module or function
        Modules, by name or as they are; functions and classes are put into the engine's namespace.
    **renamed : str, module or object
        The same under another name, as in ``import numpy as np``: a string is a module's name. Objects of
        any other kind are put into the namespace, too.

    Raises
    ------
    UnmetDependency
        On the engine, where one can't be had; the function does not run.

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

    def decorate(f: Callable[..., Any]) -> Requiring:
        return Requiring(f, modules, objects, renamed=frozenset(renamed))

    return decorate


class Requiring:
    """A function with what it needs, made by `require`."""

    def __init__(
        self,
        f: Callable[..., Any],
        modules: dict[str, str],
        objects: dict[str, Any],
        renamed: frozenset[str] = frozenset(),
    ) -> None:
        functools.update_wrapper(self, f)
        self.f = f
        self.modules = modules
        self.objects = objects
        self.renamed = renamed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
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
        theirs = getattr(self.f, "__globals__", {})
        for name in scope.keys() - theirs.keys():  # a function of a module looks there, not in the namespace
            theirs[name] = scope[name]
        return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Requiring, (self.f, self.modules, self.objects, self.renamed)

    def __repr__(self) -> str:
        needs = ", ".join([*self.modules.values(), *self.objects])
        return f"<{getattr(self.f, '__name__', self.f)} requiring {needs}>"


class depend:
    """Decorator: the function runs where a condition holds.

    Parameters
    ----------
    condition : callable
        Called on the engine; where it returns something false, the function does not run: a
        `LoadBalancedView` tries another engine, and a `DirectView` gives `UnmetDependency`.
    *args, **kwargs
        What it is called with.

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

    def __call__(self, f: Callable[..., Any]) -> dependent:
        return dependent(f, self.condition, *self.args, **self.kwargs)


class dependent:
    """A function with the condition under which it runs, made by `depend`."""

    def __init__(
        self, f: Callable[..., Any], condition: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> None:
        functools.update_wrapper(self, f)
        self.f = f
        self.condition = condition
        self.args = args
        self.kwargs = kwargs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.condition(*self.args, **self.kwargs):
            name = getattr(self.condition, "__name__", "the condition")
            raise UnmetDependency(f"{name}() of @depend does not hold here")
        return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _dependent, (self.f, self.condition, self.args, self.kwargs)

    def __repr__(self) -> str:
        return f"<dependent {getattr(self.f, '__name__', self.f)}>"


def _dependent(
    f: Callable[..., Any], condition: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dependent:
    return dependent(f, condition, *args, **kwargs)
