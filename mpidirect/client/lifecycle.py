"""The part of `Client` that starts and ends engines, and saves and loads their namespaces."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

from .. import errors
from . import saving
from .display.progress import wait_with_bar
from .results.future import in_thread
from .results.outputs import at_prompt, is_confirmed
from .results.pending import limit_of
from .saving import Saved
from .session.engines import is_single_target
from .session.queries import engines_in_words
from .type_variables import EngineSelection
from .view_factory import ViewFactory

START_TIMEOUT = 60.0  # seconds that new engines may take, beyond the time for the engines that stay
NAMESPACES_END = "The namespaces of all engines will be lost; rc.save(path) keeps them."
BAR_INTERVAL = 0.1  # seconds between two updates of a progress bar


class EngineLifecycle(ViewFactory):
    """The methods of `Client` that start, replace and end engines, and save their namespaces."""

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
            The number of engines.
        timeout : float, optional
            Seconds to wait; None or -1: without limit.
        block : bool
            If False, return a future at once instead.
        interactive : bool, optional
            Whether to show a progress bar; by default at a prompt, unless the engines live already.
        widget : bool, optional
            Accepted for ipyparallel; the bar chooses its form by itself.

        Returns
        -------
        None, or a `concurrent.futures.Future` where `block` is False.

        Examples
        --------
        >>> rc.wait_for_engines(4, timeout=60)

        Raises
        ------
        TimeoutError
            When fewer engines live after `timeout` seconds.
        EngineError
            When too many engines have died to reach `n`.
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
            raise errors.EngineError("EngineError", f"there can't be {wanted} engines: {reasons}")

    def save(self, path: str | os.PathLike[str], names: Sequence[str] | None = None) -> Saved:
        """Save the engines' namespaces to files, for `load` in this job or a later one.

        Each engine writes a file of its own, all at the same time. An earlier save in the same directory is
        replaced when the new one is complete.

        Parameters
        ----------
        path : str or path
            A directory, as the engines see it; on a shared file system if engines are on several hosts.
        names : sequence of str, optional
            The names to save; by default all that the user has set.

        Returns
        -------
        Saved
            The saved names, and the names whose values can't be pickled, which a warning lists too. Use
            `copyreg.pickle` on the engines to register how objects of a type are pickled.

        Examples
        --------
        >>> rc.save("~/run-17").names
        ['a', 'model']
        """
        return saving.save(self, path, names)

    def load(self, path: str | os.PathLike[str]) -> list[str]:
        """Load the names that `save` has saved into the engines' namespaces.

        With the same number of engines, each engine gets the values of the engine with its id. With another
        number, scattered data is divided anew, and all engines get the values that all engines had; a warning
        names the rest.

        Parameters
        ----------
        path : str or path
            The directory, as the engines see it.

        Returns
        -------
        list of str
            The loaded names.

        Raises
        ------
        MPIDirectError
            When nothing was saved in that directory, or in a form that this version does not know.

        Examples
        --------
        >>> rc.load("~/run-17")
        ['a', 'model']
        """
        return saving.load(self, path)

    def restart(self, targets: EngineSelection = None, timeout: float = 60.0) -> list[int]:
        """Replace engines by new ones with empty namespaces, and wait until the new ones are ready.

        By default all engines are replaced, even if they hang; this takes about a second. Their calls fail
        with `EngineError`.

        If only some engines are replaced, the others keep their namespaces. Earlier calls are completed
        first, later calls wait, and then ``comm`` is made anew. ``MPI_COMM_WORLD`` of C code can't be made
        anew: only a restart of all engines repairs it.

        Parameters
        ----------
        targets : int, slice, sequence of int, 'all' or 'dead', optional
            The engines to replace; 'dead' means all that have died. By default all.
        timeout : float
            If only some engines are replaced, the seconds that the others have to complete earlier calls.

        Returns
        -------
        list of int
            The ids of the new engines.

        Raises
        ------
        TimeoutError
            When other engines have not completed earlier calls in time; the error names them.
        MPIDirectError
            When the restart fails; the error says why. The engines to replace have then ended, and nothing
            else has changed.

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
        replaced = self._engines_to_replace(targets)
        if not replaced:
            return []
        answer = self._session.query("restart", replaced, timeout, timeout + START_TIMEOUT)
        if "busy" in answer:
            busy = engines_in_words(answer["busy"])
            raise errors.TimeoutError(
                f"Nothing was replaced: {busy} did not end earlier calls within {timeout:g} s. "
                "rc.interrupt() ends these calls; if not, rc.restart() of all engines does."
            )
        return list(answer["replaced"])

    def resize(self, n: int, *, ask: bool | None = None) -> list[int]:
        """End all engines and start `n` others, in the same job.

        The contents of the engines' namespaces are lost: `save` them before, and `load` them later. At a
        prompt a question says so before anything ends. Earlier calls fail with `EngineError`, as after
        `restart`. Clients stay connected.

        Parameters
        ----------
        n : int
            The new number of engines; on one host, any number.
        ask : bool, optional
            Whether to ask for a confirmation; by default at a prompt, and not in a program.

        Returns
        -------
        list of int
            The ids of the new engines; empty if the user did not confirm.

        Raises
        ------
        MPIDirectError
            When the engines can't be started; the error says why.

        Examples
        --------
        >>> rc.resize(2)
        The namespaces of all engines will be lost; rc.save(path) keeps them. Go on? [y/N]: y
        [0, 1]
        >>> rc.resize(4, ask=False)
        [0, 1, 2, 3]
        """
        n = operator.index(n)
        if n < 1:
            raise ValueError(f"a cluster has at least one engine, not {n}")
        if (at_prompt() if ask is None else ask) and not is_confirmed(f"{NAMESPACES_END} Go on? [y/N]: "):
            return []
        answer: dict[str, list[int]] = self._session.query("resize", [], n, START_TIMEOUT + START_TIMEOUT)
        return list(answer["replaced"])

    def _engines_to_replace(self, targets: EngineSelection) -> list[int]:
        """Return the ids, also of dead engines, that the `targets` of `restart` mean."""
        if targets is None:
            return list(range(self.size))
        if isinstance(targets, slice):
            return list(range(self.size)[targets])
        if isinstance(targets, str):
            if targets not in ("all", "dead"):
                raise TypeError(f"{targets!r} not valid str target, must be 'all' or 'dead'")
            ids = self.ids if targets == "dead" else []
            return [engine for engine in range(self.size) if engine not in ids]
        engines = [targets] if is_single_target(targets) else list(targets)
        for engine in engines:
            if not hasattr(engine, "__index__") or not 0 <= engine.__index__() < self.size:
                raise IndexError(f"No such engine: {engine!r}. This cluster has engines 0 to {self.size - 1}")
        return [engine.__index__() for engine in engines]
