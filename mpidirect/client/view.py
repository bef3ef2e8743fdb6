"""The direct view: some engines, addressed as one."""

from __future__ import annotations

import os
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import partition
from ..wire import calls, messages, pickles
from . import _html, _syntax, _waiting
from ._chosen import is_one
from ._frames import quiet
from ._function import check, name_of
from ._namespaces import Namespaces
from ._output import ExecuteReply, at_prompt
from .asyncmapresult import AsyncMapResult
from .asyncresult import AsyncResult
from .collectives import Collectives

if TYPE_CHECKING:
    from .client import Client

FLAGS = ("block", "track", "label", "targets")
ATTRIBUTES = frozenset({*FLAGS, "client", "history"})
ALIKE = 0.75  # of two names, from where on one may be a slip for the other


@quiet
class DirectView(Namespaces, Collectives):
    """Some engines of a cluster: call functions on them, and use their namespaces as a dict.

    Parameters
    ----------
    client : Client
        The connection.
    targets : int or list of int
        The engines. An int gives results as they are, a list gives lists of results.

    Attributes
    ----------
    block : bool
        Whether calls wait for their results.
    track : bool
        Whether `AsyncResult.sent` tells when the buffers of a call can be changed.
    targets : int or list of int
        The engines.

    Examples
    --------
    >>> dview = rc[:]
    >>> dview["a"] = 5
    >>> dview.apply_sync(lambda x: a + x, 27)
    [32, 32, 32, 32]
    >>> "a" in dview, list(dview)
    (True, ['a'])
    >>> del dview["a"]
    """

    def __init__(self, client: Client, targets: Any, **flags: Any) -> None:
        self.client = client
        self.targets = targets
        self.block: bool = client.block
        self.track = False
        self.label: str | None = None
        self.history: list[str] = []
        self.set_flags(**flags)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ATTRIBUTES:
            raise AttributeError(
                f"a view has no attribute {name!r} to set; for that name on its engines:  view[{name!r}] = …"
            )
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        hint = ""
        if not name.startswith("_"):
            import difflib

            public = [known for known in dir(self) if not known.startswith("_")]
            alike = difflib.get_close_matches(name, public, 1, ALIKE)
            there = f"; for that name on its engines:  view[{name!r}]"
            hint = f"; did you mean {alike[0]!r}?" if alike else there
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}")

    def __repr__(self) -> str:
        text = str(self.targets)
        return f"<{type(self).__name__} {text if len(text) <= 16 else text[:12] + '...]'}>"

    def _repr_html_(self) -> str:
        return _html.engines(self.client, self.client._targets(self.targets), repr(self))

    def __len__(self) -> int:
        targets = self.targets
        if targets is None or isinstance(targets, (str, slice)):
            targets = self.client._targets(targets)
        return 1 if is_one(targets) else len(targets)

    # -- flags ------------------------------------------------------------------------------------------

    def set_flags(self, **flags: Any) -> DirectView:
        """Set ``block``, ``track``, ``targets``, ``label`` together."""
        for name, value in flags.items():
            if name not in FLAGS:
                raise KeyError(f"Invalid name: {name!r}")
            setattr(self, name, value)
        return self

    @contextmanager
    def temp_flags(self, **flags: Any) -> Iterator[DirectView]:
        """Set flags for the length of a ``with`` block.

        Examples
        --------
        >>> with dview.temp_flags(block=True):
        ...     dview.apply(f)
        """
        before = {name: getattr(self, name) for name in FLAGS}
        self.set_flags(**flags)
        try:
            yield self
        finally:
            self.set_flags(**before)

    # -- the one way to the engines ------------------------------------------------------------------------

    def _call(
        self,
        op: str,
        method: str,
        shared: Any = None,
        *,
        frames: Sequence[Any] | None = None,
        own: Callable[[int], list[Any]] | None = None,
        targets: Any = None,
        block: bool | None = None,
        track: bool | None = None,
        kind: type[AsyncResult] = AsyncResult,
        convert: Callable[[messages.Reply, Any], Any] | None = None,
        single: bool | None = None,
        gathers: bool = False,
        label: str | None = None,
        progress: bool = False,
        **options: Any,
    ) -> AsyncResult:
        """Send one request: an object for all, or its frames; `own` gives those for each of a number."""
        chosen = self.targets if targets is None else targets
        engines = self.client._targets(chosen)
        frames = pickles.dumps(shared) if frames is None else frames
        parts = [] if own is None else [pickles.dumps(part) for part in own(len(engines))]
        call = self.client._submit(op, method, engines, frames, parts, convert, gathers)
        call.source = shared[0] if op == "execute" else None
        self.history.append(call.id)
        if single is None:
            single = is_one(chosen)
        label = self.label if label is None else label
        result = kind(self.client, [call], method=method, single=single, label=label, **options)
        call.holders -= 1
        if self.block if block is None else block:
            with result.stream_output() if at_prompt() else nullcontext() as live:
                _waiting.wait(result, progress, None if live is None or progress else live.status)
        return result

    def _result(self, result: AsyncResult, block: bool | None) -> Any:
        return result.get() if (self.block if block is None else block) else result

    # -- functions -------------------------------------------------------------------------------------------

    def apply(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines.

        At a prompt, where `block` is set, what the engines print and display is shown.

        Parameters
        ----------
        f : callable or Reference
            A function, or the name of one that the engines have.

        Returns
        -------
        AsyncResult, or the results where `block` is set.

        Examples
        --------
        >>> dview.apply(pow, 2, 10)
        [1024, 1024, 1024, 1024]
        """
        return self._apply(f, args, kwargs)

    def apply_async(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncResult:
        """Call ``f(*args, **kwargs)`` on the engines; returns at once."""
        return self._apply(f, args, kwargs, block=False)

    def apply_sync(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines; returns the results."""
        return self._apply(f, args, kwargs, block=True)

    def _apply(
        self,
        f: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        block: bool | None = None,
        targets: Any = None,
        track: bool | None = None,
    ) -> Any:
        check(f)
        frames = calls.dumps(f, args, kwargs or {})
        return self._result(
            self._call("apply", name_of(f), frames=frames, targets=targets, block=block, track=track), block
        )

    def map(
        self,
        f: Callable[..., Any],
        *sequences: Any,
        block: bool | None = None,
        track: bool | None = None,
        return_exceptions: bool = False,
        targets: Any = None,
        dist: str = "b",
        ordered: bool = True,
        label: str | None = None,
        progress: bool = False,
    ) -> Any:
        """The builtin `map`, over the engines: each gets a contiguous part of the sequences.

        Parameters
        ----------
        f : callable
            Called with an item of each sequence.
        *sequences : sequences or iterables
            As with the builtin, the shortest decides.
        block : bool, optional
            Whether to wait.
        return_exceptions : bool
            Exceptions in the place of an engine's results instead of a `CompositeError`.
        ordered : bool
            Iterate over the results in their order, not as they arrive.
        label : str, optional
            A name for the call, kept in its metadata.
        progress : bool
            Where it waits, show a bar of the items that are done.

        Returns
        -------
        AsyncMapResult, or a list.
        """
        check(f)
        if not sequences:
            raise TypeError("map() must have at least two arguments.")
        items = [partition.as_sequence(sequence) for sequence in sequences]
        length = min(map(len, items))
        items = [item if len(item) == length else item[:length] for item in items]

        def own(n: int) -> list[Any]:
            return list(zip(*(partition.split(item, n, dist, listed=False) for item in items), strict=True))

        result = self._call(
            "map",
            name_of(f),
            frames=calls.dumps(f, (), {}),
            own=own,
            targets=targets,
            block=block,
            track=track,
            progress=progress,
            kind=AsyncMapResult,
            single=False,
            length=length,
            dist=dist,
            ordered=ordered,
            return_exceptions=return_exceptions,
            label=label,
        )
        return self._result(result, block)

    def map_async(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> AsyncMapResult:
        """`map` that returns at once."""
        return self.map(f, *sequences, **{**options, "block": False})

    def map_sync(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> list[Any]:
        """`map` that returns the list."""
        return self.map(f, *sequences, **{**options, "block": True})

    def imap(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Iterator[Any]:
        """`map` that returns an iterator over the items, as the engines' parts arrive."""
        return iter(self.map_async(f, *sequences, **options))

    def remote(self, block: bool | None = None, **flags: Any) -> Callable[[Callable[..., Any]], Any]:
        """Decorator: a function that runs on the engines when it is called.

        Examples
        --------
        >>> @dview.remote(block=True)
        ... def getpid():
        ...     import os
        ...     return os.getpid()
        >>> getpid()
        [12345, 12346, 12347, 12348]
        """
        from .remotefunction import remote

        return remote(self, self.block if block is None else block, **flags)

    def parallel(
        self, dist: str = "b", block: bool | None = None, ordered: bool = True, **flags: Any
    ) -> Callable[[Callable[..., Any]], Any]:
        """Decorator: a function that is called on each engine with its part of the sequences.

        Examples
        --------
        >>> @dview.parallel(block=True)
        ... def echo(x):
        ...     return str(x)
        >>> echo(range(5))
        ['[0, 1]', '[2]', '[3]', '[4]']
        >>> echo.map(range(5))
        ['0', '1', '2', '3', '4']
        """
        from .remotefunction import parallel

        return parallel(
            self, dist=dist, block=self.block if block is None else block, ordered=ordered, **flags
        )

    # -- code -----------------------------------------------------------------------------------------------

    def execute(
        self,
        code: str,
        silent: bool = True,
        targets: Any = None,
        block: bool | None = None,
        label: str | None = None,
    ) -> AsyncResult:
        """Run source code in the engines' namespaces.

        Parameters
        ----------
        code : str
            With IPython on the engines, magics and shell escapes as well.
        silent : bool
            Don't keep the value of the last line as a result, nor count the prompt.
        label : str, optional
            A name for the call, kept in its metadata.

        Returns
        -------
        AsyncResult
            Of `ExecuteReply`; ``stdout`` has what was printed.
        """
        if not isinstance(code, str):
            raise TypeError(f"code must be a string, not {type(code).__name__}")
        if not self.client._mismatch:  # else the engines' Python may know another syntax
            _syntax.check(code)
        result = self._call(
            "execute",
            "_execute",
            (code, silent),
            targets=targets,
            block=block,
            convert=ExecuteReply,
            label=label,
        )
        self._result(result, block)
        return result

    def run(
        self,
        filename: str | Path,
        targets: Any = None,
        block: bool | None = None,
        label: str | None = None,
        *,
        args: Sequence[Any] = (),
    ) -> AsyncResult:
        """Run a file of this machine on the engines, as ``__main__``, in their namespaces.

        An mpi4py program runs unchanged: its ``MPI.COMM_WORLD`` is the engines' communicator, it imports what
        lies beside it, and when it ends with ``sys.exit(0)`` or ``MPI.Finalize()``, the engines go on.

        Parameters
        ----------
        filename : str or Path
            The program.
        args : sequence
            Its arguments, which it finds in ``sys.argv``.

        Examples
        --------
        >>> dview.run("heat.py", args=["--steps", 1000], block=True)
        """
        if isinstance(args, (str, bytes)):
            raise TypeError(f"args must be a list of arguments, like ['-n', 5], not {args!r}")
        argv = [os.fspath(arg) if isinstance(arg, os.PathLike) else str(arg) for arg in args]
        path = Path(filename).expanduser().absolute()
        with tokenize.open(path) as file:  # which knows the encoding that a program declares
            source = file.read()
        result = self._call(
            "run", "run", (source, str(path), argv), targets=targets, block=block, label=label
        )
        self._result(result, block)
        return result

    # -- imports and magics --------------------------------------------------------------------------------

    def sync_imports(self, local: bool = True, quiet: bool = False) -> AbstractContextManager[None]:
        """Import here and on the engines what is imported in the ``with`` block.

        Examples
        --------
        >>> with dview.sync_imports():
        ...     import numpy
        importing numpy on engine(s)
        """
        from .imports import everywhere

        return everywhere(self, local, quiet)

    @property
    def importer(self) -> AbstractContextManager[None]:
        """`sync_imports`, without parentheses."""
        return self.sync_imports()

    def activate(self, suffix: str = "") -> None:
        """Make IPython's magics ``%px``, ``%%px``, ``%autopx``, ``%result`` work on this view."""
        from .magics import activate

        activate(self, suffix)

    # -- results and queues -------------------------------------------------------------------------------

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Wait for results: AsyncResults, ids or indices to `history`; by default all of this view."""
        if jobs is None:
            jobs = list(self.history)
        if isinstance(jobs, int):
            jobs = self.history[jobs]
        elif isinstance(jobs, (list, tuple)):
            jobs = [self.history[job] if isinstance(job, int) else job for job in jobs]
        return self.client.wait(jobs, timeout)

    def get_result(
        self, indices_or_msg_ids: Any = None, block: bool | None = None, owner: bool = True
    ) -> AsyncResult:
        """A result of this view again, by id or index to `history`; by default the latest.

        See `Client.get_result`.
        """
        index = -1 if indices_or_msg_ids is None else indices_or_msg_ids
        if isinstance(index, int):
            index = self.history[index]
        elif isinstance(index, (list, tuple, set)):
            index = [self.history[item] if isinstance(item, int) else item for item in index]
        return self.client.get_result(index, block=block, owner=owner)

    @property
    def outstanding(self) -> set[str]:
        """The ids of this view's calls that are not done."""
        return self.client.outstanding & set(self.history)

    def abort(self, jobs: Any = None, targets: Any = None, block: bool | None = None) -> None:
        """Take tasks that have not begun out of the queues; see `Client.abort`."""
        jobs = list(self.outstanding) if jobs is None else jobs
        self.client.abort(jobs, self.targets if targets is None else targets)

    def queue_status(self, targets: Any = None, verbose: bool = False) -> dict[Any, Any]:
        """How long the engines' queues are; see `Client.queue_status`."""
        return self.client.queue_status(self.targets if targets is None else targets, verbose)

    def shutdown(
        self, targets: Any = None, restart: bool = False, hub: bool = False, block: bool | None = None
    ) -> None:
        """End the cluster; see `Client.shutdown`."""
        self.client.shutdown(self.targets if targets is None else targets, restart, hub, block)

    def spin(self) -> None:
        """Take in what has come (nothing needs it)."""
        self.client.spin()
