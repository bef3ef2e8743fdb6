"""The error of one call on several engines, and how it is shown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any

from .. import _prompt
from .html import as_html
from .remote import DEATH, EngineFailure, RemoteError, engine_label, hints, remote_error, traceback_lines
from .text import format_ids, innermost_user_line

INTERRUPT = "KeyboardInterrupt"


class CompositeError(RemoteError):
    """The exceptions of one call on several engines.

    Its ``evalue`` is the message; it belongs to no single engine.

    Parameters
    ----------
    message : str
        The call.
    elist : sequence of EngineFailure
        One ``(ename, evalue, traceback, engine_info)`` for each engine that failed.

    Examples
    --------
    >>> try:
    ...     dview.execute("1/0", block=True)
    ... except CompositeError as e:
    ...     e.print_tracebacks()
    ...     e.raise_exception(0)  # the first engine's, as a RemoteError
    """

    tb_limit = 4  # maximum number of errors that are shown one by one; above it, equal errors are shown once

    def __init__(self, message: str, elist: Sequence[Any] = ()) -> None:
        super().__init__("CompositeError", message)
        self.msg = message
        self.elist = [EngineFailure(*entry) for entry in elist]
        self._notes: list[str] | None = None
        if sys.version_info < (3, 11):  # Python 3.10 shows no notes
            self.__cause__ = _Tracebacks(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.msg, self.elist)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.elist)})"

    def __str__(self) -> str:
        return "\n".join([self.msg, *self._summary(self.elist), *self._hints()])

    @property
    def __notes__(self) -> list[str]:
        """The engines' tracebacks: Python shows notes after the text of an uncaught error."""
        if self._notes is None:
            tracebacks = self._tracebacks()
            self._notes = ["\n".join(["", *tracebacks])] if tracebacks else []
        return self._notes

    @__notes__.setter
    def __notes__(self, notes: list[str]) -> None:
        self._notes = notes  # for libraries that pickle exceptions with their notes, such as dask

    def _render_traceback_(self) -> list[str]:
        return _prompt.format_error(self, self._tracebacks(), self._without_line())

    def _repr_html_(self) -> str:
        entries = [(_line(failures), failures[0].traceback) for failures in _equal(self.elist)]
        return as_html(f"{type(self).__name__}: {self.msg}", entries)

    def _hints(self) -> list[str]:
        """Return the hints of the failures as lines."""
        return hints(failure.engine_info for failure in self.elist)

    def _without_line(self) -> list[str]:
        """Return the lines for a call by a magic: all but the message, as no line of the cell is shown."""
        tracebacks = self._tracebacks()
        if not tracebacks:
            return []
        silent = [f for f in self.elist if f.ename == DEATH or (not f.traceback and f.ename != INTERRUPT)]
        head = [*self._summary(silent), *hints(failure.engine_info for failure in silent)]
        rest = [hint for hint in self._hints() if hint not in head]
        return [*head, *([""] if head else []), *tracebacks, *rest]

    def _tracebacks(self) -> list[str]:
        """Return the tracebacks as lines: equal ones once; of an interrupt only the user's line."""
        interrupted: dict[str, list[EngineFailure]] = {}
        others = []
        for failure in self.elist:
            if failure.ename == INTERRUPT:
                interrupted.setdefault(innermost_user_line(failure.traceback), []).append(failure)
            elif failure.traceback:
                others.append(failure)
        groups = _equal(others)
        lines: list[str] = []
        for failures in groups[: self.tb_limit]:
            lines += ["", _label(failures)] if lines else [_label(failures)]
            lines += failures[0].traceback.splitlines()
        if len(groups) > self.tb_limit:
            hidden = len(groups) - self.tb_limit
            lines += ["", f"… and {hidden} other traceback{'s' * (hidden > 1)}: see elist"]
        lines += [f"{_label(those)}{INTERRUPT}{place}" for place, those in interrupted.items()]
        return lines

    def _summary(self, failures: Sequence[EngineFailure]) -> list[str]:
        """Return a line for each error; equal errors of several engines or lines share a line."""
        groups: dict[Any, list[EngineFailure]] = {}
        for k, failure in enumerate(failures):
            single = self._few and "\n" not in failure.evalue
            groups.setdefault(k if single else (failure.ename, failure.evalue), []).append(failure)
        return [_line(group) for group in groups.values()]

    @property
    def _few(self) -> bool:
        return len(self.elist) <= self.tb_limit

    def render_traceback(self, excid: int | None = None) -> list[str]:
        """Return tracebacks as lines.

        Parameters
        ----------
        excid : int, optional
            The entry of `elist`. By default `tb_limit` entries; if there are more, equal ones count once.
        """
        if excid is not None:
            groups = [[self._entry(excid)]]
        else:
            groups = [[failure] for failure in self.elist] if self._few else _equal(self.elist)
        chosen, rest = groups[: self.tb_limit], list(chain(*groups[self.tb_limit :]))
        title = f"{type(self).__name__}: {self.msg}"
        if not any(failures[0].traceback for failures in chosen):  # for example when the cluster is gone
            return [*"\n".join(self._summary(list(chain(*groups)))).splitlines(), "", title]
        lines: list[str] = []
        for failures in chosen:
            first = failures[0]
            lines.append(_label(failures))
            lines.extend(traceback_lines(first))
            lines.append("")
        return lines if excid is not None or self._few else [*lines, *self._summary(rest), title]

    def print_tracebacks(self, excid: int | None = None) -> None:
        """Print the engines' tracebacks, or only the traceback of entry `excid`."""
        print("\n".join(self.render_traceback(excid)))

    print_traceback = print_tracebacks

    def raise_exception(self, excid: int = 0) -> None:
        """Raise entry `excid` as a `RemoteError`.

        Raises
        ------
        RemoteError
            The engine's error.
        IndexError
            When there is no such entry.
        """
        failure = self._entry(excid)
        raise remote_error(failure)

    def _entry(self, excid: int) -> EngineFailure:
        try:
            return self.elist[excid]
        except (IndexError, TypeError):
            raise IndexError(f"an exception with index {excid} does not exist") from None


class _Tracebacks(Exception):
    """The engines' tracebacks as the cause of an error, for Python versions that show no notes."""

    def __str__(self) -> str:
        return "\n".join(self.args[0].__notes__)


def _equal(failures: Sequence[EngineFailure]) -> list[list[EngineFailure]]:
    """Return the failures in groups of equal ones."""
    groups: dict[Any, list[EngineFailure]] = {}
    for failure in failures:
        groups.setdefault((failure.ename, failure.evalue, failure.traceback), []).append(failure)
    return list(groups.values())


def _line(failures: Sequence[EngineFailure]) -> str:
    """Return the line of an error; several engines or tasks may have the same error."""
    text = f"{failures[0].ename}: {failures[0].evalue}"
    kind = "engines" if len(_engines(failures)) == len(failures) else "errors"
    count = "" if "\n" in text or len(failures) == 1 else f" ({len(failures)} {kind})"
    return f"{_label(failures)}{text}{count}"


def _label(failures: Sequence[EngineFailure]) -> str:
    info, engines = failures[0].engine_info, _engines(failures)
    return engine_label({**info, "engine_id": format_ids(engines)} if len(engines) > 1 else info)


def _engines(failures: Sequence[EngineFailure]) -> list[Any]:
    """Return the ids of the engines. An engine may fail in several tasks, and a task without engine."""
    ids = {failure.engine_info.get("engine_id") for failure in failures} - {None}
    return sorted(ids, key=lambda id: (isinstance(id, str), id))
