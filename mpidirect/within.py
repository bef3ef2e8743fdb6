"""A function that sees the communicator of its group of engines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Within:
    """`f`, as the members of a group call it.

    Parameters
    ----------
    name : str
        That of the groups.
    f : callable
        The function.
    """

    def __init__(self, name: str, f: Callable[..., Any]) -> None:
        self.name = name
        self.f = f
        self.__name__ = getattr(f, "__name__", type(f).__name__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        from .engine.split import entered

        with entered(self.name):
            return self.f(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return Within, (self.name, self.f)


def make(name: str, groups: list[list[int]], engine_of: dict[int, int]) -> int:
    """On an engine: make the groups' communicators; `engine_of` has the engines of the processes."""
    import os

    from .engine.split import make

    return make(name, groups, engine_of[os.getpid()])


def free(names: list[str]) -> None:
    """On an engine: give communicators back."""
    from .engine.split import free

    free(names)
