"""The compared systems and the ways to call them; each system implements the same methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Held = tuple[float, int, bool]  # the return value of `content.held`, for an engine's array


class Unsupported(Exception):
    """The system can't do a case, or the machine has not enough memory for the case; the text says why."""


class System:
    """A cluster of one system, from its start to its stop.

    Attributes
    ----------
    ways : tuple of str
        The ways to call the system: each is a column of the table, or a row of its own.
    """

    ways: tuple[str, ...] = ()

    def start(self, n: int) -> None:
        """Start `n` engines; returns when all are ready."""
        raise NotImplementedError

    def stop(self) -> None:
        """End the cluster in any state."""
        raise NotImplementedError

    def open(self, way: str) -> Way:
        """Return a new client."""
        raise NotImplementedError

    def controllers(self) -> list[int]:
        """Return the processes between client and engines."""
        raise NotImplementedError


class Way:
    """A client of a system, and its operations in the cases.

    The array that a client sends to engines always has the name ``x``. A method that measures the time itself
    returns seconds.
    """

    def close(self) -> None:
        """Close the client."""

    def engines(self) -> list[int]:
        """Return the engines' processes."""
        raise Unsupported("not known")

    def call_all(self) -> float | None:
        """Make an empty call on all engines."""
        raise Unsupported("no such call")

    def call_one(self) -> float | None:
        """Make an empty call on the first engine."""
        raise Unsupported("no such call")

    def call_often(self, times: int) -> float | None:
        """Make `times` empty calls on the first engine, without a wait between them."""
        raise Unsupported("no such call")

    def execute(self) -> None:
        """Run a line of code on all engines."""
        raise Unsupported("runs no code")

    def push(self, array: np.ndarray) -> float | None:
        """Give an array to all engines."""
        raise Unsupported("no such call")

    def push_shared(self, array: np.ndarray) -> None:
        """Give an array to all engines, in memory that they share, if the system supports this."""
        self.push(array)

    def scatter(self, array: np.ndarray) -> None:
        """Give each engine a part of an array."""
        raise Unsupported("no such call")

    def gather(self) -> np.ndarray:
        """Return the engines' parts, as one array."""
        raise Unsupported("no such call")

    def pull(self) -> np.ndarray:
        """Return the first engine's array."""
        raise Unsupported("no such call")

    def map(self, items: Sequence[int]) -> list[int]:
        """Return the squares of `items`, computed by the engines."""
        raise Unsupported("no such call")

    def prepare_allreduce(self, items: int) -> None:
        """Give each engine numbers, and memory for their sum."""
        raise Unsupported("engines know no MPI")

    def allreduce(self) -> float | None:
        """Sum the numbers over the engines."""
        raise Unsupported("engines know no MPI")

    def reduced(self) -> list[Any]:
        """Return the first and the last of the sums of each engine."""
        raise Unsupported("engines know no MPI")

    def held(self) -> list[Held]:
        """Return the description of ``x`` on each engine."""
        raise Unsupported("can't be asked")

    def give_back(self) -> None:
        """Free the memory that is kept for later data."""

    def forget(self) -> None:
        """Drop ``x`` on the engines, and the results of earlier calls in the client."""
