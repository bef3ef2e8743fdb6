"""The direct view: some engines, addressed as one."""

from __future__ import annotations

import os
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...arrays import partition
from ...protocol import messages
from ...serialize import calls, pickles
from ..display import html
from ..display.tracebacks import quiet
from ..results import waiting
from ..results.asyncmapresult import AsyncMapResult
from ..results.asyncresult import AsyncResult
from ..results.outputs import ExecuteReply, at_prompt
from ..session.engines import is_single_target
from . import syntax
from .base import View
from .collectives import Collectives
from .function import check, name_of
from .namespaces import Namespaces

if TYPE_CHECKING:
    from .remotefunction import ParallelFunction


@quiet
class DirectView(View, Namespaces, Collectives):  # type: ignore[misc]
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

    def _there(self, name: str) -> str:
        return f"; for that name on its engines:  view[{name!r}]"

    def _repr_html_(self) -> str:
        return html.engines(self._session, self._session.engines.resolve(self.targets), repr(self))

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
        engines = self._session.engines.resolve(chosen)
        frames = pickles.dumps(shared) if frames is None else frames
        parts = [] if own is None else [pickles.dumps(part) for part in own(len(engines))]
        call = self._session.submit(op, method, engines, frames, parts, convert, gathers)
        call.source = shared[0] if op == "execute" else None
        self.history.append(call.id)
        if single is None:
            single = is_single_target(chosen)
        label = self.label if label is None else label
        result = kind(self._session, [call], method=method, single=single, label=label, **options)
        call.holders -= 1
        if self.block if block is None else block:
            with result.stream_output() if at_prompt() else nullcontext() as live:
                waiting.wait(result, progress, None if live is None or progress else live.status)
        return result

    # -- functions -------------------------------------------------------------------------------------------

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
        items, length = partition.to_map(sequences)

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

    def imap(self, f: Callable[..., Any], *sequences: Any, **options: Any) -> Iterator[Any]:
        """`map` that returns an iterator over the items, as the engines' parts arrive."""
        return iter(self.map_async(f, *sequences, **options))

    def _parallel(self, f: ParallelFunction, items: list[Any], length: int) -> Any:
        return f._on(self, items, length)

    def _map_parallel(self, f: ParallelFunction, sequences: Sequence[Any]) -> Any:
        return self.map(
            f.func, *sequences, dist=f.dist, ordered=f.ordered, return_exceptions=f.return_exceptions
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
        if not self._session.python_mismatch:  # else the engines' Python may know another syntax
            syntax.check(code)
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

    # -- what ipyparallel can switch, and is settled here ----------------------------------------------------

    def use_cloudpickle(self) -> AsyncResult:
        """Functions are always pickled by cloudpickle, and what it lacks is added: this changes nothing."""
        return self.apply_async(bool)

    def use_dill(self) -> AsyncResult:
        """Functions are always pickled by cloudpickle, which knows what dill does: this changes nothing."""
        return self.apply_async(bool)

    def use_pickle(self) -> AsyncResult:
        """What pickle knows is pickled as it does that: this changes nothing."""
        return self.apply_async(bool)

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
        from ..magics.activation import activate

        activate(self, suffix)


class BroadcastView(DirectView):
    """A direct view: here each one sends what engines share once. The name is ipyparallel's."""
