"""Sources of modules: the origin and the version of a module, and what it may import.

The prompt (`user_modules`) and the engines (`module_importer`) share these.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import site
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import msgspec

MAX_SOURCES = 1024 * 1024  # bytes of source that one message carries
EXCLUDED = frozenset({"__main__", "__mp_main__", "mpidirect"})  # top-level modules that are never sent
_WORD = re.compile(r"[^\W\d]\w*")


class ModuleSource(msgspec.Struct, array_like=True, gc=False):
    """A module as the prompt has loaded it.

    Attributes
    ----------
    name : str
        Its full name.
    file : str
        The path of its source at the prompt; empty for a package without a file of its own.
    fingerprint : bytes
        The version of the source: a digest of the text.
    text : bytes or None
        The source; None if the source is not sent.
    path : list of str or None
        For a package, the directories of its modules.
    installed : bool
        Whether the module is installed outside of site-packages (an editable install, PYTHONPATH).  Engines
        are expected to have such a module.
    """

    name: str
    file: str
    fingerprint: bytes
    text: bytes | None = None
    path: list[str] | None = None
    installed: bool = False


def fingerprint(text: bytes) -> bytes:
    """Return a digest that distinguishes the versions of a source."""
    return hashlib.blake2b(text, digest_size=16).digest()


def words_in(text: bytes) -> frozenset[str]:
    """Return all words in a source; the names of the modules that the source imports are among them."""
    return frozenset(_WORD.findall(text.decode(errors="replace")))


def may_import(importing: str, mentioned: frozenset[str], module: str) -> bool:
    """Return whether the module `importing`, whose source has the words `mentioned`, may import `module`."""
    top, last = module.partition(".")[0], module.rpartition(".")[2]
    return last in mentioned and (top in mentioned or top == importing.partition(".")[0])


@functools.lru_cache(1024)
def in_environment(directory: str) -> bool:
    """Return whether modules in `directory` belong to Python, or to packages that are installed in it."""
    parts = Path(directory).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return any(Path(directory).is_relative_to(place) for place in standard)


def import_root(name: str, file: str, is_package: bool) -> str:
    """Return the directory from which a module, or its outermost package, is imported."""
    for _ in range(name.count(".") + 1 + is_package):
        file = os.path.dirname(file)  # noqa: PTH120  (a tenth of the cost)
    return file


def spec_of(module: Any) -> ModuleSpec | None:
    """Return the spec of a module, without loading a module that loads itself lazily."""
    try:
        spec = object.__getattribute__(module, "__dict__").get("__spec__")
    except Exception:  # sys.modules may hold any object
        return None
    return spec if isinstance(spec, ModuleSpec) else None


def stat_of(file: str) -> tuple[int, int] | None:
    """Return time of change (ns) and size (bytes) of a file; None if there is no such file."""
    try:
        status = os.stat(file)  # noqa: PTH116  (a tenth of the cost)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def prompt_directory() -> str:
    """Return the directory of the script that runs in this process; without a script, the current one.

    The text is empty if Python must not import from there (``python -P``).
    """
    if getattr(sys.flags, "safe_path", False):
        return ""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if isinstance(file, str) and getattr(sys.modules["__main__"], "__spec__", None) is None:
        return os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120
    return current_directory()


def current_directory() -> str:
    """Return the current directory; empty if it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return ""


def is_expected_on_engines(name: str, root: str, *own: str) -> bool:
    """Return whether engines are expected to have a module: it is installed outside of site-packages.

    Parameters
    ----------
    name : str
        The module.
    root : str
        The directory from which the module is imported.
    *own : str
        The directories in which the user works: no module there is expected on engines.
    """
    if name.partition(".")[0] in _editable_packages():
        return True
    root = os.path.realpath(root)
    if root in map(os.path.realpath, filter(None, own)):
        return False
    places = {os.path.realpath(place) for place in sys.path if place}
    return root not in places or root in _installed_places()


@functools.lru_cache(1)
def _installed_places() -> frozenset[str]:
    """Return the directories of PYTHONPATH and of ``.pth`` files."""
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for directory in {*site.getsitepackages(), site.getusersitepackages()}:
        for file in Path(directory).glob("*.pth"):
            try:
                lines = file.read_text(errors="replace").splitlines()
            except OSError:
                continue
            places += [os.path.join(directory, line.strip()) for line in lines if line.strip()]  # noqa: PTH118
    return frozenset(os.path.realpath(place) for place in places if place)


def _editable_packages() -> set[str]:
    """Return the packages that setuptools has installed in an editable way, by an import hook."""
    found: set[str] = set()
    for finder in sys.meta_path:
        home = getattr(finder, "__module__", None) or ""
        if home.startswith("__editable__"):
            found.update(getattr(sys.modules.get(home), "MAPPING", ()))
    return found
