"""What a task displays: kept for its reply, wherever user code calls IPython's ``display``.

Without a shell, IPython prints what is displayed, so there is one as soon as user code imports IPython.
"""

from __future__ import annotations

import builtins
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import msgspec

from ...protocol.messages import DISPLAY, OutputPiece

MOST = 4 * 1024 * 1024  # bytes kept of what one task displays
_INLINE = "matplotlib_inline.backend_inline"  # matplotlib's backend that displays figures

_shown: list[bytes] = []
_ids: dict[str, int] = {}  # where those are that can be updated
_dropped = 0
_count = 0  # of all that the task has displayed


class DisplayListener:
    """Who is told of each display when it comes."""

    def place(self) -> list[int]:
        """How many characters the task has printed on each stream."""
        return [0, 0]

    def displayed(self, piece: OutputPiece) -> None:
        """Something is displayed."""


listener = DisplayListener()


def show(data: dict[str, Any], metadata: dict[str, Any], id: str = "", update: bool = False) -> None:
    """Keep what is displayed, in its formats; with `update`, in the place of what has this `id`."""
    global _dropped, _count
    known: dict[str, Any] = {"number": _count, "after": listener.place()}
    if id:
        known["transient"] = {"display_id": id}
    try:
        output = pickle.dumps({"data": data, "metadata": metadata, **known}, 5)
    except Exception:  # a format that is no data
        plain = {"text/plain": str(data.get("text/plain", ""))}
        output = pickle.dumps({"data": plain, "metadata": {}, **known}, 5)
    place = _ids.get(id) if id and update else None
    before = 0 if place is None else len(_shown[place])
    if sum(map(len, _shown)) - before + len(output) > MOST:
        _dropped += 1
        return
    if place is None:
        _shown.append(output)
    else:
        _shown[place] = output
    if id and place is None:
        _ids[id] = len(_shown) - 1
    listener.displayed(OutputPiece(DISPLAY, _count, id, output))
    _count += 1


def clear() -> None:
    """What was displayed so far is not to be shown any more."""
    global _dropped
    _shown.clear()
    _ids.clear()
    _dropped = 0  # the count goes on: some may have been told


def pending() -> bool:
    """Whether something was displayed since the last time that it was taken."""
    return bool(_shown or _dropped)


def taken() -> bytes:
    """What was displayed since the last time, a list of pickles, encoded; empty if that is nothing."""
    global _count
    if not _shown and not _dropped:
        _count = 0
        return b""
    outputs = list(_shown)
    if _dropped:
        text = f"[… {_dropped} more displays were dropped: one task may display {MOST >> 20} MiB]"
        outputs.append(pickle.dumps({"data": {"text/plain": text}, "metadata": {}, "number": _count}, 5))
    clear()
    _count = 0
    return msgspec.msgpack.encode(outputs)


def begin(make_shell: Callable[[], Any]) -> None:
    """Make ``display`` a builtin, as at IPython's prompt; call `make_shell` when IPython is imported.

    Figures are displayed as in a notebook, unless the user has chosen another backend of matplotlib.
    """
    if find_spec("IPython") and find_spec("matplotlib_inline"):  # neither is imported by that
        os.environ["MPLBACKEND"] = os.environ.get("MPLBACKEND") or f"module://{_INLINE}"
    sys.meta_path.insert(0, _BeforeIPython(make_shell))
    builtins.display = _display  # type: ignore[attr-defined]


def show_figures() -> None:
    """Display and close the figures that are open, as IPython does at the end of a cell."""
    inline = sys.modules.get(_INLINE)
    if inline is not None:
        inline.flush_figures()


def _display(*objects: Any, **options: Any) -> Any:
    """IPython's ``display``; without IPython, ``print``."""
    try:
        from IPython.display import display
    except ImportError:
        return print(*objects)
    return display(*objects, **options)


def stop_watching() -> None:
    """The shell is being made."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _BeforeIPython)]


class _BeforeIPython(MetaPathFinder, Loader):
    """Makes the shell when IPython is about to be imported, which imports it."""

    def __init__(self, make_shell: Callable[[], Any]) -> None:
        self._make_shell = make_shell
        self._spec: ModuleSpec | None = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "IPython":
            return None
        self._make_shell()
        module = sys.modules.get(fullname)
        if module is None:  # it is not installed
            return None
        real = self._spec = module.__spec__
        assert real is not None
        detour = ModuleSpec(fullname, self, origin=real.origin)
        detour.submodule_search_locations = real.submodule_search_locations
        # Python takes the spec of a module that is there already, and would load it again by its own one.
        module.__spec__ = detour
        return detour

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
