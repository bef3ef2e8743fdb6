"""The displays of a task by IPython's ``display``, kept for the task's reply.

Without a shell, IPython prints displays. So the shell is made when user code imports IPython.
"""

from __future__ import annotations

import builtins
import os
import pickle
import re
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from ...protocol.messages import DISPLAY, OutputPiece
from ...protocol.names import CLEARED, PUBLISHED

SIZE_LIMIT = 4 * 1024 * 1024  # Maximum bytes of the kept displays of one task.
_INLINE = "matplotlib_inline.backend_inline"  # The backend of matplotlib that displays figures.

_displayed: list[bytes] = []  # Pickles of displays.
_index_by_id: dict[str, int] = {}  # The positions of displays that can be updated.
_dropped = 0  # The number of displays that were not kept.
_count = 0  # The number of displays of the task.


class DisplayListener:
    """Is notified of each display."""

    def printed_lengths(self) -> list[int]:
        """Return how many characters the task has printed on each stream."""
        return [0, 0]

    def displayed(self, piece: OutputPiece) -> None:
        """Take a display."""


listener = DisplayListener()


def show(data: dict[str, Any], metadata: dict[str, Any], id: str = "", update: bool = False) -> None:
    """Keep a display.

    Parameters
    ----------
    data : dict
        The contents by format (MIME type).
    metadata : dict
        IPython's metadata.
    id : str
        The id by which the display can be updated.
    update : bool
        Whether to replace the display with this id.
    """
    global _dropped, _count
    position: dict[str, Any] = {"number": _count, "after": listener.printed_lengths()}
    if id:
        position["transient"] = {"display_id": id}
    try:
        output = pickle.dumps({"data": data, "metadata": metadata, **position}, 5)
    except Exception:  # The content of a format can't be pickled.
        plain = {"text/plain": str(data.get("text/plain", ""))}
        output = pickle.dumps({"data": plain, "metadata": {}, **position}, 5)
    index = _index_by_id.get(id) if id and update else None
    replaced = 0 if index is None else len(_displayed[index])
    if sum(map(len, _displayed)) - replaced + len(output) > SIZE_LIMIT:
        _dropped += 1
        return
    if index is None:
        _displayed.append(output)
    else:
        _displayed[index] = output
    if id and index is None:
        _index_by_id[id] = len(_displayed) - 1
    listener.displayed(OutputPiece(DISPLAY, _count, id, output))
    _count += 1


def clear_output(wait: bool) -> None:
    """Drop the displays so far, but not published data; notify a client that shows the output.

    Parameters
    ----------
    wait : bool
        Whether the client waits for the next output before it clears the former output.
    """
    published = [output for output in _displayed if PUBLISHED.encode() in output]
    _forget()  # The count continues, because some displays may have been sent.
    _displayed.extend(published)
    show({CLEARED: wait}, {})


def _forget() -> None:
    global _dropped
    _displayed.clear()
    _index_by_id.clear()
    _dropped = 0


def pending() -> bool:
    """Return whether there are displays to take."""
    return bool(_displayed or _dropped)


def take() -> bytes:
    """Take the displays since the last call, as an encoded list of pickles; empty if there are none."""
    global _count
    if not _displayed and not _dropped:
        _count = 0
        return b""
    outputs = list(_displayed)
    if _dropped:
        text = f"[… {_dropped} more displays were dropped: one task may display {SIZE_LIMIT >> 20} MiB]"
        outputs.append(pickle.dumps({"data": {"text/plain": text}, "metadata": {}, "number": _count}, 5))
    _forget()
    _count = 0
    return msgspec.msgpack.encode(outputs)


def enable(make_shell: Callable[[], Any]) -> None:
    """Make ``display`` a builtin, as at IPython's prompt.

    Figures are displayed as in a notebook, unless the user has chosen another backend of matplotlib.

    Parameters
    ----------
    make_shell : callable
        Makes the shell. It is called when user code imports IPython.
    """
    if find_spec("IPython") and _can_display_figures():
        os.environ["MPLBACKEND"] = os.environ.get("MPLBACKEND") or f"module://{_INLINE}"
    sys.meta_path.insert(0, _IPythonImportHook(make_shell))
    builtins.display = _display  # type: ignore[attr-defined]


def _can_display_figures() -> bool:
    """Return whether matplotlib can load the backend. This imports neither of them, nor importlib.metadata.

    From version 0.2 on, the backend ends with an error in matplotlib before 3.7, which Debian 12 has.
    """
    inline = _version("matplotlib_inline", "__init__.py")
    if inline is None:
        return False
    return inline < (0, 2) or (_version("matplotlib", "_version.py") or (4,)) >= (3, 7)


def _version(package: str, file: str) -> tuple[int, ...] | None:
    """Return the version that a file of a package names, empty if none; None if there is no package."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    try:
        text = Path(spec.submodule_search_locations[0], file).read_text()
    except OSError:
        return ()
    found = re.search(r"^(?:__version__|version) = .*?['\"](\d+)\.(\d+)", text, re.MULTILINE)
    return tuple(map(int, found.groups())) if found else ()


def show_figures() -> None:
    """Display and close the open figures, as IPython does at the end of a cell."""
    inline = sys.modules.get(_INLINE)
    if inline is not None:
        inline.flush_figures()


def _display(*objects: Any, **options: Any) -> Any:
    """Call IPython's ``display``; without IPython, ``print``."""
    try:
        from IPython.display import display
    except ImportError:
        return print(*objects)
    return display(*objects, **options)


def stop_watching_imports() -> None:
    """Remove the import hook, as the shell is being made."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _IPythonImportHook)]


class _IPythonImportHook(MetaPathFinder, Loader):
    """Makes the shell, which imports IPython, when user code begins to import IPython."""

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
        if module is None:  # IPython is not installed.
            return None
        real = self._spec = module.__spec__
        assert real is not None
        detour = ModuleSpec(fullname, self, origin=real.origin)
        detour.submodule_search_locations = real.submodule_search_locations
        # For a module that exists already, Python would load the module again by its spec.
        module.__spec__ = detour
        return detour

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec
