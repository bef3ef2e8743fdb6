"""The part of `Client` for what ipyparallel's hub does: records of calls, repeating and forgetting them.

A client knows its own calls while a user holds their results, and the latest ones. The controller knows the
results that wait for absent clients. Both are limited, so an old call may be unknown to both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import errors
from .calls.call import Call
from .records import PartsById, matches, part_id
from .result_queries import ResultQueries, request_id
from .results.hubresult import AsyncHubResult
from .results.metadata import Metadata, metadata_of
from .type_variables import EngineSelection


class HubQueries(ResultQueries):
    """The methods of `Client` on calls by their ids."""

    # -- records -----------------------------------------------------------------------------------------

    @property
    def results(self) -> Mapping[str, Any]:
        """The results that have arrived, by the ids of their parts (`AsyncResult.msg_ids`).

        Examples
        --------
        >>> rc.results[ar.msg_ids[0]]
        1024
        """
        return PartsById(self._session.calls.known, lambda call, key: call.value(key), answered=True)

    @property
    def metadata(self) -> Mapping[str, Metadata]:
        """What is known about the parts of calls, by their ids (`AsyncResult.msg_ids`).

        Examples
        --------
        >>> rc.metadata[ar.msg_ids[0]].status
        'ok'
        """
        known = self._session.calls.known
        return PartsById(known, metadata_of, answered=False)

    def result_status(self, msg_ids: Any, status_only: bool = True) -> dict[str, Any]:
        """Return which results have arrived.

        Parameters
        ----------
        msg_ids : id, AsyncResult, index to `history`, or a list of them
            The calls.
        status_only : bool
            With False, the returned dict has the results too, by their ids.

        Returns
        -------
        dict
            ``pending`` and ``completed``, lists of the ids of parts.

        Raises
        ------
        ResultExpired
            When an id is no longer known.

        Examples
        --------
        >>> rc.result_status(ar)
        {'pending': [], 'completed': ['5ad41f0c6b1f2e03-7:0', '5ad41f0c6b1f2e03-7:1']}
        """
        slots = [slot for id in self._ids_of(msg_ids) for slot in self._slots_of(id)]
        done = [(call, key) for call, key in slots if key in call.replies]
        answer: dict[str, Any] = {
            "pending": [part_id(*slot) for slot in slots if slot not in done],
            "completed": [part_id(*slot) for slot in done],
        }
        if not status_only:
            answer.update((part_id(call, key), call.value(key)) for call, key in done)
        return answer

    def db_query(self, query: dict[str, Any], keys: Any = None) -> list[dict[str, Any]]:
        """Return the records of calls that match a query.

        This searches this client's calls whose results a user holds, and the latest calls. Of absent
        clients, only the ids of the results that wait for them are known.

        Parameters
        ----------
        query : dict
            For each key of a record a value, or operators as MongoDB has them (``$in``, ``$gt``, …).
        keys : str or list of str, optional
            The keys that the returned records have; by default all.

        Returns
        -------
        list of dict
            The records; each has a ``msg_id``.

        Examples
        --------
        >>> rc.db_query({"engine_id": 1, "status": "error"}, keys=["msg_id", "completed"])
        """
        wanted = [keys] if isinstance(keys, str) else keys
        found = []
        for record in self._records():
            if all(matches(record, key, condition) for key, condition in query.items()):
                selected = record if wanted is None else {key: record.get(key) for key in wanted}
                found.append({**selected, "msg_id": record["msg_id"]})
        return found

    def _records(self) -> Iterator[dict[str, Any]]:
        calls = list(self._session.calls.known.values())
        for call in calls:
            for key in call.targets:
                entry = metadata_of(call, key)
                yield {**entry, "client_uuid": call.id.rpartition("-")[0], "method": call.method}
        known = {call.id for call in calls}
        for id in self.hub_history():
            if id not in known:
                yield {"msg_id": id, "client_uuid": id.rpartition("-")[0], "completed": None}

    # -- repeating ---------------------------------------------------------------------------------------

    def resubmit(
        self,
        indices_or_msg_ids: Any = None,
        metadata: dict[str, Any] | None = None,
        block: bool | None = None,
    ) -> AsyncHubResult:
        """Repeat calls of this client, on the same engines.

        Parameters
        ----------
        indices_or_msg_ids : id, index to `history`, AsyncResult, or a list of them; optional
            The calls; by default the latest one.
        metadata : dict, optional
            Accepted for ipyparallel; not used.
        block : bool, optional
            Whether to wait for the results; by default as `block` of the client.

        Returns
        -------
        AsyncHubResult
            The results of the new calls.

        Raises
        ------
        ResultExpired
            When a call is no longer known, or its data was too large to be kept.

        Examples
        --------
        >>> rc.resubmit(ar).get()
        [1024, 1024, 1024, 1024]
        """
        index = -1 if indices_or_msg_ids is None else indices_or_msg_ids
        ids = dict.fromkeys(map(request_id, self._ids_of(index)))
        calls = [self._repeat(id) for id in ids]
        single = len(calls) == 1 and len(calls[0].targets) == 1
        result = AsyncHubResult(self._session, calls, method=calls[0].method, single=single)
        for call in calls:
            call.holders -= 1
        if self.block if block is None else block:
            result.wait()
        return result

    def _repeat(self, id: str) -> Call:
        """Send the request of a call again."""
        call = self._session.calls.known.get(id)
        if call is None or call.resubmit is None:
            reason = "is not known here any more" if call is None else "had large data, which is not kept"
            raise errors.ResultExpired(f"{id!r} {reason}: make the call again")
        return call.resubmit()

    # -- forgetting --------------------------------------------------------------------------------------

    def purge_local_results(self, jobs: Any = (), targets: EngineSelection = ()) -> None:
        """Forget results that this client keeps. The holder of an `AsyncResult` keeps its result.

        Parameters
        ----------
        jobs : 'all', id, AsyncResult, or a list of them; optional
            The calls.
        targets : optional
            Engine ids: all calls on these engines.

        Raises
        ------
        RuntimeError
            When a call is still under way.

        Examples
        --------
        >>> rc.purge_local_results("all")
        """
        ids = self._ids_to_purge(jobs, targets)
        if pending := self.outstanding & ids:
            raise RuntimeError(f"Can't purge outstanding tasks: {pending}")
        self._session.calls.forget(ids)

    def purge_hub_results(self, jobs: Any = (), targets: EngineSelection = ()) -> None:
        """Have the controller forget results that wait for absent clients; `hub_history` lists them.

        Parameters
        ----------
        jobs : 'all', id, AsyncResult, or a list of them; optional
            The calls.
        targets : optional
            Accepted for ipyparallel; the controller keeps results by call, not by engine.

        Examples
        --------
        >>> rc.purge_hub_results("all")
        """
        if not isinstance(jobs, str) and not jobs and not _is_given(targets):
            raise ValueError("Must specify at least one of `targets` and `jobs`")
        everything = isinstance(jobs, str) and jobs == "all"
        ids = None if everything else [request_id(id) for id in self._ids_of(jobs)]
        self._session.query("purge", [], ids)

    def purge_results(self, jobs: Any = (), targets: EngineSelection = ()) -> None:
        """Forget results here and at the controller.

        Parameters
        ----------
        jobs, targets : optional
            See `purge_local_results` and `purge_hub_results`.

        Examples
        --------
        >>> rc.purge_results("all")
        """
        self.purge_local_results(jobs, targets)
        self.purge_hub_results(jobs, targets)

    def purge_everything(self) -> None:
        """Forget all results, here and at the controller, and the history.

        Examples
        --------
        >>> rc.purge_everything()
        """
        self.purge_results("all")
        self.history = []

    def _ids_to_purge(self, jobs: Any, targets: EngineSelection) -> set[str]:
        known = self._session.calls.known
        if isinstance(jobs, str) and jobs == "all":
            return set(known)
        if not _is_given(jobs) and not _is_given(targets):
            raise ValueError("Must specify at least one of `targets` and `jobs`")
        ids = {request_id(id) for id in self._ids_of(jobs)} if _is_given(jobs) else set()
        if _is_given(targets):
            engines = set(self._session.engines.resolve(targets))
            for call in list(known.values()):
                if engines & {call.engine_of(key) for key in call.targets}:
                    ids.add(call.id)
        return ids

    # -- kept for ipyparallel ----------------------------------------------------------------------------

    def spin(self) -> None:
        """Read the messages that have arrived; this happens by itself."""
        self._session.poll()

    def spin_thread(self, interval: float = 1) -> None:
        """Do nothing: results arrive by themselves."""

    def stop_spin_thread(self) -> None:
        """Do nothing: results arrive by themselves."""


def _is_given(argument: Any) -> bool:
    """Return whether a user has given an argument; engine 0 counts as given."""
    return isinstance(argument, int) or bool(argument)
