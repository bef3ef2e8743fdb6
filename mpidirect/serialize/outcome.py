"""The outcome of a function as an object that can be pickled: a value, or the exception itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import RemoteError
from . import pickles


class CatchingFunction:
    """A function that returns an `Outcome` and raises no exception.

    Parameters
    ----------
    f : callable
        The function.

    Examples
    --------
    >>> CatchingFunction(int)("7").value
    7
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
            return Outcome(None, CaughtException.of(e))

    def __reduce__(self) -> tuple[Any, ...]:
        return CatchingFunction, (self.f,)


class CaughtException:
    """An exception as text, and as a pickle if the exception can be pickled.

    Parameters
    ----------
    pickled : list of bytes or None
        The frames of its pickle.
    ename, evalue : str
        The name of its class, and its message.
    text : str
        Its traceback.
    """

    def __init__(self, pickled: list[bytes] | None, ename: str, evalue: str, text: str) -> None:
        self.pickled = pickled
        self.ename = ename
        self.evalue = evalue
        self.text = text

    @classmethod
    def of(cls, error: Exception) -> CaughtException:
        """Return the record of an exception."""
        from .failures import describe  # only engines need this module

        failure = describe(error, "apply")
        error.__traceback__ = None
        try:
            pickled = [bytes(frame) for frame in pickles.dumps(error)]
        except Exception:
            pickled = None
        return cls(pickled, failure.ename, failure.evalue, failure.traceback)

    def exception(self) -> BaseException:
        """Return the exception, with the engine's traceback as its cause."""
        remote = RemoteError(self.ename, self.evalue, self.text)
        if self.pickled is None:
            return remote
        try:
            error = pickles.loads_without_mpi(self.pickled)
        except Exception:
            return remote
        if not isinstance(error, BaseException):
            return remote
        error.__cause__ = remote
        return error


class Outcome:
    """The value that a function returned, or the exception that the function raised.

    Parameters
    ----------
    value : object
        The value; None after an exception.
    raised : CaughtException, optional
        The exception.
    """

    __slots__ = ("raised", "value")

    def __init__(self, value: Any, raised: CaughtException | None = None) -> None:
        self.value = value
        self.raised = raised

    def __reduce__(self) -> tuple[Any, ...]:
        return Outcome, (self.value, self.raised)
