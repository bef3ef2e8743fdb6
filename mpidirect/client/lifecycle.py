"""The part of `Client` that starts and ends engines, and saves what they have."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any

from .. import errors
from . import saving
from .display.progress import wait_with_bar
from .results.future import in_thread
from .results.outputs import at_prompt
from .results.pending import limit_of
from .saving import Saved
from .session.engines import is_single_target
from .session.queries import engines_in_words
from .view_factory import ViewFactory

START_TIMEOUT = 60.0  # seconds that new engines may take, beyond the time for the engines that stay
BAR_INTERVAL = 0.1  # seconds between two updates of a progress bar


class EngineLifecycle(ViewFactory):
    """The methods of `Client` on the life of engines."""

    def wait_for_engines(
        self,
        n: int | None = None,
        *,
        timeout: float | None = -1,
        block: bool = True,
        interactive: bool | None = None,
        widget: bool | None = None,
    ) -> Future[None] | None:
        """Wait until `n` engines live (by default, all that the cluster was started with).

        Parameters
        ----------
        n : int, optional
            How many.
        timeout : float, optional
            Seconds to wait; None or -1: without end.
        block : bool
            If False, return a future at once instead.
        interactive : bool, optional
            Whether to show a progress bar; by default at a prompt, where there is something to wait for.
        widget : bool, optional
            As in ipyparallel; the bar suits itself to where it is shown.

        Returns
        -------
        None, or a `concurrent.futures.Future` where `block` is False.

        Examples
        --------
        >>> rc.wait_for_engines(4, timeout=60)

        Raises
        ------
        TimeoutError
            When that takes longer than `timeout` seconds.
        EngineError
            When so many have died that it can't come true.
        """
        wanted = self.size if n is None else operator.index(n)
        if not block:
            return in_thread(self._wait_until_live, wanted, timeout, False)
        self._wait_until_live(wanted, timeout, at_prompt() if interactive is None else interactive)
        return None

    def _wait_until_live(self, wanted: int, timeout: float | None, shows_bar: bool) -> None:
        """Wait until `wanted` engines live, with or without a progress bar."""
        session, engines = self._session, self._session.engines
        is_settled = partial(engines.complete, wanted)

        def count() -> int:
            return len(engines.live)

        if shows_bar and not session.wait(is_settled, 0):
            limit = limit_of(timeout)
            settled = wait_with_bar(session, is_settled, limit, BAR_INTERVAL, "engines", count, wanted)
        else:
            settled = session.wait(is_settled, limit_of(timeout))
        if not settled:
            raise errors.TimeoutError(f"{count()} of {wanted} engines are ready after {timeout} s")
        if count() < wanted:
            reasons = "; ".join(engines.lost.values()) or f"the cluster has {engines.size}"
            raise errors.EngineError("EngineError", f"{wanted} engines there can't be: {reasons}")

    def save(self, path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Saved:
        """Save what the engines have, for a later job: `load` brings it back.

        Each engine writes a file of its own, at the same time; arrays are written as they are. An earlier
        save at the same place counts until this one is whole.

        Parameters
        ----------
        path : str or path
            A directory, as the engines see it; on a shared file system if engines are on several hosts.
        names : sequence of str, optional
            Which names; by default all that the user has set.

        Returns
        -------
        Saved
            What was saved, and what was not because it can't be pickled. That is also told in a warning. How
            objects of a type are pickled can be registered on the engines with `copyreg.pickle`.

        Examples
        --------
        >>> rc.save("~/run-17").names
        ['a', 'model']
        """
        return saving.save(self, path, names)

    def load(self, path: str | os.PathLike[str]) -> list[str]:
        """Bring back what `save` has saved; returns the names.

        If there are as many engines as then, each gets what the one with its id had. Another number of
        engines shares out anew what was scattered, and all get what all had; a warning names the rest.

        Parameters
        ----------
        path : str or path
            The directory, as the engines see it.

        Examples
        --------
        >>> rc.load("~/run-17")
        ['a', 'model']
        """
        return saving.load(self, path)

    def restart(self, targets: Any = None, timeout: float = 60.0) -> list[int]:
        """Start engines anew, with empty namespaces, and wait until they are there.

        By default all: they are ended, however they hang, and new ones take their ids, in about a second.
        What was asked of them before fails with `EngineError`.

        If only some of them are to be new, the others keep their namespaces: what was asked before is done
        first, what is asked meanwhile waits, and then ``comm`` is made anew. In C, ``MPI_COMM_WORLD`` can't
        be mended: for that, all must be started anew.

        Parameters
        ----------
        targets : int, sequence of int or 'dead', optional
            Which; 'dead' stands for all that have died. By default all.
        timeout : float
            If only some are to be new, the seconds that the others have to end what they do.

        Returns
        -------
        list of int
            The engines that are new.

        Raises
        ------
        TimeoutError
            When they have not: it tells which.
        MPIDirectError
            When it can't be done, and why. All is as it was then, but that engines that were to be ended are.

        Examples
        --------
        >>> rc[2].apply(os._exit, 1).wait()
        >>> rc.ids
        [0, 1, 3]
        >>> rc.restart("dead")
        [2]
        >>> rc.restart()
        [0, 1, 2, 3]
        """
        wanted = self._replaceable(targets)
        if not wanted:
            return []
        answer = self._session.query("restart", wanted, timeout, timeout + START_TIMEOUT)
        if "busy" in answer:
            busy = engines_in_words(answer["busy"])
            raise errors.TimeoutError(
                f"Nothing was replaced: {busy} did not end what was asked before within {timeout:g} s. "
                "rc.interrupt() ends it."
            )
        return answer["replaced"]

    def resize(self, n: int) -> list[int]:
        """End all engines and start `n` others, in the same job.

        All that the engines have in their namespaces is lost: save it before. What was asked of them before
        fails with `EngineError`, as after `restart`. Clients stay connected.

        Parameters
        ----------
        n : int
            How many engines there are then; on one host, any number.

        Returns
        -------
        list of int
            Their ids.

        Raises
        ------
        MPIDirectError
            When it can't be done, and why.

        Examples
        --------
        >>> rc.resize(2)
        [0, 1]
        >>> rc.resize(4)
        [0, 1, 2, 3]
        """
        n = operator.index(n)
        if n < 1:
            raise ValueError(f"a cluster has at least one engine, not {n}")
        answer: dict[str, list[int]] = self._session.query("resize", [], n, START_TIMEOUT + START_TIMEOUT)
        return answer["replaced"]

    def _replaceable(self, targets: Any) -> list[int]:
        if targets is None:
            return list(range(self.size))
        if targets == "dead":
            ids = self.ids
            return [engine for engine in range(self.size) if engine not in ids]
        chosen = [targets] if is_single_target(targets) else list(targets)
        for engine in chosen:
            if not hasattr(engine, "__index__") or not 0 <= engine.__index__() < self.size:
                raise IndexError(f"No such engine: {engine!r}. This cluster has engines 0 to {self.size - 1}")
        return [engine.__index__() for engine in chosen]
