"""The user's modules on an engine: imported from what the prompt has sent, and followed when they change.

What the engine can import by itself with the same content is imported so.  What it has in another version,
and what uses that, is taken out of ``sys.modules``; its next import executes it again in its own namespace,
as `importlib.reload` does.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import os
import sys
import time
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import msgspec

from .user_modules import (
    LIMIT,
    NEVER,
    Source,
    fingerprint,
    in_environment,
    is_expected,
    may_use,
    root_of,
    stat_of,
    words,
)

_decoder = msgspec.msgpack.Decoder(list[Source])
_YOUNG = 3.0  # seconds: Python's cache of compiled files may not notice a change within one
_LATEST = 64  # what is remembered of messages and of clients


class _Loaded(NamedTuple):
    """A module as it was executed here last."""

    file: str
    fingerprint: bytes
    mentions: frozenset[str]
    stat: tuple[int, int] | None  # of the file; None where the source was sent
    expected: bool  # it is installed, and uses nothing of the user's


class Importer:
    """A finder of modules, in front of Python's own for files."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}  # that were sent, by name
        self._loaded: dict[str, _Loaded] = {}
        self._former: dict[str, ModuleType] = {}  # what is to be executed again when it is imported
        self._current: deque[bytes] = deque(maxlen=_LATEST)  # messages that nothing has changed since
        self._client = self._directory = ""
        self._clients: deque[str] = deque(maxlen=_LATEST)

    # -- what a prompt needs --------------------------------------------------------------------------------

    def install(self, message: bytes) -> None:
        """Have modules in the version that the prompt has: what `user_modules.gather` gave there."""
        if message in self._current:
            return
        sources = _decoder.decode(zlib.decompress(message))
        if any(self._sources.get(source.name) != source for source in sources):
            self._current.clear()
        self._sources.update((source.name, source) for source in sources)
        changed = [source.name for source in sources if self._differs(source)]
        self._drop(changed)
        for source in sources:
            if source.name in self._former:
                importlib.import_module(source.name)
        self._current.append(message)

    def serve(self, client: str, directory: str) -> None:
        """A task of `client` comes, whose prompt is in `directory`: have what is there, as it is now."""
        if client == self._client:
            return
        self._client = client
        if directory != self._directory:
            self._look_in(directory)
        if client in self._clients:
            return
        importlib.invalidate_caches()
        self._sources.clear()
        self._current.clear()
        self._drop([name for name, loaded in self._loaded.items() if _has_changed(loaded)])
        self._clients.append(client)

    def _look_in(self, directory: str) -> None:
        """Find modules in this directory, if there is one here, in place of the former client's."""
        if self._directory and self._directory in sys.path:
            sys.path.remove(self._directory)
        self._directory = ""
        if directory and directory not in sys.path and Path(directory).is_dir():
            sys.path.append(directory)
            self._directory = directory
        self._drop([name for name, loaded in self._loaded.items() if self._is_now_elsewhere(name, loaded)])

    def _is_now_elsewhere(self, name: str, loaded: _Loaded) -> bool:
        """Whether another file has the name of a module that is loaded; what is in it follows a package."""
        spec = None if "." in name else self._found_by_others(name, None, None)
        return spec is not None and spec.origin != loaded.file

    def _differs(self, source: Source) -> bool:
        """Whether this module is loaded in another version."""
        module = sys.modules.get(source.name)
        if module is None or not source.file:
            return False
        loaded = self._loaded.get(source.name) or self._as_it_is(module)
        if loaded is None or loaded.fingerprint == source.fingerprint:
            return False
        if source.text is None:
            here = _read(loaded.file)
            if here is not None and fingerprint(here) == source.fingerprint:
                return True  # its file is right, and was not when it was loaded
            if not source.installed:
                raise ImportError(_not_sent(source, f"the engine has another version, of {loaded.file}"))
            return False
        return True

    def _as_it_is(self, module: ModuleType) -> _Loaded | None:
        """What is known of a module that was imported in another way."""
        file = getattr(module, "__file__", None)
        text = _read(file) if isinstance(file, str) and file.endswith(".py") else None
        if text is None:
            return None
        self._loaded[module.__name__] = made = _Loaded(str(file), fingerprint(text), words(text), None, True)
        return made

    def _drop(self, changed: Iterable[str]) -> None:
        """These modules, and those that use them, are to be executed again when they are imported next."""
        waiting = [name for name in changed if name in sys.modules and name in self._loaded]
        while waiting:
            name = waiting.pop()
            if name not in sys.modules:
                continue
            self._former[name] = sys.modules.pop(name)
            expected = self._loaded[name].expected
            waiting += [
                user
                for user, loaded in self._loaded.items()
                if expected >= loaded.expected and may_use(user, loaded.mentions, name)
            ]

    def former(self, name: str, file: str) -> ModuleType | None:
        """The module to execute again in its own namespace; None if there is none of that file."""
        module = self._former.get(name)
        if module is None or getattr(module, "__file__", None) == file:
            return module
        self._drop([other for other in self._loaded if other.startswith(f"{name}.")])  # of another package
        return None

    # -- Python's import system ------------------------------------------------------------------------------

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """How a module is to be imported; None where it can't be found here."""
        spec = self._found_by_others(name, path, target)
        source = self._sources.get(name)
        if source is not None and not _is_same(spec, source):
            if source.text is not None:
                return self._sent(source)
            if not source.installed:
                found = "no such module" if spec is None else f"another version at {spec.origin}"
                raise ModuleNotFoundError(_not_sent(source, f"the engine finds {found}"), name=name)
        if spec is None or name.partition(".")[0] in NEVER:
            return spec
        if type(spec.loader) is SourceFileLoader and spec.origin:
            root = root_of(name, spec.origin, spec.submodule_search_locations is not None)
            if not in_environment(root):
                spec.loader = _Recording(self, name, spec.origin, is_expected(name, root, self._directory))
        return spec

    def _found_by_others(self, name: str, path: Any, target: Any) -> ModuleSpec | None:
        finders = sys.meta_path[sys.meta_path.index(self) + 1 :]
        for finder in finders:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                return spec
        return None

    def _sent(self, source: Source) -> ModuleSpec:
        if not source.file:
            spec = ModuleSpec(source.name, None, is_package=True)
            spec.submodule_search_locations = list(source.path or ())
            return spec
        found = importlib.util.spec_from_file_location(
            source.name, source.file, loader=_Sent(self, source), submodule_search_locations=source.path
        )
        assert found is not None
        return found

    def record(
        self, name: str, file: str, text: bytes, stat: tuple[int, int] | None, expected: bool = False
    ) -> None:
        """A module was executed."""
        self._loaded[name] = _Loaded(file, fingerprint(text), words(text), stat, expected)
        self._former.pop(name, None)

    def is_loaded(self, name: str) -> bool:
        """Whether a module was executed before."""
        return name in self._loaded


class _Recording(SourceFileLoader):
    """Python's own loader of a file; what it has executed is known later, when the file may be another."""

    def __init__(self, importer: Importer, name: str, path: str, expected: bool) -> None:
        super().__init__(name, path)
        self._importer = importer
        self._expected = expected

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._importer.former(spec.name, self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self
        status = stat_of(self.path)
        text = self.get_data(self.path)
        super().exec_module(module)
        self._importer.record(module.__name__, self.path, text, status, self._expected)

    def get_code(self, fullname: str) -> CodeType | None:
        status = stat_of(self.path)
        young = status is not None and time.time() - status[0] / 1e9 < _YOUNG
        if not (young or self._importer.is_loaded(fullname)):
            return super().get_code(fullname)
        linecache.checkcache(self.path)
        return self.source_to_code(self.get_data(self.path), self.path)


class _Sent(SourceLoader):
    """Executes a source that was sent, under the name of the file that it has at the prompt."""

    def __init__(self, importer: Importer, source: Source) -> None:
        self._importer = importer
        self._source = source

    def get_filename(self, fullname: str) -> str:
        return self._source.file

    def get_data(self, path: str | bytes | os.PathLike[str]) -> bytes:
        if path == self._source.file:
            return self._source.text or b""
        return Path(os.fsdecode(path)).read_bytes()  # data beside the module

    def get_code(self, fullname: str) -> CodeType | None:
        return self.source_to_code(self._source.text or b"", self._source.file)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._importer.former(spec.name, self._source.file)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self
        source = self._source
        text = self.get_source(source.name) or ""
        # A file of that name may be here, and have other lines.
        linecache.cache[source.file] = len(text), None, text.splitlines(keepends=True), source.file
        super().exec_module(module)
        self._importer.record(source.name, source.file, source.text or b"", None)


def _is_same(spec: ModuleSpec | None, source: Source) -> bool:
    """Whether what is found here is what the prompt has."""
    if spec is None:
        return False
    if not source.file:
        return spec.submodule_search_locations is not None
    text = _read(spec.origin)
    return text is not None and fingerprint(text) == source.fingerprint


def _not_sent(source: Source, why: str) -> str:
    root = root_of(source.name, source.file, source.path is not None)
    return (
        f"No module named {source.name!r} as the prompt has it: {why}, and it was not sent, as the modules "
        f"that it comes with have more than {LIMIT:,} bytes of source. Install them where the engines run "
        "(pip install), or, where they see the directory:  "
        f"dv.execute('import sys; sys.path.append({root!r})')"
    )


def _has_changed(loaded: _Loaded) -> bool:
    """Whether the file of a module is not what was executed."""
    if loaded.stat is not None and stat_of(loaded.file) == loaded.stat:
        return False
    text = _read(loaded.file)
    return text is not None and fingerprint(text) != loaded.fingerprint


def _read(file: str | None) -> bytes | None:
    try:
        return Path(file).read_bytes() if file and file.endswith(".py") else None
    except OSError:
        return None


importer: Importer | None = None  # of an engine


def begin() -> None:
    """This process is an engine: from now on it imports the user's modules as its clients have them."""
    global importer
    importer = Importer()
    place = next((k for k, finder in enumerate(sys.meta_path) if finder is PathFinder), len(sys.meta_path))
    sys.meta_path.insert(place, importer)
    if "" not in sys.path and not getattr(sys.flags, "safe_path", False):
        sys.path.insert(0, "")  # as at a prompt: the directory in which the engine is


def serve(client: str, directory: str) -> None:
    """A task comes from `client`, whose script lies in `directory`.

    At the first one of a client the engine looks for modules in that directory, too, if there is one, and
    executes again what has changed in files since it was imported.
    """
    if importer is not None:
        importer.serve(client, directory)


def install(message: bytes) -> None:
    """Have the user's modules in the version in which a prompt has gathered them.

    Parameters
    ----------
    message : bytes
        What `user_modules.gather` gave there.

    Raises
    ------
    ImportError
        When a module can't be had in that version; what a module raises while it is executed, too.
    """
    if importer is not None and message:
        importer.install(message)
