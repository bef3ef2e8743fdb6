"""Questions about calls and their results, as ipyparallel's hub answers them.

A client knows its own calls while somebody holds them, and the latest ones; the controller knows what waits
for clients that are away. Both are bounded, so an old call may be known to nobody any more.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, cast

from .. import errors
from .results.asyncresult import AsyncResult
from .results.call import Call
from .results.lookup import request_id
from .results.metadata import Metadata, metadata_of

if TYPE_CHECKING:
    from collections import deque

    from .client import Client


class AsyncHubResult(AsyncResult):
    """The result of a call that was made before, or by another client."""


class HubQueries:
    """What a `Client` tells of calls by their ids."""

    block: bool
    history: list[str]
    _calls: dict[str, Call]
    _known: MutableMapping[str, Call]
    _recent: deque[Call]
    _recent_bytes: int

    if TYPE_CHECKING:

        def _query(self, what: str, targets: list[int], value: Any = None, timeout: float = 10.0) -> Any: ...

        def _id(self, index: Any) -> str: ...

        def _slots_of(self, id: str) -> list[tuple[Call, int]]: ...

        def _targets(self, targets: Any) -> list[int]: ...

        def hub_history(self) -> list[str]: ...

        @property
        def outstanding(self) -> set[str]: ...

    # -- by id -----------------------------

    @property
    def results(self) -> Mapping[str, Any]:
        """The results that are here, by the ids of their parts (`AsyncResult.msg_ids`).

        Examples
        --------
        >>> rc.results[ar.msg_ids[0]]
        1024
        """
        return _Parts(self._known, lambda call, key: call.value(key), ended=True)

    @property
    def metadata(self) -> Mapping[str, Metadata]:
        """What is known of the parts of calls, by their ids."""
        return _Parts(self._known, lambda call, key: metadata_of(call, key, None), ended=False)

    def result_status(self, msg_ids: Any, status_only: bool = True) -> dict[str, Any]:
        """Which of these results are there.

        Parameters
        ----------
        msg_ids : id, AsyncResult, index to `history`, or a list of them
            Which.
        status_only : bool
            With False the results are there as well, by their ids.

        Returns
        -------
        dict
            ``pending`` and ``completed``, lists of the ids of parts.

        Raises
        ------
        ResultExpired
            When an id stands for nothing any more.
        """
        slots = [slot for id in self._ids(msg_ids) for slot in self._slots_of(id)]
        done = [(call, key) for call, key in slots if key in call.replies]
        answer: dict[str, Any] = {
            "pending": [_name(*slot) for slot in slots if slot not in done],
            "completed": [_name(*slot) for slot in done],
        }
        if not status_only:
            answer.update((_name(call, key), call.value(key)) for call, key in done)
        return answer

    def _ids(self, jobs: Any) -> list[str]:
        """The ids that a user means."""
        single = isinstance(jobs, (str, int, AsyncResult)) or not isinstance(jobs, Iterable)
        ids: list[str] = []
        for job in [jobs] if single else jobs:
            ids += job.msg_ids if isinstance(job, AsyncResult) else [self._id(job)]
        return ids

    def db_query(self, query: dict[str, Any], keys: Any = None) -> list[dict[str, Any]]:
        """Records of calls that match a query.

        Known are this client's calls that somebody holds, and the latest ones; of clients that are away, the
        ids of what waits for them.

        Parameters
        ----------
        query : dict
            As MongoDB's: a value, or operators (``$in``, ``$gt``, …), for each key of a record.
        keys : str or list of str, optional
            Which keys the records have; by default all.

        Examples
        --------
        >>> rc.db_query({"engine_id": 1, "status": "error"}, keys=["msg_id", "completed"])
        """
        wanted = [keys] if isinstance(keys, str) else keys
        found = []
        for record in self._records():
            if all(_matches(record, key, test) for key, test in query.items()):
                chosen = record if wanted is None else {k: record.get(k) for k in wanted}
                found.append({**chosen, "msg_id": record["msg_id"]})
        return found

    def _records(self) -> Iterator[dict[str, Any]]:
        here = list(self._known.values())
        for call in here:
            for key in call.targets:
                entry = metadata_of(call, key, None)
                yield {**entry, "client_uuid": call.id.rpartition("-")[0], "method": call.method}
        known = {call.id for call in here}
        for id in self.hub_history():
            if id not in known:
                yield {"msg_id": id, "client_uuid": id.rpartition("-")[0], "completed": None}

    def resubmit(
        self,
        indices_or_msg_ids: Any = None,
        metadata: dict[str, Any] | None = None,
        block: bool | None = None,
    ) -> AsyncHubResult:
        """Make calls of this client once more, on the same engines.

        Parameters
        ----------
        indices_or_msg_ids : id, index to `history`, AsyncResult, or a list of them; optional
            Which; by default the latest call.
        metadata : dict, optional
            As in ipyparallel; not used.
        block : bool, optional
            Whether to wait.

        Raises
        ------
        ResultExpired
            When the call is not known here any more, or had large data, which is not kept.
        """
        index = -1 if indices_or_msg_ids is None else indices_or_msg_ids
        calls: list[Call] = []
        for id in dict.fromkeys(map(request_id, self._ids(index))):
            call = self._known.get(id)
            if call is None or call.again is None:
                why = (
                    "had large data, which is not kept" if call is not None else "is not known here any more"
                )
                raise errors.ResultExpired(f"{id!r} {why}: make the call again")
            if not call.ready:
                raise ValueError(f"{id!r} is under way: only what has ended can be made again")
            calls.append(call.again())
        single = len(calls) == 1 and len(calls[0].targets) == 1
        result = AsyncHubResult(cast("Client", self), calls, method=calls[0].method, single=single)
        for call in calls:
            call.holders -= 1
        if self.block if block is None else block:
            result.wait()
        return result

    # -- forgetting -----------------------------

    def purge_local_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """Forget results here; who holds an `AsyncResult` keeps it.

        Parameters
        ----------
        jobs : 'all', id, AsyncResult, or a list of them; optional
            Which.
        targets : optional
            All results of calls on these engines.

        Raises
        ------
        RuntimeError
            When one of them is not there yet.
        """
        ids = self._purged(jobs, targets)
        if pending := self.outstanding & ids:
            raise RuntimeError(f"Can't purge outstanding tasks: {pending}")
        for call in [call for call in self._recent if call.id in ids]:
            self._recent.remove(call)
            self._recent_bytes -= call.size
        for id in ids:
            self._known.pop(id, None)

    def purge_hub_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """Have the controller forget what waits for clients that are away; `hub_history` lists it.

        Parameters
        ----------
        jobs : 'all', id, AsyncResult, or a list of them; optional
            Which.
        targets : optional
            As in ipyparallel; the controller keeps results by their calls.
        """
        if not isinstance(jobs, str) and not jobs and not _given(targets):
            raise ValueError("Must specify at least one of `targets` and `jobs`")
        everything = isinstance(jobs, str) and jobs == "all"
        self._query("purge", [], None if everything else [request_id(id) for id in self._ids(jobs)])

    def purge_results(self, jobs: Any = (), targets: Any = ()) -> None:
        """`purge_local_results` and `purge_hub_results`."""
        self.purge_local_results(jobs, targets)
        self.purge_hub_results(jobs, targets)

    def purge_everything(self) -> None:
        """Forget all results, here and at the controller, and the history."""
        self.purge_results("all")
        self.history = []

    def _purged(self, jobs: Any, targets: Any) -> set[str]:
        if isinstance(jobs, str) and jobs == "all":
            return set(self._known)
        if not _given(jobs) and not _given(targets):
            raise ValueError("Must specify at least one of `targets` and `jobs`")
        ids = {request_id(id) for id in self._ids(jobs)} if _given(jobs) else set()
        if _given(targets):
            engines = set(self._targets(targets))
            known = list(self._known.values())
            ids |= {c.id for c in known if engines & {c.engine_of(key) for key in c.targets}}
        return ids

    # -- what ipyparallel needs, and nothing here -----------------------------

    def spin_thread(self, interval: float = 1) -> None:
        """Results come in by themselves: this does nothing."""

    def stop_spin_thread(self) -> None:
        """Results come in by themselves: this does nothing."""


def _given(what: Any) -> bool:
    """Whether a user has given anything: engine 0 is something."""
    return isinstance(what, int) or bool(what)


def _name(call: Call, key: int) -> str:
    return f"{call.id}:{key}"


class _Parts(Mapping[str, Any]):
    """Something of each part of the calls that are known."""

    def __init__(self, known: Mapping[str, Call], get: Callable[[Call, int], Any], ended: bool) -> None:
        self._calls = known
        self._get = get
        self._ended = ended

    def __getitem__(self, id: str) -> Any:
        request, _, part = id.partition(":")
        call = self._calls.get(request)
        if call is None or (part and not part.isdigit()):
            raise KeyError(id)
        keys = [int(part)] if part else list(call.targets)
        if any(key not in (call.replies if self._ended else call.targets) for key in keys):
            raise KeyError(id)
        values = [self._get(call, key) for key in keys]
        return values if len(values) > 1 else values[0]

    def __iter__(self) -> Iterator[str]:
        for call in list(self._calls.values()):
            for key in list(call.replies) if self._ended else call.targets:
                yield _name(call, key)

    def __len__(self) -> int:
        return sum(1 for _ in self)


_TESTS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": operator.eq,
    "$ne": operator.ne,
    "$lt": operator.lt,
    "$lte": operator.le,
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$in": lambda value, those: value in those,
    "$nin": lambda value, those: value not in those,
    "$all": lambda value, those: all(each in value for each in those),
}


def _matches(record: dict[str, Any], key: str, test: Any) -> bool:
    value = record.get(key)
    if not isinstance(test, dict) or not any(str(name).startswith("$") for name in test):
        return bool(value == test)
    for name, against in test.items():
        if name == "$exists":
            matches = (key in record) == bool(against)
        elif name == "$not":
            matches = not _matches(record, key, against)
        elif name in _TESTS:
            ordered = name in ("$lt", "$lte", "$gt", "$gte")
            matches = not (ordered and value is None) and _TESTS[name](value, against)
        else:
            raise ValueError(
                f"db_query knows no operator {name!r}; it has {', '.join([*_TESTS, '$exists', '$not'])}"
            )
        if not matches:
            return False
    return True
