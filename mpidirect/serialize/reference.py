"""Names and expressions that mean their value on the engine."""

from __future__ import annotations

from typing import Any

from .functions import namespace


def evaluate(expression: str) -> Any:
    """Return the value of `expression` in the `namespace` of this process."""
    scope = namespace()
    return scope[expression] if expression in scope else eval(expression, scope)


class Reference:
    """A name or an expression that means its value on the engine.

    Parameters
    ----------
    name : str
        The name or expression.  The engine that unpickles the reference evaluates the name in its namespace:
        as an argument, inside an argument, or as a value that is pushed.

    Raises
    ------
    TypeError
        When `name` is no string.

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
