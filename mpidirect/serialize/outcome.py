"""What a function came to, as something that travels: its value, or the exception itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import RemoteError
from . import pickles


class CatchingFunction:
    """A function that returns `Outcome` instead of raising: for callers that expect the exception itself.

    Parameters
    ----------
    f : callable
        The function.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        self.__name__ = getattr(f, "__name__", type(f).__name__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Outcome:
        try:
            return Outcome(self.f(*args, **kwargs))
        except KeyboardInterrupt:
            raise
        except Exception as e:
            return Outcome(None, Raised.of(e))

    def __reduce__(self) -> tuple[Any, ...]:
        return CatchingFunction, (self.f,)


class Raised:
    """An exception: as a pickle, where it can be pickled, and as text."""

    def __init__(self, pickled: Any, ename: str, evalue: str, text: str) -> None:
        self.pickled = pickled
        self.ename = ename
        self.evalue = evalue
        self.text = text

    @classmethod
    def of(cls, error: Exception) -> Raised:
        """What is told of an exception."""
        from .failures import describe  # on an engine

        failure = describe(error, "apply")
        error.__traceback__ = None
        try:
            pickled = [bytes(frame) for frame in pickles.dumps(error)]
        except Exception:
            pickled = None
        return cls(pickled, failure.ename, failure.evalue, failure.traceback)

    def exception(self) -> BaseException:
        """The exception, with the engine's traceback as its cause."""
        told = RemoteError(self.ename, self.evalue, self.text)
        if self.pickled is None:
            return told
        try:
            error = pickles.loads_without_mpi(self.pickled)
        except Exception:
            return told
        if not isinstance(error, BaseException):
            return told
        error.__cause__ = told
        return error


class Outcome:
    """What a function returned, or raised."""

    __slots__ = ("raised", "value")

    def __init__(self, value: Any, raised: Raised | None = None) -> None:
        self.value = value
        self.raised = raised

    def __reduce__(self) -> tuple[Any, ...]:
        return Outcome, (self.value, self.raised)
