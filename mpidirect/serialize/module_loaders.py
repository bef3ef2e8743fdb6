"""Loaders of the user's modules on an engine: each loader reports the version that it has executed."""

from __future__ import annotations

import linecache
import os
import time
from importlib.abc import SourceLoader
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Protocol

from .module_sources import ModuleSource, stat_of

_CACHE_RESOLUTION = 3.0  # seconds; Python's cache of compiled files may miss a change within this time


class ModuleRegistry(Protocol):
    """The record of the modules that were executed in this process."""

    def former(self, name: str, file: str) -> ModuleType | None:
        """Return the module to execute again in its own namespace; None if there is none of this file."""

    def record(
        self, name: str, file: str, text: bytes, stat: tuple[int, int] | None, expected: bool = False
    ) -> None:
        """Record that a module was executed."""

    def is_loaded(self, name: str) -> bool:
        """Return whether a module was executed before."""


class FileLoader(SourceFileLoader):
    """Python's loader of a file, which records the source that it executes.

    Parameters
    ----------
    registry : ModuleRegistry
        Receives the record.
    name, path : str
        The module and its file.
    expected : bool
        Whether engines are expected to have the module.
    """

    def __init__(self, registry: ModuleRegistry, name: str, path: str, expected: bool) -> None:
        super().__init__(name, path)
        self._registry = registry
        self._expected = expected

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._registry.former(spec.name, self.path)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self
        status = stat_of(self.path)
        text = self.get_data(self.path)
        super().exec_module(module)
        self._registry.record(module.__name__, self.path, text, status, self._expected)

    def get_code(self, fullname: str) -> CodeType | None:
        status = stat_of(self.path)
        recent = status is not None and time.time() - status[0] / 1e9 < _CACHE_RESOLUTION
        if not (recent or self._registry.is_loaded(fullname)):
            return super().get_code(fullname)
        linecache.checkcache(self.path)
        return self.source_to_code(self.get_data(self.path), self.path)


class SentSourceLoader(SourceLoader):
    """A loader of a source that a prompt has sent, under the name of the file at the prompt.

    Parameters
    ----------
    registry : ModuleRegistry
        Receives the record.
    source : ModuleSource
        The module, with its text.
    """

    def __init__(self, registry: ModuleRegistry, source: ModuleSource) -> None:
        self._registry = registry
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
        return self._registry.former(spec.name, self._source.file)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self
        source = self._source
        text = self.get_source(source.name) or ""
        # A file of this name may exist on the engine's host, with other lines.
        linecache.cache[source.file] = len(text), None, text.splitlines(keepends=True), source.file
        super().exec_module(module)
        self._registry.record(source.name, source.file, source.text or b"", None)
