"""The client: a connection to a cluster, and the views of its engines."""

from __future__ import annotations

import time
import warnings
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

from .. import _cluster_lookup, errors
from ..config import ipyparallel_keywords
from ..files.connection_file import ConnectionInfo
from ..files.profiles import split_name
from .connection import discovery
from .connection.connection import DEFAULT_PATIENCE
from .display import html
from .display.debugger import DebuggerPrompt
from .display.tracebacks import trim_traceback, trim_tracebacks
from .lifecycle import EngineLifecycle
from .magics.activation import offer
from .results.outputs import ExecuteReply as ExecuteReply  # ipyparallel has this name here
from .session.opening import await_session, open_session

_ENGINE_FACTS = ("host", "pid", "local_rank", "device")


@trim_tracebacks
class Client(EngineLifecycle):
    """A connection to a cluster of engines.

    Parameters
    ----------
    connection_info : str, path or dict, optional
        The connection file, or its contents; by default the connection file of the profile.
    profile : str, optional
        The profile of the cluster.
    timeout : float, optional
        Seconds that the controller has to answer, 10 by default. If `timeout` is given, the client also
        waits for a cluster that does not exist yet and, with a profile, for engines that still start.
    sshserver : str
        A host to reach the controller through, as ssh takes it (``me@login``); by default the setting ``ssh``
        of the profile. If this host has no connection file of the profile, the client fetches it from the
        other host.
    patience : float
        Seconds to try for a new connection when this one breaks and the controller may be alive.
    **contents
        The contents of a connection file, as keywords; and ipyparallel's keywords ``url_file``, ``cluster``,
        ``profile_dir`` and ``cluster_id``. A warning names keywords without a meaning here.

    Attributes
    ----------
    block : bool
        Whether calls of new views wait for their results.
    profile : str
        The profile of the cluster.

    Raises
    ------
    ClusterNotFound
        When no cluster of the profile runs.
    ConnectionFailed
        When the controller does not answer in time; `AuthenticationFailed` when it refuses the keys.

    Examples
    --------
    >>> rc = Client(profile="mpi")
    >>> rc.ids
    [0, 1, 2, 3]
    >>> dview = rc[:]  # all engines
    >>> rc[::2], rc[1]
    (<DirectView [0, 2]>, <DirectView 1>)
    """

    @trim_traceback
    def __init__(
        self,
        connection_info: str | Path | dict[str, Any] | ConnectionInfo | None = None,
        *,
        profile: str | None = None,
        timeout: float | None = None,
        sshserver: str = "",
        patience: float = DEFAULT_PATIENCE,
        **contents: Any,
    ) -> None:
        connection_info = contents.pop("url_file", None) or connection_info
        given = contents.get("cluster")  # in a connection file, the cluster's id has this name
        self._cluster = None if isinstance(given, str) else contents.pop("cluster", None)
        named = contents.pop("profile_dir", None), contents.pop("cluster_id", "")
        profile = ipyparallel_keywords.profile_name(profile or "", *named) if any(named) else profile
        ipyparallel_keywords.drop_ignored("Client", contents)
        if not (sshserver or connection_info or contents):
            sshserver = discovery.server_of(profile or "")
        find = partial(discovery.find, connection_info, profile or "", contents, sshserver)
        waits = timeout is not None and timeout >= 0
        deadline = time.monotonic() + (timeout or 0)
        try:
            session = (
                await_session(find, deadline, patience, sshserver)
                if waits
                else open_session(find, timeout, patience, sshserver)
            )
        except errors.ClusterNotFound as e:
            raise e if connection_info or sshserver else discovery.absent(e, profile or "") from None
        super().__init__(session)
        session.debuggers.source = DebuggerPrompt(session)
        name = session.info.profile or profile or "default"
        self.profile = split_name(name)[0]
        if session.python_mismatch:
            warnings.warn(session.python_mismatch, stacklevel=2)
        if waits and connection_info is None:
            try:
                session.wait(session.engines.complete, max(0.0, deadline - time.monotonic()))
            except BaseException:
                self.close()
                raise
        offer(self)

    # -- the cluster -------------------------------------------------------------------------------------

    @property
    def cluster(self) -> Any:
        """The `Cluster`, by which the cluster can be stopped and examined.

        Raises
        ------
        ClusterNotFound
            When the cluster was not started under a profile of this machine.

        Examples
        --------
        >>> rc.cluster.stop_cluster_sync()
        """
        if self._cluster is None:
            self._cluster = _cluster_lookup.cluster_of_profile(self._session.info.profile or self.profile)
        return self._cluster

    @property
    def engines_info(self) -> dict[int, dict[str, Any]]:
        """The host, process id, local rank and GPU of each live engine, by engine id.

        ``local_rank`` counts the engines of a host. ``device`` is empty where an engine sees no GPU.

        Examples
        --------
        >>> rc.engines_info[3]
        {'host': 'gpu02', 'pid': 4711, 'local_rank': 1, 'device': 'CUDA 1'}
        """
        ids, live = self.ids, self._session.engines.live
        return {id: {name: getattr(live[id], name) for name in _ENGINE_FACTS} for id in ids}

    @property
    def facts(self) -> dict[str, Any]:
        """What the controller said about the cluster: its MPI, versions, hosts and limits.

        Examples
        --------
        >>> rc.facts["fault_tolerance"]
        {'deaths': True, 'replaces': True, 'restarts': True}
        """
        return self._session.facts

    @property
    def interrupt_on_error(self) -> bool:
        """Whether a call that fails on one engine is interrupted on the others; False by default.

        Examples
        --------
        >>> rc.interrupt_on_error = True
        """
        return self._session.interrupt_on_error

    @interrupt_on_error.setter
    def interrupt_on_error(self, value: bool) -> None:
        self._session.interrupt_on_error = value

    @property
    def time_left(self) -> float | None:
        """Seconds until the walltime ends the cluster's job; None without a walltime.

        Examples
        --------
        >>> rc.time_left
        3541.2
        """
        return self._session.time_left()

    # -- the end -----------------------------------------------------------------------------------------

    def close(self, linger: float | None = None) -> None:
        """Close the connection; the engines continue what they do.

        Parameters
        ----------
        linger : float, optional
            Seconds to send what is still to be sent; 1 by default.

        Examples
        --------
        >>> rc.close()
        """
        self._session.close(1.0 if linger is None else linger)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __await__(self) -> Generator[Any, None, Client]:
        """Return this client: ipyparallel's ``await cluster.connect_client()`` works."""
        yield from ()
        return self

    def __repr__(self) -> str:
        connection = self._session.connection
        state = "closed" if connection.closed else "lost" if connection.error else "connected"
        return f"<Client {self.profile!r}: {len(self._session.engines.live)} engines, {state}>"

    def _repr_html_(self) -> str:
        return html.engines(self._session, self._session.engines.ids, repr(self))

    def _retrieval(self, call_id: str) -> str:
        """Return the text to append to this object's name to get a call's result; empty if unknown."""
        if call_id not in self._session.calls.known:
            return ""
        return f".get_result({self.history.index(call_id)}).get()"
