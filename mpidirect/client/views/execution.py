"""Source code and programs that run on engines."""

from __future__ import annotations

import os
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from ..results.asyncresult import AsyncResult
from ..results.outputs import ExecuteReply
from ..type_variables import EngineSelection, Targets
from .requests import RequestView
from .syntax_check import check_syntax


class ExecutionView(RequestView[Targets]):
    """The methods of a `DirectView` that run source code on its engines."""

    @overload
    def execute(
        self: ExecutionView[int],
        code: str,
        silent: bool = True,
        targets: None = None,
        block: bool | None = None,
        label: str | None = None,
    ) -> AsyncResult[ExecuteReply]: ...
    @overload
    def execute(
        self: ExecutionView[list[int]],
        code: str,
        silent: bool = True,
        targets: None = None,
        block: bool | None = None,
        label: str | None = None,
    ) -> AsyncResult[list[ExecuteReply]]: ...
    @overload
    def execute(
        self,
        code: str,
        silent: bool = True,
        targets: EngineSelection = None,
        block: bool | None = None,
        label: str | None = None,
    ) -> AsyncResult[Any]: ...
    def execute(
        self,
        code: str,
        silent: bool = True,
        targets: EngineSelection = None,
        block: bool | None = None,
        label: str | None = None,
    ) -> AsyncResult[Any]:
        """Run source code in the engines' namespaces.

        Parameters
        ----------
        code : str
            With IPython on the engines, magics and shell escapes as well.
        silent : bool
            Don't keep the value of the last line as a result, nor count the prompt.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.
        label : str, optional
            A name for the call, kept in its metadata.

        Returns
        -------
        AsyncResult
            Of `ExecuteReply`; ``stdout`` has what was printed.

        Raises
        ------
        SyntaxError
            When the code has one; nothing is sent.

        Examples
        --------
        >>> dview.execute("print(rank)", block=True).stdout
        ['0\\n', '1\\n', '2\\n', '3\\n']
        """
        if not isinstance(code, str):
            raise TypeError(f"code must be a string, not {type(code).__name__}")
        if not self._session.python_mismatch:  # another version of Python may accept other syntax
            check_syntax(code)
        result = self._request(
            "execute",
            "_execute",
            (code, silent),
            targets=targets,
            block=block,
            convert=ExecuteReply,
            label=label,
        )
        self._values_if_blocking(result, block)
        return result

    def run(
        self,
        filename: str | Path,
        targets: EngineSelection = None,
        block: bool | None = None,
        label: str | None = None,
        *,
        args: Sequence[Any] = (),
    ) -> AsyncResult:
        """Run a file of this machine on the engines, as ``__main__``, in their namespaces.

        An mpi4py program runs unchanged: its ``MPI.COMM_WORLD`` is the engines' communicator, it can import
        modules of its directory, and after ``sys.exit(0)`` or ``MPI.Finalize()`` in the program, the engines
        go on.

        Parameters
        ----------
        filename : str or Path
            The program.
        targets : int or list of int, optional
            The engines; by default those of the view.
        block : bool, optional
            Whether to wait; by default the view's ``block``.
        label : str, optional
            A name for the call, kept in its metadata.
        args : sequence
            The arguments of the program, in ``sys.argv``.

        Returns
        -------
        AsyncResult

        Examples
        --------
        >>> dview.run("heat.py", args=["--steps", 1000], block=True)
        """
        if isinstance(args, (str, bytes)):
            raise TypeError(f"args must be a list of arguments, like ['-n', 5], not {args!r}")
        argv = [os.fspath(arg) if isinstance(arg, os.PathLike) else str(arg) for arg in args]
        path = Path(filename).expanduser().absolute()
        with tokenize.open(path) as file:  # applies the encoding that the program declares
            source = file.read()
        result = self._request(
            "run", "run", (source, str(path), argv), targets=targets, block=block, label=label
        )
        self._values_if_blocking(result, block)
        return result
