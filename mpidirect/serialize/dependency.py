"""Dependencies of load-balanced tasks: tasks that must have ended before another task begins."""

from __future__ import annotations

from typing import Any

from ..protocol.messages import Prerequisites


class Dependency(set[str]):
    """Tasks that must have ended before another one begins.

    Parameters
    ----------
    dependencies : AsyncResult, str, or a collection of these
        Results of a `LoadBalancedView`, or their ids.
    all : bool
        Whether all these tasks must have ended, or any one of them.
    success, failure : bool
        Whether a successful task counts, and whether a failed task counts.

    Raises
    ------
    ValueError
        When neither success nor failure counts, or when an item is neither a result nor an id.

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
        ids = _ids_of(dependencies)
        if ids is None:
            ids = []
            for item in dependencies:
                found = _ids_of(item)
                if found is None:
                    raise ValueError(f"Invalid dependency: {item!r} is no result and no id")
                ids += found
        super().__init__(ids)

    def check(self, completed: set[str], failed: set[str] | None = None) -> bool:
        """Return whether the dependency is met.

        Parameters
        ----------
        completed : set of str
            The ids of tasks that have succeeded.
        failed : set of str, optional
            The ids of tasks that have failed.

        Examples
        --------
        >>> Dependency(["a", "b"]).check({"a"})
        False
        """
        counted = (completed if self.success else set()) | ((failed or set()) if self.failure else set())
        return self <= counted if self.all else bool(self & counted) or not self

    def unreachable(self, completed: set[str], failed: set[str] | None = None) -> bool:
        """Return whether the dependency can't be met any more.

        Parameters
        ----------
        completed : set of str
            The ids of tasks that have succeeded.
        failed : set of str, optional
            The ids of tasks that have failed.

        Examples
        --------
        >>> Dependency(["a", "b"]).unreachable(set(), {"a"})
        True
        """
        excluded = (set() if self.success else completed) | (set() if self.failure else (failed or set()))
        return bool(self & excluded) if self.all else bool(self) and self <= excluded

    def as_dict(self) -> dict[str, Any]:
        """Return the dependency as a dictionary, as ipyparallel does.

        Examples
        --------
        >>> Dependency(["a"]).as_dict()
        {'dependencies': ['a'], 'all': True, 'success': True, 'failure': False}
        """
        return {"dependencies": list(self), "all": self.all, "success": self.success, "failure": self.failure}

    @staticmethod
    def of(given: Any) -> Prerequisites | None:
        """Return the controller's form of a dependency; None if there is none.

        Parameters
        ----------
        given : Dependency, dict, AsyncResult, str, a collection of these, or None
            The dependency, as a user gives it.

        Raises
        ------
        ValueError
            When `given` is no dependency.
        """
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
        return Prerequisites(sorted(given), given.all, given.success, given.failure)


def _ids_of(item: Any) -> list[str] | None:
    """Return the ids of a result, or the one id of a text; None for anything else.

    A result of whole requests has one id for each request. Other results have one for each task.
    """
    if isinstance(item, str):
        return [item]
    if getattr(item, "_has_all_slots", False):
        return [call.id for call in item._calls]
    ids: list[str] | None = getattr(item, "msg_ids", None)
    return ids
