"""What is compared: clusters, and the ways to call them; each system fills in the same few methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Held = tuple[float, int, bool]  # what `content.held` says of an engine's array


class Unsupported(Exception):
    """The system cannot do what a case asks, or the machine has no room for the case; the text says why."""


class System:
    """A cluster of one system, from its start to its stop.

    Attributes
    ----------
    ways : tuple of str
        The ways in which it can be called: each fills a column of the table, or a row of its own.
    """

    ways: tuple[str, ...] = ()

    def start(self, n: int) -> None:
        """Start `n` engines; returns when all are ready."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it, whatever its state is."""
        raise NotImplementedError

    def open(self, way: str) -> Way:
        """A new client."""
        raise NotImplementedError

    def controllers(self) -> list[int]:
        """The processes between client and engines."""
        raise NotImplementedError


class Way:
    """A client of a system, and what the cases do with it.

    The array that a client sends, and that engines get, is always called ``x``.  A method that measures the
    time itself returns seconds.
    """

    def close(self) -> None:
        """Close the client."""

    def engines(self) -> list[int]:
        """The engines' processes."""
        raise Unsupported("not known")

    def call_all(self) -> float | None:
        """An empty call on all engines."""
        raise Unsupported("no such call")

    def call_one(self) -> float | None:
        """An empty call on the first engine."""
        raise Unsupported("no such call")

    def call_often(self, times: int) -> float | None:
        """So many empty calls on the first engine, none of which waits for the one before it."""
        raise Unsupported("no such call")

    def execute(self) -> None:
        """Run a line of code on all engines."""
        raise Unsupported("runs no code")

    def push(self, array: np.ndarray) -> float | None:
        """Give an array to all engines."""
        raise Unsupported("no such call")

    def push_shared(self, array: np.ndarray) -> None:
        """Give an array to all engines, in memory that they share, if there is such a thing."""
        self.push(array)

    def scatter(self, array: np.ndarray) -> None:
        """Give each engine a part of an array."""
        raise Unsupported("no such call")

    def gather(self) -> np.ndarray:
        """The engines' parts, as one array."""
        raise Unsupported("no such call")

    def pull(self) -> np.ndarray:
        """The first engine's array."""
        raise Unsupported("no such call")

    def map(self, items: Sequence[int]) -> list[int]:
        """The squares of `items`, computed by the engines."""
        raise Unsupported("no such call")

    def prepare_allreduce(self, items: int) -> None:
        """Give each engine numbers, and room for their sum."""
        raise Unsupported("engines know no MPI")

    def allreduce(self) -> float | None:
        """Sum them over the engines."""
        raise Unsupported("engines know no MPI")

    def reduced(self) -> list[Any]:
        """Of each engine, the first and the last of the sums."""
        raise Unsupported("engines know no MPI")

    def held(self) -> list[Held]:
        """What each engine has as ``x``."""
        raise Unsupported("can't be asked")

    def give_back(self) -> None:
        """Keep no memory for the next data."""

    def forget(self) -> None:
        """Drop ``x`` on the engines, and what the client keeps of earlier calls."""
