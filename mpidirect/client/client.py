"""The client: a connection to a cluster, and the views of its engines."""

from __future__ import annotations

import itertools
import operator
import platform
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from .. import errors
from ..config import ipyparallel_keywords
from ..files.connection_file import ConnectionInfo
from ..memory import process_memory
from ..protocol import messages
from .connection import discovery
from .connection.connection import PATIENCE, Connection
from .connection.tunnel import Tunnel
from .control import EngineControl
from .display import html
from .display.progress import wait_with_bar
from .display.tracebacks import quiet, quietly
from .hub import HubQueries
from .incoming import Incoming
from .magics.activation import offer
from .results import unseen_failures, waiting
from .results.call import Call
from .results.future import in_thread
from .results.lookup import KEPT_RESULTS, ResultQueries, limit
from .results.outputs import at_prompt
from .views.directview import DirectView
from .views.targets import is_one
from .walltime import Deadline

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster
    from .executor import ViewExecutor
    from .views.balancedview import LoadBalancedView
    from .views.directview import BroadcastView
    from .views.split import Groups

ANSWERING = 10.0  # seconds that a controller has to answer
SHORTEST = 0.1
LOOK = 0.1  # seconds between changes of a progress bar
AGAIN = 0.05  # seconds between looks for a cluster that is not there yet
KEPT_BYTES = 16 * 1024 * 1024
CALLS = ("apply", "map", "execute")  # errors name the operation, as the method is the user's function
_INT = {int}


@quiet
class Client(ResultQueries, HubQueries, EngineControl):
    """A connection to a cluster of engines.

    Parameters
    ----------
    connection_info : str, path or dict, optional
        The connection file, or its contents; by default that of the profile.
    profile : str
        The profile whose cluster is meant.
    timeout : float, optional
        Seconds until the controller must have answered, 10 by default. If it is given, a cluster that is not
        there yet is waited for as well; so are engines that still start, where a profile is given.
    sshserver : str
        A host to reach the controller through, as ssh takes it (``me@login``); if this host has no connection
        file of the profile, that of the home directory there is used.
    patience : float
        Seconds to try for a new connection, when this one breaks and the controller may be alive.
    **contents
        The contents of a connection file, as keywords; and ipyparallel's keywords: ``url_file``, ``cluster``,
        ``profile_dir``, ``cluster_id``. What has no meaning here is told.

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

    @quietly
    def __init__(
        self,
        connection_info: str | Path | dict[str, Any] | ConnectionInfo | None = None,
        *,
        profile: str | None = None,
        timeout: float | None = None,
        sshserver: str = "",
        patience: float = PATIENCE,
        **contents: Any,
    ) -> None:
        self.block = False
        self.interrupt_on_error = False  # of a call that fails on one engine, interrupt the other engines
        self.history: list[str] = []
        self._engines: dict[int, messages.EngineInfo] = {}
        self._lost: dict[int, str] = {}
        self._calls: dict[str, Call] = {}
        self._known: WeakValueDictionary[str, Call] = WeakValueDictionary()
        self._recent: deque[Call] = deque()
        self._recent_bytes = 0
        self._answers: dict[str, messages.Answer | None] = {}
        connection_info = contents.pop("url_file", None) or connection_info
        given = contents.get("cluster")  # a connection file has the cluster's id under that name
        self._cluster: Cluster | None = None if isinstance(given, str) else contents.pop("cluster", None)
        named = contents.pop("profile_dir", None), contents.pop("cluster_id", "")
        profile = ipyparallel_keywords.profile_of(profile or "", *named) if any(named) else profile
        ipyparallel_keywords.ignored("Client", contents)
        find = partial(discovery.find, connection_info, profile or "", contents, sshserver)
        self._tunnel: Tunnel | None = None
        waits = timeout is not None and timeout >= 0 and not sshserver
        deadline = time.monotonic() + (timeout or 0)
        try:
            if not waits:
                self._connect(find(), timeout, patience, sshserver)
            else:
                self._await(find, deadline, patience)
        except errors.ClusterNotFound as e:
            raise e if connection_info or sshserver else discovery.absent(e, profile or "") from None
        self.profile = profile or self._info.profile or "default"
        welcome = self._connection.welcome
        self.facts: dict[str, Any] = welcome.facts
        self._mismatch = _mismatch(welcome.python)
        if self._mismatch:
            warnings.warn(self._mismatch, stacklevel=2)
        self.size = welcome.size
        self._deadline = Deadline(self._info, self.facts.get("time_left"))
        self._numbers = itertools.count(1)
        unseen_failures.begin(self)
        if not self._engines:
            self._engines = {engine.id: engine for engine in welcome.engines}
            self._lost = {**welcome.lost, **self._lost}
        if waits and connection_info is None:
            try:
                self._wait(self._settled, max(0.0, deadline - time.monotonic()))
            except BaseException:
                self.close()
                raise
        offer(self)

    def _connect(
        self, info: ConnectionInfo, timeout: float | None, patience: float, sshserver: str = ""
    ) -> None:
        self._info = info
        if sshserver:
            self._tunnel = Tunnel(sshserver, info)
        within = ANSWERING if timeout is None or timeout < 0 else timeout
        self._connection = Connection(info, Incoming(self), within, patience, self._tunnel)

    def _await(self, find: Callable[[], ConnectionInfo], deadline: float, patience: float) -> None:
        """Connect to a cluster that may not be there yet."""
        while True:
            try:
                info = find()
                self._connect(info, max(SHORTEST, deadline - time.monotonic()), patience)
                return
            except errors.ClusterNotFound:
                if time.monotonic() > deadline:
                    raise
            time.sleep(AGAIN)

    # -- engines and views ---------------------------------------------------------------------------

    @property
    def ids(self) -> list[int]:
        """The ids of the engines that live."""
        if self._connection.error is None:
            self._poll()
        return sorted(self._engines)

    @property
    def cluster(self) -> Cluster:
        """The cluster, to be stopped or looked at.

        Raises
        ------
        ClusterNotFound
            When it was not started under a profile of this machine.
        """
        if self._cluster is None:
            from ..cluster.cluster import Cluster

            self._cluster = Cluster.from_profile(self.profile)
        return self._cluster

    @property
    def engines_info(self) -> dict[int, dict[str, Any]]:
        """Of each engine that lives its host, process, local rank and GPU.

        ``local_rank`` counts the engines of a host. ``device`` is empty where an engine sees no GPU.

        Examples
        --------
        >>> rc.engines_info[3]
        {'host': 'gpu02', 'pid': 4711, 'local_rank': 1, 'device': 'CUDA 1'}
        """
        ids = self.ids
        return {id: {name: getattr(self._engines[id], name) for name in _TOLD} for id in ids}

    @property
    def time_left(self) -> float | None:
        """Seconds until the walltime ends the cluster's job; None if nothing will."""
        return self._deadline.left()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[DirectView]:
        for engine in self.ids:
            yield self.direct_view(engine)

    def __getitem__(self, key: int | slice | Sequence[int]) -> DirectView:
        if not isinstance(key, (slice, tuple, list, range)) and not hasattr(key, "__index__"):
            raise TypeError(f"key by int/slice/iterable of ints only, not {type(key)}")
        return self.direct_view(key)

    def direct_view(self, targets: Any = "all", **flags: Any) -> DirectView:
        """A view of some engines.

        Parameters
        ----------
        targets : 'all', int, slice or sequence of int
            Engine ids; a slice is taken of `ids`. With 'all', those that live when the view is used.
        **flags
            ``block``, ``track``.
        """
        chosen = self._targets(targets)
        if isinstance(targets, str):  # all that there are when it is used
            return DirectView(self, "all", **flags)
        return DirectView(self, chosen[0] if is_one(targets) else chosen, **flags)

    def load_balanced_view(self, targets: Any = None, **flags: Any) -> LoadBalancedView:
        """A view whose tasks each get an engine that is free.

        Parameters
        ----------
        targets : optional
            The engines that may run them; by default all that live when a task begins.
        **flags
            ``block``, ``retries``, ``after``, ``follow``, ``timeout``, ``label``.

        Examples
        --------
        >>> lview = rc.load_balanced_view()
        >>> lview.map_sync(abs, range(-2, 2))
        [2, 1, 0, 1]
        """
        from .views.balancedview import LoadBalancedView

        if targets is None or (isinstance(targets, str) and targets == "all"):
            return LoadBalancedView(self, None, **flags)
        return LoadBalancedView(self, self._targets(targets), **flags)

    def broadcast_view(
        self, targets: Any = "all", is_coalescing: bool = False, **flags: Any
    ) -> BroadcastView:
        """A direct view: here each one sends what engines share once.

        Parameters
        ----------
        targets : optional
            Engine ids.
        is_coalescing : bool
            As in ipyparallel; answers of engines come together in any case.
        **flags
            ``block``, ``track``.
        """
        from .views.directview import BroadcastView

        chosen = self._targets(targets)
        return BroadcastView(self, chosen[0] if is_one(targets) else chosen, **flags)

    def executor(self, targets: Any = None) -> ViewExecutor:
        """A `concurrent.futures.Executor` whose workers are engines.

        Parameters
        ----------
        targets : optional
            Which engines; by default all that live.

        Examples
        --------
        >>> with rc.executor() as pool:
        ...     list(pool.map(abs, range(-2, 2)))
        [2, 1, 0, 1]
        """
        return self.load_balanced_view(targets).executor

    def split(self, how: int | Sequence[int] | str) -> Groups:
        """Split the engines into groups, each with a communicator of its own.

        All engines take part, so it waits until they are free.

        Parameters
        ----------
        how : int, sequence of int or 'node'
            The size of each group, the sizes of all, or one group for each node.

        Returns
        -------
        Groups
            The views of the groups; its `map` runs each task on a whole group, on the next that is free.

        Examples
        --------
        >>> pool = rc.split(2)
        >>> pool
        <Groups [[0, 1], [2, 3]]>
        >>> pool[1].apply_sync(lambda: (rank, size, comm.allreduce(1)))
        [(0, 2, 2), (1, 2, 2)]
        >>> pool.map(lambda x: comm.allreduce(x), [1, 2, 3])
        [2, 4, 6]
        """
        from .views.split import Groups, groups_of

        return Groups(self, groups_of(self, how))

    def become_dask(
        self,
        targets: Any = "all",
        port: int = 0,
        nanny: bool = False,
        scheduler_args: dict[str, Any] | None = None,
        **worker_args: Any,
    ) -> Any:
        """Start dask.distributed on engines: a scheduler on the first, a worker on each.

        Dask's tasks run in threads of the engines, which go on with what they are asked here as well. They
        can't use MPI: an engine's main thread alone does.

        Parameters
        ----------
        targets : optional
            Which engines.
        port : int
            Of the scheduler; by default any.
        nanny : bool
            Have workers as processes of their own.
        scheduler_args : dict, optional
            Further arguments of ``distributed.Scheduler``.
        **worker_args
            Further arguments of ``distributed.Worker``; ``nthreads`` is 1 by default.

        Returns
        -------
        distributed.Client

        Examples
        --------
        >>> dask = rc.become_dask()
        >>> dask.submit(pow, 2, 10).result()
        1024
        >>> rc.stop_dask()
        """
        from .integrations import dask

        return dask.become(self, targets, port, nanny, dict(scheduler_args or {}), worker_args)

    def stop_dask(self, targets: Any = "all") -> None:
        """End what `become_dask` has started: the workers first, then the scheduler."""
        from .integrations import dask

        engines = self._targets(targets)
        for some in (engines[1:], engines[:1]):
            if some:
                self.direct_view(some).apply_sync(dask.stop)

    become_distributed = become_dask
    stop_distributed = stop_dask

    def _targets(self, targets: Any) -> list[int]:
        """Engine ids for what a user gives as targets."""
        kind = type(targets)
        if kind is int and targets in self._engines:
            return [targets]
        if kind is list and (chosen := self._checked(targets)):
            return chosen
        ids = sorted(self._engines)
        if not ids:
            self._connection.check()
            raise errors.NoEnginesRegistered(
                "This cluster has no engines (any more): see 'mpidirect status', or start it anew."
                if self._lost
                else "The engines have not started yet: rc.wait_for_engines() waits for them."
            )
        if targets is None or (isinstance(targets, str) and targets.lower() == "all"):
            return ids
        if isinstance(targets, (bool, str)):
            raise TypeError(f"{targets!r} not valid str target, must be 'all'")
        if is_one(targets):
            return [self._existing(targets.__index__(), ids)]
        if isinstance(targets, slice):
            return ids[targets]
        if not isinstance(targets, (tuple, list, range, set, frozenset)) and not hasattr(targets, "tolist"):
            raise TypeError(f"targets by int/slice/collection of ints only, not {type(targets)}")
        chosen = [self._existing(t, ids) for t in targets]
        if len(set(chosen)) != len(chosen):
            raise ValueError(f"targets repeat an engine: {chosen}")
        return chosen

    def _checked(self, targets: list[Any]) -> list[int] | None:
        """The same list, if it is one of different engines that live: the usual case, without a search."""
        if set(map(type, targets)) != _INT:
            return None
        unique = set(targets)
        return [*targets] if len(unique) == len(targets) and unique <= self._engines.keys() else None

    def _existing(self, target: Any, ids: list[int]) -> int:
        if isinstance(target, bool) or not hasattr(target, "__index__"):
            raise TypeError(f"targets by int/slice/collection of ints only, not {type(target)}")
        engine = target.__index__()
        if engine < 0:
            engine = ids[engine] if -len(ids) <= engine else engine
        if engine not in self._engines:
            if engine in self._lost:
                raise errors.EngineError("EngineError", self._lost[engine], "", {"engine_id": engine})
            raise IndexError(f"No such engine: {engine}. The engines are {errors.compact(ids)}")
        return engine

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
            return in_thread(self._until, wanted, timeout, False)
        self._until(wanted, timeout, at_prompt() if interactive is None else interactive)
        return None

    def _until(self, wanted: int, timeout: float | None, shows: bool) -> None:
        """Wait until so many engines live, perhaps with a progress bar."""
        settled = partial(self._settled, wanted)

        def there() -> int:
            return len(self._engines)

        if shows and not self._wait(settled, 0):
            came = wait_with_bar(self, settled, limit(timeout), LOOK, "engines", there, wanted)
        else:
            came = self._wait(settled, limit(timeout))
        if not came:
            raise errors.TimeoutError(f"{there()} of {wanted} engines are ready after {timeout} s")
        if there() < wanted:
            why = "; ".join(self._lost.values()) or f"the cluster has {self.size}"
            raise errors.EngineError("EngineError", f"{wanted} engines there can't be: {why}")

    def _settled(self, wanted: int | None = None) -> bool:
        """Whether so many engines live (by default, all), or never will."""
        wanted = self.size if wanted is None else wanted
        return len(self._engines) >= wanted or self.size - len(self._lost) < wanted

    # -- calls ------------------------------------------------------------------------------------------

    def _submit(
        self,
        op: str,
        method: str,
        targets: list[int],
        shared: Sequence[Any],
        parts: Sequence[Sequence[Any]] = (),
        convert: Callable[[messages.Reply, Any], Any] | None = None,
        gathers: bool = False,
    ) -> Call:
        """Send a request; `shared` and `parts` are frames, for all targets and for each."""
        if not targets:
            raise errors.NoEnginesRegistered("This view has no engines, so there is nobody to call.")
        id = f"{self._connection.name}-{next(self._numbers)}"
        call = Call(id, method, targets, self._engines, convert, gathers, self._release)
        call.mismatch = self._mismatch
        self._calls[id] = call
        self._known[id] = call
        sizes = list(map(len, shared))
        own = [list(map(len, part)) for part in parts]
        frames = [*shared, *itertools.chain.from_iterable(parts)] if parts else shared
        bulk = [frame for frame in frames if len(frame) >= messages.BULK]
        inline = [frame for frame in frames if len(frame) < messages.BULK] if bulk else frames
        call.buffers = bulk or None
        addresses = [process_memory.address(frame) for frame in bulk] if self._connection.direct else []
        label = op if op in CALLS else method
        try:
            self._connection.post(
                messages.Request, id, targets, op, label, sizes, own, addresses, inline=inline, bulk=bulk
            )
        except BaseException:
            self._calls.pop(id, None)
            raise
        self.history.append(id)
        if not bulk:
            call.again = partial(self._submit, op, method, targets, shared, parts, convert, gathers)
        return call

    def _query(self, what: str, targets: list[int], value: Any = None, timeout: float = 10.0) -> Any:
        """Ask the controller."""
        id = f"q{next(self._numbers)}"
        self._answers[id] = None
        try:
            self._connection.post(messages.Query, id, what, targets, value)
            if not self._wait(lambda: self._answers[id] is not None, timeout):
                raise errors.TimeoutError(f"The controller did not answer {what!r} within {timeout} s.")
        finally:
            answer = self._answers.pop(id)
        assert answer is not None
        if answer.error:
            raise errors.MPIDirectError(answer.error)
        return answer.value

    def _wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `done` holds; False after `timeout` seconds.

        Raises
        ------
        ControllerLost, ClientClosed
            When it can't come true any more.
        """
        if self._connection.wait(done, timeout):
            return True
        self._connection.check()
        return False

    def _poll(self) -> None:
        """Take in what has come."""
        self._connection.wait(_never, 0)

    # -- what becomes of calls ---------------------------------------------------------------------------

    def _react(self, call: Call) -> None:
        """After answers: perhaps it is complete, or the engines that still run shall not go on."""
        if self.interrupt_on_error and call.failed and not call.ready and not call.hopeless:
            call.hopeless = True
            rest = [engine for engine in call.targets if engine not in call.replies]
            value = [[call.id], 10.0, waiting.DELAY, True]
            self._connection.post(messages.Query, f"q{next(self._numbers)}", "interrupt", rest, value)
        self._ended(call)

    def _ended(self, call: Call) -> None:
        if call.ready and self._calls.pop(call.id, None) is not None:
            self._keep(call)
            if call.failed:
                unseen_failures.ended(call)

    def _keep(self, call: Call) -> None:
        recent = self._recent
        recent.append(call)
        self._recent_bytes += call.size
        while recent and (len(recent) > KEPT_RESULTS or self._recent_bytes > KEPT_BYTES):
            self._recent_bytes -= recent.popleft().size

    def _release(self, id: str, engine: int) -> None:
        """Tell an engine that its result has been read."""
        self._connection.post(messages.Release, id, engine)

    # -- the end -----------------------------------------------------------------------------------------

    def close(self, linger: float | None = None) -> None:
        """Close the connection; the engines go on with what they do."""
        self._deadline.close()
        self._connection.close(1.0 if linger is None else linger)
        if self._tunnel is not None:
            self._tunnel.close()
        for call in list(self._calls.values()):
            call.abandon("ClientClosed", "the client was closed before the call ended")
        self._calls.clear()

    def __enter__(self) -> Client:
        return self

    def __await__(self) -> Generator[Any, None, Client]:
        """Itself: ipyparallel's ``await cluster.connect_client()`` works."""
        yield from ()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        connection = self.__dict__.get("_connection")
        if connection is not None and not connection.closed:
            if "_deadline" in self.__dict__:
                self._deadline.close()
            connection.close(0.1)

    def __repr__(self) -> str:
        state = "closed" if self._connection.closed else "lost" if self._connection.error else "connected"
        return f"<Client {self.profile!r}: {len(self._engines)} engines, {state}>"

    def _repr_html_(self) -> str:
        return html.engines(self, sorted(self._engines), repr(self))

    def activate(self, targets: Any = "all", suffix: str = "") -> DirectView:
        """Make a view of `targets`, and IPython's magics ``%px``, … for it."""
        view = self.direct_view(targets)
        view.block = True
        view.activate(suffix)
        return view

    def spin(self) -> None:
        """Take in what has come (nothing needs it)."""
        self._poll()


_TOLD = ("host", "pid", "local_rank", "device")


def _never() -> bool:
    return False


def _mismatch(theirs: str) -> str:
    """What to say of the engines' Python, if functions may not be understood there."""
    mine = platform.python_version()
    if mine.split(".")[:2] == theirs.split(".")[:2]:
        return ""
    return (
        f"this client runs Python {mine}, the engines {theirs}: functions and classes that are typed here "
        "travel as byte code, which other minor versions may not run; use the same one"
    )
