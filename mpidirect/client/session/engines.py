"""The engines of a cluster, as a client knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, SupportsIndex

from ... import errors
from ...protocol import messages
from ..type_variables import EngineSelection

if TYPE_CHECKING:
    from typing_extensions import TypeIs

_ONLY_INT = {int}


class EngineDirectory:
    """The live engines of a cluster, and why the others ended.

    Parameters
    ----------
    check : callable
        Raises the error that ended the connection to the controller, if it has ended.
    wait : callable
        Waits until a condition holds; returns False after a number of seconds.

    Attributes
    ----------
    live : dict of int to EngineInfo
        The live engines by id. A change replaces this dict; it never modifies it.
    lost : dict of int to str
        Why engines ended, by id.
    size : int
        The number of engines that the cluster has when all are alive.
    starting : float
        Seconds within which all engines are started anew; 0 if no restart is under way.
    """

    def __init__(
        self, check: Callable[[], None], wait: Callable[[Callable[[], bool], float | None], bool]
    ) -> None:
        self.live: dict[int, messages.EngineInfo] = {}
        self.lost: dict[int, str] = {}
        self.size = 0
        self.starting = 0.0
        self._check = check
        self._wait = wait

    @property
    def ids(self) -> list[int]:
        """The ids of the live engines, in order."""
        return sorted(self.live)

    def start(self, welcome: messages.Welcome) -> None:
        """Take the engines from the controller's welcome, unless a later message has arrived before."""
        self.size, self.starting = welcome.size, welcome.starting
        if not self.live:
            self.live = {engine.id: engine for engine in welcome.engines}
            self.lost = {**welcome.lost, **self.lost}

    def change(self, news: messages.EnginesChanged | messages.Welcome) -> None:
        """Replace the live engines, and note why others ended."""
        self.live = {engine.id: engine for engine in news.engines}
        self.size, self.starting = news.size, news.starting
        reasons = {**self.lost, **news.lost}
        self.lost = {id: reason for id, reason in reasons.items() if id < self.size and id not in self.live}

    def clear(self) -> None:
        """Forget the live engines: the controller is gone."""
        self.live, self.starting = {}, 0.0

    def complete(self, wanted: int | None = None) -> bool:
        """Return whether `wanted` engines (by default all) live, or can never live."""
        wanted = self.size if wanted is None else wanted
        if self.starting:
            return False
        return len(self.live) >= wanted or self.size - len(self.lost) < wanted

    def resolve(self, targets: EngineSelection) -> list[int]:
        """Return the engine ids for `targets` of a user. While all engines start anew, wait for them first.

        Parameters
        ----------
        targets : 'all', None, int, slice or collection of int
            Engine ids. A slice selects from the live engines. None means all.

        Raises
        ------
        NoEnginesRegistered
            When no engine lives.
        EngineError
            When a target has died.
        IndexError
            When a target never existed.
        """
        if self.starting:
            self._wait(lambda: not self.starting, self.starting)
        kind = type(targets)
        if kind is int and targets in self.live:
            return [targets]
        if kind is list and (engines := self._if_all_live(targets)):
            return engines
        ids = self.ids
        if not ids:
            self._raise_no_engines()
        if targets is None or (isinstance(targets, str) and targets.lower() == "all"):
            return ids
        if isinstance(targets, (bool, str)):
            raise TypeError(f"{targets!r} not valid str target, must be 'all'")
        if is_single_target(targets):
            return [self._existing(targets.__index__(), ids)]
        if isinstance(targets, slice):
            return ids[targets]
        if not isinstance(targets, (tuple, list, range, set, frozenset)) and not hasattr(targets, "tolist"):
            raise TypeError(f"targets by int/slice/collection of ints only, not {type(targets)}")
        engines = [self._existing(target, ids) for target in targets]
        if len(set(engines)) != len(engines):
            raise ValueError(f"targets repeat an engine: {engines}")
        return engines

    def _raise_no_engines(self) -> None:
        self._check()
        raise errors.NoEnginesRegistered(
            "All engines of this cluster have ended. rc.restart() starts new ones."
            if self.lost
            else "The engines have not started yet: rc.wait_for_engines() waits for them."
        )

    def _if_all_live(self, targets: Any) -> list[int] | None:
        """Return a copy of `targets` if they are distinct live engines: the usual case, without a search."""
        if set(map(type, targets)) != _ONLY_INT:
            return None
        distinct = set(targets)
        return [*targets] if len(distinct) == len(targets) and distinct <= self.live.keys() else None

    def _existing(self, target: Any, ids: list[int]) -> int:
        """Return the id of one live engine; a negative target counts from the end of `ids`."""
        if isinstance(target, bool) or not hasattr(target, "__index__"):
            raise TypeError(f"targets by int/slice/collection of ints only, not {type(target)}")
        engine: int = target.__index__()
        if engine < 0:
            engine = ids[engine] if -len(ids) <= engine else engine
        if engine not in self.live:
            if engine in self.lost:
                raise errors.EngineError("EngineError", self.lost[engine], "", {"engine_id": engine})
            raise IndexError(f"No such engine: {engine}. The engines are {errors.format_ids(ids)}")
        return engine


def is_single_target(targets: EngineSelection) -> TypeIs[SupportsIndex]:
    """Return whether `targets` is one engine id: the result is then a value, not a list.

    A numpy array has an ``__index__`` too, which raises.
    """
    return hasattr(targets, "__index__") and not getattr(targets, "ndim", 0)
