"""Modules of the user's own files: a prompt sends their sources with the pickles that refer to them.

These files may be missing on the engines' hosts, or an engine may have loaded an older version. So a pickle
that refers to such a module contains the source of the module, and of the modules that it may import, as the
prompt has loaded them.  `module_importer` installs them on the engine.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import NamedTuple

import msgspec

from .module_sources import (
    EXCLUDED,
    MAX_SOURCES,
    ModuleSource,
    current_directory,
    fingerprint,
    import_root,
    in_environment,
    is_expected_on_engines,
    may_import,
    prompt_directory,
    spec_of,
    stat_of,
    words_in,
)


def gather(names: Iterable[str]) -> bytes:
    """Return the sources of the user's modules for `module_importer.install`; empty if there are none.

    Parameters
    ----------
    names : iterable of str
        Full names of the modules that a pickle refers to; modules that are not the user's are skipped.

    Examples
    --------
    >>> import helpers  # a file beside the script
    >>> len(gather(["helpers", "numpy"])) > 0
    True
    >>> gather(["numpy"])
    b''
    """
    return _loaded_modules.gather(names)


def scan() -> None:
    """Record the user's modules that are loaded now, in their present version."""
    _loaded_modules.scan()


class _UserModule(NamedTuple):
    """A module of the user, as it was loaded."""

    spec: ModuleSpec
    stat: tuple[int, int] | None
    source: ModuleSource
    mentioned: frozenset[str]  # the words in its source

    def is_current(self, spec: ModuleSpec | None, check_file: bool) -> bool:
        """Return whether this version is still loaded: a reload makes another spec."""
        return spec is self.spec and not (
            check_file and self.source.file and stat_of(self.source.file) != self.stat
        )


def _has_autoreload() -> bool:
    """Return whether IPython's autoreload is active, which changes modules in place and keeps their specs."""
    return "IPython.extensions.autoreload" in sys.modules


class _Message(NamedTuple):
    """The encoded sources of some modules."""

    modules: list[_UserModule]
    encoded: bytes

    def is_current(self) -> bool:
        """Return whether the modules have not changed."""
        check_files = _has_autoreload()
        return all(m.is_current(spec_of(sys.modules.get(m.source.name)), check_files) for m in self.modules)


class _LoadedModules:
    """The user's modules that are loaded in this process."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ModuleSpec, _UserModule | None]] = {}
        self._own: dict[str, _UserModule] = {}
        self._scanned = -1  # number of all modules at the last scan
        self._messages: dict[frozenset[str], _Message] = {}
        # The directories in which the user works; the first one remains after a chdir.
        self._work_directories = {os.path.realpath(current_directory())}

    def gather(self, names: Iterable[str]) -> bytes:
        if len(sys.modules) != self._scanned:
            self.scan()
        wanted = frozenset(filter(self._own.__contains__, names))
        if not wanted:
            return b""
        message = self._messages.get(wanted)
        if message is None or not message.is_current():
            self.scan()
            modules = self._with_imports(wanted)
            message = self._messages[wanted] = _Message(modules, _encode([m.source for m in modules]))
        return message.encoded

    def scan(self) -> None:
        modules, check_files = dict(sys.modules), _has_autoreload()
        own = {}
        for name, module in modules.items():
            spec = spec_of(module)
            if spec is None:
                continue
            known = self._known.get(name)
            if (
                known is None
                or known[0] is not spec
                or not (known[1] is None or known[1].is_current(spec, check_files))
            ):
                known = self._known[name] = spec, self._examine(name, spec)
            if known[1] is not None:
                own[name] = known[1]
        if own != self._own:
            self._own = own
            self._messages.clear()
        self._scanned = len(modules)

    def _examine(self, name: str, spec: ModuleSpec) -> _UserModule | None:
        """Return a module if it is the user's; otherwise None."""
        if name.partition(".")[0] in EXCLUDED:
            return None
        paths = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        file = (spec.origin or "") if spec.has_location else ""
        if file:
            if not file.endswith(".py"):
                return None
            root = import_root(name, file, paths is not None)
        elif paths:
            root = import_root(name, paths[0], False)
        else:
            return None
        if in_environment(root):
            return None
        if "" in sys.path:
            self._work_directories.add(current_directory())
        status = stat_of(file) if file else None
        try:
            text = Path(file).read_bytes() if file else b""
        except OSError:
            return None
        installed = is_expected_on_engines(name, root, prompt_directory(), *self._work_directories)
        source = ModuleSource(name, file, fingerprint(text), text, paths, installed)
        return _UserModule(spec, status, source, words_in(text))

    def _with_imports(self, names: frozenset[str]) -> list[_UserModule]:
        """Return these modules, their packages, their submodules and the modules that they may import."""
        found: dict[str, _UserModule] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in found or name not in self._own:
                continue
            module = found[name] = self._own[name]
            parts = name.split(".")
            waiting += [".".join(parts[:k]) for k in range(1, len(parts))]
            waiting += [
                other
                for other in self._own
                if may_import(name, module.mentioned, other)
                or (name in names and other.startswith(f"{name}."))
            ]
        return [found[name] for name in self._own if name in found]  # in the order of their first imports


def _encode(sources: list[ModuleSource]) -> bytes:
    """Return the message to engines; without the texts if these are too long."""
    too_long = sum(len(s.text or b"") for s in sources if not s.installed) > MAX_SOURCES
    sent = [msgspec.structs.replace(s, text=None if s.installed or too_long else s.text) for s in sources]
    return zlib.compress(msgspec.msgpack.encode(sent))


_loaded_modules = _LoadedModules()
