"""The user's modules on an engine: imported from the sources that a prompt sent, in the prompt's version.

An engine prefers a file that it finds itself, if the content is the same. If the engine has a module in
another version, the module is removed from ``sys.modules``, with the modules that import it. The next import
executes such a module again in its own namespace, as `importlib.reload` does.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from .module_loaders import FileLoader, SentSourceLoader
from .module_sources import (
    EXCLUDED,
    MAX_SOURCES,
    ModuleSource,
    fingerprint,
    import_root,
    in_environment,
    is_expected_on_engines,
    may_import,
    stat_of,
    words_in,
)

_decoder = msgspec.msgpack.Decoder(list[ModuleSource])
_MAX_REMEMBERED = 64  # maximum numbers of messages and of clients


class _Executed(NamedTuple):
    """A module, as this process has last executed it."""

    file: str
    fingerprint: bytes
    mentioned: frozenset[str]  # the words in its source
    stat: tuple[int, int] | None  # the size and time of the file; None if a prompt sent the source
    expected: bool  # whether engines are expected to have the module


class Importer:
    """A finder of modules, in ``sys.meta_path`` before Python's own for files."""

    def __init__(self) -> None:
        self._sources: dict[str, ModuleSource] = {}  # sources that prompts sent, by name
        self._executed: dict[str, _Executed] = {}
        self._former: dict[str, ModuleType] = {}  # modules to execute again at their next import
        self._installed: deque[bytes] = deque(maxlen=_MAX_REMEMBERED)  # messages that are up to date
        self._client = self._directory = ""
        self._clients: deque[str] = deque(maxlen=_MAX_REMEMBERED)

    # -- modules that a prompt has sent ---------------------------------------------------------------------

    def install(self, message: bytes) -> None:
        """Import modules in the version that `user_modules.gather` has put into the message."""
        if message in self._installed:
            return
        sources = _decoder.decode(zlib.decompress(message))
        if any(self._sources.get(source.name) != source for source in sources):
            self._installed.clear()
        self._sources.update((source.name, source) for source in sources)
        self._unload([source.name for source in sources if self._differs(source)])
        for source in sources:
            if source.name in self._former:
                importlib.import_module(source.name)
        self._installed.append(message)

    def serve(self, client: str, directory: str) -> None:
        """Prepare for a task of `client`: find modules in the directory of its script, as they are now."""
        if client == self._client:
            return
        self._client = client
        if directory != self._directory:
            self._set_directory(directory)
        if client in self._clients:
            return
        importlib.invalidate_caches()
        self._sources.clear()
        self._installed.clear()
        self._unload([name for name, executed in self._executed.items() if _has_changed(executed)])
        self._clients.append(client)

    def _set_directory(self, directory: str) -> None:
        """Find modules in this directory, if the host has it, instead of the former client's directory."""
        if self._directory and self._directory in sys.path:
            sys.path.remove(self._directory)
        self._directory = ""
        if directory and directory not in sys.path and Path(directory).is_dir():
            sys.path.append(directory)
            self._directory = directory
        self._unload([name for name, executed in self._executed.items() if self._has_moved(name, executed)])

    def _has_moved(self, name: str, executed: _Executed) -> bool:
        """Return whether a loaded module is now found in another file; submodules follow their package."""
        spec = None if "." in name else self._find_by_others(name, None, None)
        return spec is not None and spec.origin != executed.file

    def _differs(self, source: ModuleSource) -> bool:
        """Return whether another version of this module is loaded."""
        module = sys.modules.get(source.name)
        if module is None or not source.file:
            return False
        executed = self._executed.get(source.name) or self._record_existing(module)
        if executed is None or executed.fingerprint == source.fingerprint:
            return False
        if source.text is None:
            here = _read(executed.file)
            if here is not None and fingerprint(here) == source.fingerprint:
                return True  # the file has changed to this version since it was executed
            if not source.installed:
                raise ImportError(_not_sent(source, f"the engine has another version, of {executed.file}"))
            return False
        return True

    def _record_existing(self, module: ModuleType) -> _Executed | None:
        """Record a module that another finder has imported."""
        file = getattr(module, "__file__", None)
        text = _read(file) if isinstance(file, str) and file.endswith(".py") else None
        if text is None:
            return None
        executed = _Executed(str(file), fingerprint(text), words_in(text), None, True)
        self._executed[module.__name__] = executed
        return executed

    def _unload(self, changed: Iterable[str]) -> None:
        """Remove these modules, and the modules that import them, from ``sys.modules``."""
        waiting = [name for name in changed if name in sys.modules and name in self._executed]
        while waiting:
            name = waiting.pop()
            if name not in sys.modules:
                continue
            self._former[name] = sys.modules.pop(name)
            expected = self._executed[name].expected
            waiting += [
                other
                for other, executed in self._executed.items()
                if expected >= executed.expected and may_import(other, executed.mentioned, name)
            ]

    # -- reports of the loaders -----------------------------------------------------------------------------

    def former(self, name: str, file: str) -> ModuleType | None:
        """Return the module to execute again in its own namespace; None if there is none of this file."""
        module = self._former.get(name)
        if module is None or getattr(module, "__file__", None) == file:
            return module
        # submodules of another package
        self._unload([other for other in self._executed if other.startswith(f"{name}.")])
        return None

    def record(
        self, name: str, file: str, text: bytes, stat: tuple[int, int] | None, expected: bool = False
    ) -> None:
        """Record that a module was executed."""
        self._executed[name] = _Executed(file, fingerprint(text), words_in(text), stat, expected)
        self._former.pop(name, None)

    def is_loaded(self, name: str) -> bool:
        """Return whether a module was executed before."""
        return name in self._executed

    # -- Python's import system -----------------------------------------------------------------------------

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module; None if no module of this name is found."""
        spec = self._find_by_others(name, path, target)
        source = self._sources.get(name)
        if source is not None and not _is_same(spec, source):
            if source.text is not None:
                return self._spec_of_sent(source)
            if not source.installed:
                found = "no such module" if spec is None else f"another version at {spec.origin}"
                raise ModuleNotFoundError(_not_sent(source, f"the engine finds {found}"), name=name)
        if spec is None or name.partition(".")[0] in EXCLUDED:
            return spec
        if type(spec.loader) is SourceFileLoader and spec.origin:
            root = import_root(name, spec.origin, spec.submodule_search_locations is not None)
            if not in_environment(root):
                expected = is_expected_on_engines(name, root, self._directory)
                spec.loader = FileLoader(self, name, spec.origin, expected)
        return spec

    def _find_by_others(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        """Return the spec from the finders after this one."""
        for finder in sys.meta_path[sys.meta_path.index(self) + 1 :]:
            find: Any = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                return spec
        return None

    def _spec_of_sent(self, source: ModuleSource) -> ModuleSpec:
        if not source.file:
            spec = ModuleSpec(source.name, None, is_package=True)
            spec.submodule_search_locations = list(source.path or ())
            return spec
        loader = SentSourceLoader(self, source)
        found = importlib.util.spec_from_file_location(
            source.name, source.file, loader=loader, submodule_search_locations=source.path
        )
        assert found is not None
        return found


def _is_same(spec: ModuleSpec | None, source: ModuleSource) -> bool:
    """Return whether the module found here has the content of the prompt's module."""
    if spec is None:
        return False
    if not source.file:
        return spec.submodule_search_locations is not None
    text = _read(spec.origin)
    return text is not None and fingerprint(text) == source.fingerprint


def _not_sent(source: ModuleSource, why: str) -> str:
    """Return the error message for a module whose source was too long to send."""
    root = import_root(source.name, source.file, source.path is not None)
    return (
        f"No module named {source.name!r} as the prompt has it: {why}, and it was not sent, as the modules "
        f"that it comes with have more than {MAX_SOURCES:,} bytes of source. "
        "Install them where the engines run (pip install), or, where they see the directory:  "
        f"dv.execute('import sys; sys.path.append({root!r})')"
    )


def _has_changed(executed: _Executed) -> bool:
    """Return whether the file of a module has changed since its execution."""
    if executed.stat is not None and stat_of(executed.file) == executed.stat:
        return False
    text = _read(executed.file)
    return text is not None and fingerprint(text) != executed.fingerprint


def _read(file: str | None) -> bytes | None:
    try:
        return Path(file).read_bytes() if file and file.endswith(".py") else None
    except OSError:
        return None


_importer: Importer | None = None  # None in a process that is no engine


def enable() -> None:
    """From now on, import the user's modules as clients have them: this process is an engine."""
    global _importer
    _importer = Importer()
    place = next((k for k, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path))
    sys.meta_path.insert(place, _importer)
    if "" not in sys.path and not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, "")  # the engine's current directory, as at a prompt


def serve(client: str, directory: str) -> None:
    """Prepare for a task of `client`, whose script is in `directory`.

    At the first task of a client the engine also looks for modules in that directory, if the host has it, and
    executes modules again whose files have changed since their import.
    """
    if _importer is not None:
        _importer.serve(client, directory)


def install(message: bytes) -> None:
    """Import the user's modules in the version that a prompt has gathered.

    Parameters
    ----------
    message : bytes
        The message from `user_modules.gather` at the prompt.

    Raises
    ------
    ImportError
        When a module is not available in that version. Errors of the module itself are raised unchanged.
    """
    if _importer is not None and message:
        _importer.install(message)
